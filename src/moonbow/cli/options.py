"""Options that several commands share, and where a command finds the running world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from moonbow.base.errors import ConfigError
from moonbow.launch.build import project_root
from moonbow.launch.control import Answer, ask
from moonbow.world import World, load_world

SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Name of a site.")]
LONGEST_S = 120.0  # for the launcher to answer; starting a site may take a minute


def command() -> str:
    """How the person called us, for hints that can be copied."""
    return os.environ.get("MOONBOW_COMMAND") or "moonbow"


def default_state() -> Path:
    """`.state` of the checkout, wherever the command is run; of the current folder if there is no checkout."""
    return (project_root() or Path.cwd()) / ".state"


State = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="MOONBOW_STATE",
        default_factory=default_state,
        show_default=".state",
        help="Folder of the world.",
        resolve_path=True,
    ),
]


def shipped_worlds() -> dict[str, Path]:
    """The worlds that come with a checkout, by name."""
    root = project_root()
    return {path.stem: path for path in sorted((root / "worlds").glob("*.toml"))} if root else {}


def find_world(name: str) -> Path:
    """The world file called `name`: a path, or the name of a shipped world; `ConfigError` otherwise."""
    shipped = shipped_worlds()
    path = Path(name)
    if path.is_file():
        return path
    if name in shipped:
        return shipped[name]
    raise ConfigError(f"there is no world file {name!r}; shipped worlds: {', '.join(shipped) or 'none'}")


def world_in(state: Path) -> World:
    """The world that runs, or last ran, in `state`; the default world if none ever did."""
    path = state / "world.toml"
    return load_world(path if path.is_file() else find_world("laptop"))


def tell(state: Path, **request: object) -> Answer:
    """The launcher's answer; `ConfigError` if it refuses or no world runs in `state`."""
    try:
        return ask(state / "control.sock", request, LONGEST_S)
    except (FileNotFoundError, ConnectionRefusedError):
        raise ConfigError(f"no world runs in {state}; `{command()} up` starts one") from None
    except OSError as error:
        raise ConfigError(f"the launcher in {state} does not answer: {error}") from error
