"""`moonbow up` and `moonbow down`: a world from nothing to ready, and back to nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log
from moonbow.launch.build import build_all
from moonbow.launch.policy import Change
from moonbow.world import World, load_world

from .options import State, command, find_world, tell
from .progress import Progress
from .welcome import welcome

DOWN_S = 120.0  # data nodes write what they hold, one after the other; without them it takes a few seconds


def up(
    state: State,
    world: Annotated[str, typer.Option(help="A world file, or the name of a shipped world.")] = "laptop",
    detach: Annotated[bool, typer.Option("--detach", help="Return when the world is ready; it runs on.")] = False,
    build: Annotated[bool, typer.Option(help="Build the web client and the address map first, if need be.")] = True,
) -> None:
    """Start a world on this machine."""
    console, path = Console(highlight=False), find_world(world).absolute()
    loaded = load_world(path)
    os.umask(0o077)  # what lies in a state is for its owner
    if build:
        build_all(lambda text: console.print(f"[dim]{text} …[/]"), loaded)
    began = time.monotonic()
    if detach:
        _up_detached(console, loaded, path, state)
        console.print(welcome(loaded, state, time.monotonic() - began))
        console.print(f"It runs on in the background; [cyan]{command()} down[/] stops it.")
    else:
        _up_here(console, loaded, path, state, began)


def down(state: State) -> None:
    """Stop the world; nothing stays behind but its data."""
    console = Console(highlight=False)
    pid = tell(state, op="down")["pid"]
    assert isinstance(pid, int)
    with console.status("stopping"):
        deadline = time.monotonic() + DOWN_S
        while _lives(pid):
            if time.monotonic() > deadline:
                raise ConfigError(f"the launcher (pid {pid}) still runs; see `{command()} logs world`")
            time.sleep(0.05)
    console.print("stopped; nothing runs, the data rests")


def _up_here(console: Console, world: World, path: Path, state: Path, began: float) -> None:
    """Run the launcher in this process until Ctrl-C, and show afterwards what goes wrong and right."""
    from moonbow.launch.process import run  # takes a third of a second to import, which `down` need not wait for

    progress = Progress(console, world)
    ready = False

    def report(change: Change) -> None:
        if ready:
            _tell_change(console, change)
        else:
            progress.note(change)

    def on_ready(_: World) -> None:
        nonlocal ready
        ready = True
        progress.__exit__(None, None, None)
        console.print(welcome(world, state, time.monotonic() - began))
        console.print("[dim]Ctrl-C stops everything.[/]")

    _log_to_file(state)
    with progress:
        asyncio.run(run(path, state, report, on_ready))
    console.print("stopped; nothing runs, the data rests")


def _tell_change(console: Console, change: Change) -> None:
    if change.state == "stopped" or (change.state in ("waiting", "starting") and not change.reason):
        return
    colour = {"ready": "green", "alive": "yellow", "backing off": "red", "killed": "red"}.get(change.state, "dim")
    console.print(f"[dim]{time.strftime('%T')}[/] {change.key} [{colour}]{change.state}[/] {change.reason}")


def _log_to_file(state: Path) -> None:
    """The launcher's own log goes where the logs of its processes are, not to the terminal."""
    folder = state / "world" / "logs"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = (folder / "launcher.jsonl").open("a", buffering=1)
    except OSError as error:
        raise ConfigError(f"{state}: cannot be written: {error.strerror}") from error
    start_log("world", "launcher", stream)


def _up_detached(console: Console, world: World, path: Path, state: Path) -> None:
    """Start the launcher as a process of its own, follow its report until it is ready."""
    words = [sys.executable, "-P", "-m", "moonbow.launch", "--world", str(path), "--state", str(state)]
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    (state / "world" / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "world" / "logs" / "launcher.jsonl").open("ab") as log:
        launcher = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, cwd="/"
        )
    assert launcher.stdout is not None
    with launcher.stdout, Progress(console, world) as progress:
        for line in launcher.stdout:
            said = msgspec.json.decode(line, type=dict[str, object])
            if said.get("ready"):
                return
            if problems := said.get("problems"):
                assert isinstance(problems, list)
                raise ConfigError(*map(str, problems))
            progress.note(msgspec.convert(tuple(said.values()), Change))
    raise ConfigError(f"the launcher ended with code {launcher.wait()}; see `{command()} logs world`")


def _lives(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
