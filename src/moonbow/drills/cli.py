"""`moonbow drill`: list the drills, play one, or all of them, on a running world or on one of their own."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moonbow.base.errors import ConfigError, MoonbowError

from .drill import play
from .private import private_world
from .report import Report, save_report, show_report
from .scripts import DRILLS
from .stage import Stage

app = typer.Typer(help="Break the world on purpose, and check that its laws hold.", no_args_is_help=True)
console = Console()

WorldFile = Annotated[Path | None, typer.Option("--world", help="start a private world from this file")]
StateFolder = Annotated[Path | None, typer.Option("--state", help="use the world that runs here (default ./.state)")]
Seed = Annotated[int | None, typer.Option(help="play the same choices again")]
Fast = Annotated[bool, typer.Option("--fast", help="fewer people, lower rate, shorter")]
Slot = Annotated[int, typer.Option(help="the addresses of a private world", min=0, max=11)]
Reports = Annotated[Path, typer.Option(help="where the JSON reports go")]
Keep = Annotated[bool, typer.Option("--keep", help="leave a private world's folder for a look")]


@app.command("list")
def list_drills() -> None:
    """What can be broken."""
    table = Table("drill", "what happens", "needs", box=None, pad_edge=False)
    for name, entry in DRILLS.items():
        table.add_row(name, entry.what, entry.needs)
    console.print(table)


@app.command("run")
def run_drills(
    name: Annotated[str, typer.Argument(help="a drill, or `all`")],
    world: WorldFile = None,
    state: StateFolder = None,
    seed: Seed = None,
    fast: Fast = False,
    slot: Slot = 7,
    reports: Reports = Path("reports"),
    keep: Keep = False,
) -> None:
    """Play drills.  Exit code 0 when every law held, 1 when one is broken, 2 when a drill could not be played."""
    names = list(DRILLS) if name == "all" else [name]
    if unknown := [one for one in names if one not in DRILLS]:
        console.print(f"[red]there is no drill {unknown[0]!r}; there are {', '.join(DRILLS)}[/]")
        raise typer.Exit(2)
    chosen = random.randrange(2**31) if seed is None else seed
    try:
        outcome = asyncio.run(_run(names, _stage(world, state, slot, keep), chosen, fast, reports))
    except ConfigError as error:
        for problem in error.problems:
            console.print(f"[red]{escape(problem)}[/]")
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if not all(report.held for report in outcome):
        raise typer.Exit(1)


async def _run(
    names: list[str],
    where: contextlib.AbstractAsyncContextManager[Stage],
    seed: int,
    fast: bool,
    reports: Path,
) -> list[Report]:
    found: list[Report] = []
    async with where as stage:
        console.print(f"world {stage.world.name} in {stage.state}, seed {seed}")
        for name in names:
            entry = DRILLS[name]
            if (lack := entry.lacks(stage)) is not None:
                if len(names) == 1:
                    raise ConfigError(f"{name} cannot be played: {lack}")
                console.print(f"\nleaving out [bold]{name}[/]: {lack}")
                continue
            console.print(f"\nplaying [bold]{name}[/]: {entry.what}")
            try:
                report, history = await play(name, entry.script, stage, seed, fast)
            except* MoonbowError as group:
                raise ConfigError(*(f"{name}: {error}" for error in _leaves(group))) from group
            show_report(report, console)
            console.print(f"report: {save_report(report, reports, history)}")
            found.append(report)
    return found


@contextlib.asynccontextmanager
async def _stage(world: Path | None, state: Path | None, slot: int, keep: bool) -> AsyncGenerator[Stage]:
    if world is None:
        yield Stage(state or Path(".state"))
    else:
        async with private_world(world, slot, keep) as stage:
            yield stage


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    found: list[BaseException] = []
    for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
        found += _leaves(one)
    return found
