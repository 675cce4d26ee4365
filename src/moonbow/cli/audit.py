"""`moonbow audit`: prove where people's data rest, show the map of it, and check what was signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from moonbow.base.errors import ConfigError
from moonbow.watch.attest import latest, read_attestation
from moonbow.watch.model import Attestation, Control, DataClass, Finding, Mapped, Progress, Report
from moonbow.watch.run import run_audit

from .options import State, command, world_in

app = typer.Typer(help="Prove where people's data rest.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command("residency")
def residency(state: State, as_json: Json = False) -> None:
    """Walk every file, table, log and bus of the world, and try the locks.  Exit code 1 if anything is found."""
    console = Console(highlight=False)
    report = _run(state, console)
    if as_json:
        console.print_json(msgspec.json.encode(report).decode())
    else:
        show_report(console, report)
    if not report.clean:
        raise typer.Exit(1)


def _run(state: Path, console: Console) -> Report:
    """One audit, with a bar for as long as it takes."""
    columns = (TextColumn("{task.description}"), BarColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("beginning", total=None)

        def tell(progress: Progress) -> None:
            bar.update(task, description=progress.stage, completed=progress.done, total=progress.total or None)

        return run_audit(state, tell)


def show_report(console: Console, report: Report) -> None:
    """What was found, which locks held, and where the attestations lie."""
    console.print(_controls(report.controls))
    if report.findings:
        console.print(_findings(report.findings))
    seen = f"{report.files} files, {report.rows} rows, {_size(report.size_bytes)}, {report.canaries} canaries"
    console.print(f"[dim]{seen} in {report.lasted_s:.1f} s[/]")
    for region, path in report.attestations.items():
        console.print(f"{region:10} {escape(path)}")
    if report.clean:
        console.print("[green]✓[/] everything rests where it may")
        return
    broken = sum(control.held is False for control in report.controls)
    console.print(f"[bold red]✗ {len(report.findings)} findings, {broken} controls that do not hold[/]")


def _controls(controls: tuple[Control, ...]) -> Table:
    """One line for each kind of control: how many held, and what is said of those that did not."""
    table = Table("Tried", "Held", "", box=SIMPLE)
    for code in dict.fromkeys(control.code for control in controls):
        alike = [control for control in controls if control.code == code]
        held = sum(control.held is True for control in alike)
        bad = [control for control in alike if control.held is not True]
        style = "red" if any(control.held is False for control in bad) else "yellow" if bad else "green"
        said = [f"{control.place}: {control.said}" for control in bad] or [alike[0].said]
        table.add_row(code, f"[{style}]{held} of {len(alike)}[/]", escape("\n".join(said)))
    return table


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = Table("Finding", "Where", "Row", "", box=SIMPLE)
    for found in findings:
        where = f"{found.place}:{found.table}" if found.table else found.place
        table.add_row(f"[red]{found.code}[/]", escape(where), escape(found.key), escape(found.said))
    return table


@app.command("show")
def show(
    state: State,
    region: Annotated[str | None, typer.Option(help="Of one region only.")] = None,
    as_json: Json = False,
) -> None:
    """Show the data map: what rests where, in which engine, for how long, and when it was last looked at."""
    console, found = Console(highlight=False), _latest(state, region)
    order = get_args(DataClass)
    lines = sorted(
        {line for one in found for line in one.map},
        key=lambda line: (line.region == "", line.region, order.index(line.data), line.where),
    )
    if as_json:
        console.print_json(json.dumps([msgspec.to_builtins(line) for line in lines]))
        return
    console.print(_map(lines))
    for one in found:
        mark = "[green]clean[/]" if one.clean else f"[red]{len(one.findings)} findings[/]"
        console.print(f"{one.region:10} {mark}, looked at {one.started_at}, signed")


def _latest(state: Path, region: str | None) -> list[Attestation]:
    """The last attestation of each region, each checked; `ConfigError` if there is none."""
    regions = world_in(state).regions
    if region is not None and region not in regions:
        raise ConfigError(f"there is no region {region!r}; the world has {', '.join(regions)}")
    paths = [latest(state, name) for name in regions if region in (None, name)]
    if not (found := [read_attestation(state, path) for path in paths if path is not None]):
        raise ConfigError(f"no audit has been made in {state}; `{command()} audit residency` makes one")
    return found


def _map(lines: list[Mapped]) -> Table:
    """One row for what is alike at several sites."""
    table = Table("Class", "What", "Where", "Engine", "Records", "Size", "Stays", box=SIMPLE)
    region = ""
    alike: dict[tuple[str, str, str], list[Mapped]] = {}
    for line in lines:
        alike.setdefault((line.region, line.where, line.data), []).append(line)
    for some in alike.values():
        one, size = some[0], sum(line.size_bytes for line in some)
        if one.region != region:
            table.add_section()
            region = one.region
        at = ", ".join(line.site for line in some if line.site)
        table.add_row(
            one.data, f"{one.what}\n[dim]{at or one.region or 'the world'}[/]", escape(one.where), one.engine,
            str(sum(line.records for line in some)), _size(size) if size else "", one.retention,
        )  # fmt: skip
    return table


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="An attestation.")],
    state: State,
    key: Annotated[Path | None, typer.Option(help="The region's public key, if it is not in the state folder.")] = None,
) -> None:
    """Check that an attestation is what a region signed, byte for byte."""
    found = read_attestation(state, file, key)
    mark = "clean" if found.clean else f"{len(found.findings)} findings"
    Console(highlight=False).print(f"[green]✓[/] signed by {found.region} of {found.world}, {found.started_at}: {mark}")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1_048_576:.1f} MiB" if size_bytes >= 1_048_576 else f"{size_bytes / 1024:.0f} KiB"
