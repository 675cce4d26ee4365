"""All commands of `moonbow` in one place, and how their errors are told."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer
from rich.console import Console

from moonbow.base.errors import MoonbowError

from . import audit, backup, director, logs, sites, status, trust, up, work, world

Command = Callable[..., None]
HELP = "Moonbow: an open, self-hosted cloud for unified communications over a world of regions."


def make_app() -> typer.Typer:
    """The command line with everything that is installed."""
    app = typer.Typer(
        help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode="rich"
    )
    panels: dict[str, dict[str, Command]] = {
        "Run a world": {"up": up.up, "down": up.down, "status": status.status, "trust": trust.trust},
        "Break and mend it": {
            **{"kill": sites.kill, "start": sites.start, "drain": sites.drain, "stop": sites.stop},
            **{"cut": sites.cut, "heal": sites.heal},
        },
        "Look into it": {"logs": logs.logs, "explain": work.explain},
    }
    for panel, commands in panels.items():
        for name, command in commands.items():
            app.command(name, rich_help_panel=panel)(command)
    app.add_typer(backup.app, name="backup", rich_help_panel="Break and mend it")
    app.add_typer(world.app, name="world", rich_help_panel="Look into it")
    app.add_typer(director.app, name="director", rich_help_panel="Look into it")
    app.add_typer(audit.app, name="audit", rich_help_panel="Look into it")
    if sys.argv[1:2] in (
        [],
        ["--help"],
        ["drill"],
    ):  # they bring a whole client, which other commands need not wait for
        from moonbow.drills import cli as drills

        app.add_typer(drills.app, name="drill", rich_help_panel="Break and mend it")
    if sys.argv[1:2] in ([], ["--help"], ["keys"]):  # they bring the stores' engines
        from . import keys

        app.add_typer(keys.app, name="keys", rich_help_panel="Look after data")
    passing_on = {"allow_extra_args": True, "ignore_unknown_options": True}
    for name, command in (("test", work.run_tests), ("bench", work.run_benchmarks)):
        app.command(name, rich_help_panel="Work on Moonbow", context_settings=passing_on)(command)
    return app


def run() -> int:
    """Run the command in `sys.argv`; the exit code."""
    try:
        make_app()()
    except MoonbowError as error:
        show_error(error)
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def show_error(error: MoonbowError) -> None:
    """What is wrong, one line per fault, on standard error."""
    console = Console(stderr=True, highlight=False)
    for line in str(error).splitlines():
        console.print("[bold red]✗[/]" if not line.startswith(" ") else " ", end=" ")
        console.print(line, markup=False, soft_wrap=True)
