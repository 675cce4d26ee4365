"""Commands for those who work on Moonbow: tests, benchmarks, and why an address gets its doors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import msgspec
import typer
from rich.console import Console

from moonbow.base.errors import ConfigError
from moonbow.launch.build import build_all, install_lock, project_root

from .options import State, world_in


def explain(
    address: Annotated[str, typer.Argument(help="An IPv4 or IPv6 address of a client.")],
    state: State,
    region: Annotated[str | None, typer.Option(help="As if the client belonged to this region.")] = None,
    name: Annotated[Literal["door", "edge", "media", "turn"], typer.Option(help="Of which service.")] = "door",
    at: Annotated[int | None, typer.Option(help="At this snapshot, as `director history` numbers them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say which doors a client at an address gets, and why."""
    from moonbow.director.explain import explain as explain_address
    from moonbow.director.explain import find_explanation

    if not as_json:
        explain_address(world_in(state), address, region, state=state, service=name, at=at)
        return
    found = find_explanation(world_in(state), address, region, state, name, at)
    Console().print_json(msgspec.json.encode(found).decode())


def run_tests(
    context: typer.Context,
    fast: Annotated[bool, typer.Option("--fast", help="Without real engines and browsers: under two minutes.")] = False,
    long: Annotated[bool, typer.Option("--long", help="Everything, however long it takes.")] = False,
) -> None:
    """Run the tests; what else is given goes to pytest."""
    root = _root()
    install_lock("requirements-test.lock", _say)
    if not fast:
        build_all(_say)
    wanted = [name for name, given in (("--fast", fast), ("--long", long)) if given]
    _become(root, sys.executable, "-P", "-m", "pytest", *wanted, *context.args)


def run_benchmarks(context: typer.Context) -> None:
    """Run the benchmarks of messaging; what else is given goes to them."""
    root = _root()
    install_lock("requirements-engines.lock", _say)
    _become(root, sys.executable, "-P", "bench/messages.py", *context.args)


def _root() -> Path:
    root = project_root()
    if root is None:
        raise ConfigError("this needs a checkout of the project")
    return root


def _become(root: Path, *command: str) -> NoReturn:
    """Go on as another program: nobody of ours stands above it."""
    os.chdir(root)
    os.execv(command[0], command)


def _say(text: str) -> None:
    Console(stderr=True, highlight=False).print(f"[dim]moonbow:[/] {text}")
