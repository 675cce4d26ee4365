"""`moonbow trust`: let this user's browsers believe the world's door certificate, or forget it again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from moonbow.base.errors import ConfigError

from .options import State, command, world_in

TOOL_S = 20.0


def trust(state: State, undo: Annotated[bool, typer.Option("--undo", help="Take it out again.")] = False) -> None:
    """Install the world's certificate authority for this user; it can sign for the world's own domain only."""
    world, authority = world_in(state), state / "pki" / "ca.crt"
    if not authority.is_file():
        raise ConfigError(f"{authority} is missing; the first `{command()} up` makes it")
    name, console = f"Moonbow {world.name} door CA", Console(highlight=False)
    if shutil.which("certutil"):
        folder = Path.home() / ".pki" / "nssdb"
        (remove if undo else install)(folder, name, authority)
        done = "no longer trusted" if undo else "trusted"
        console.print(f"[green]✓[/] {name} is {done} by Chromium, Chrome and Edge of this user ({folder})")
    else:
        console.print("certutil is missing; for Chromium, Chrome and Edge: [bold]sudo apt-get install libnss3-tools[/]")
    for line in other_stores(world.name, authority, undo):
        console.print(line, soft_wrap=True, markup=False)


def install(folder: Path, name: str, authority: Path) -> None:
    """Put the authority into the NSS database in `folder`, which is made if need be; `ConfigError` if that fails."""
    if not (folder / "cert9.db").is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _certutil(folder, "-N", "--empty-password")
    remove(folder, name, authority)
    _certutil(folder, "-A", "-t", "C,,", "-n", name, "-i", str(authority))


def remove(folder: Path, name: str, _: Path) -> None:
    """Take every authority of this name out of the database; there may be none."""
    while (folder / "cert9.db").is_file() and _knows(folder, name):
        _certutil(folder, "-D", "-n", name)


def other_stores(world: str, authority: Path, undo: bool) -> list[str]:
    """What the user may do for programs that look elsewhere."""
    file = f"/usr/local/share/ca-certificates/moonbow-{world}.crt"
    if undo:
        return [f"  system store:  sudo rm {file} && sudo update-ca-certificates --fresh", "  Firefox: Authorities"]
    return [
        f"  curl and others:  sudo cp {authority} {file} && sudo update-ca-certificates",
        f"  Firefox:          Settings, Certificates, View, Authorities, Import: {authority}",
    ]


def _knows(folder: Path, name: str) -> bool:
    return subprocess.run(_command(folder, "-L", "-n", name), capture_output=True, timeout=TOOL_S).returncode == 0


def _certutil(folder: Path, *arguments: str) -> None:
    done = subprocess.run(_command(folder, *arguments), capture_output=True, text=True, timeout=TOOL_S)
    if done.returncode:
        raise ConfigError(f"certutil {arguments[0]} failed: {done.stderr.strip()}")


def _command(folder: Path, *arguments: str) -> list[str]:
    return ["certutil", "-d", f"sql:{folder}", *arguments]
