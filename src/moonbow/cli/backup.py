"""`moonbow backup`: take a region's backups, list them, check them, and put one back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table

from moonbow.backup.model import Step
from moonbow.base.errors import ConfigError
from moonbow.launch.lock import only_launcher
from moonbow.launch.pki import ensure_pki
from moonbow.world import World, is_clustered

from .options import State, command, world_in

app = typer.Typer(help="Copies of regions at another of their sites.", no_args_is_help=True)
console = Console(highlight=False)

Region = Annotated[str | None, typer.Argument(metavar="[REGION]", help="One region; all without it.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="The backup key, where the region's own is gone.")]


@app.command()
def run(state: State, region: Region = None) -> None:
    """Take a backup now, and check it.  The world need not run, but a region on MariaDB must."""
    from moonbow.backup.policy import choose_places
    from moonbow.backup.process import take_backup

    world = world_in(state)
    for name in _regions(world, region):
        if warning := choose_places(world, name).warning:
            console.print(f"[yellow]{warning}[/]")
        began = time.monotonic()
        with _bars() as report:
            made = asyncio.run(take_backup(world, state, name, report))
        data = made[0]
        rows = sum(sum(payload.rows.values()) for payload in data.payloads)
        console.print(
            f"[green]✓[/] [bold]{name}[/] {' '.join(one.id for one in made)}: {rows} rows, {data.objects} objects, "
            f"checked, kept at {data.kept_at}, {time.monotonic() - began:.1f} s"
        )


@app.command("list")
def list_backups(
    state: State, region: Region = None, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Show the backups that stand: how old, how large, and whether they were found whole."""
    from moonbow.backup.policy import expired
    from moonbow.backup.process import shelf_of

    world, now = world_in(state), time.time()
    found = [one for name in _regions(world, region) for one in shelf_of(world, state, name).archives()]
    if as_json:
        shown = [{"manifest": one.manifest, "checked": one.checked, "sealed_bytes": one.sealed_bytes} for one in found]
        print(msgspec.json.encode(shown).decode())
        return
    table = Table("region", "backup", "age", "rows", "objects", "bytes", "kept at", "state", box=None, pad_edge=False)
    for one in found:
        manifest = one.manifest
        state_of = "[green]good[/]" if one.good else "[red]damaged[/]" if one.checked else "[yellow]not checked[/]"
        if expired(world.backup, one, now):
            state_of = "[yellow]its time is up[/]"
        table.add_row(
            manifest.region, manifest.id, _age(now - manifest.taken_at),
            str(sum(sum(payload.rows.values()) for payload in manifest.payloads)), str(manifest.objects),
            f"{one.sealed_bytes + manifest.object_bytes:,}", manifest.kept_at, state_of,
        )  # fmt: skip
    console.print(table if found else f"there are no backups; [dim]{command()} backup run[/] takes one")


@app.command("verify")
def verify_backups(
    state: State,
    ident: Annotated[str | None, typer.Argument(metavar="[ID]", help="One backup; all without it.")] = None,
    region: Annotated[str | None, typer.Option(help="Of one region.")] = None,
    key: KeyFile = None,
) -> None:
    """Open backups from their first byte to their last.  Exit code 1 if one is damaged."""
    from moonbow.backup.process import check_backup, shelf_of

    world = world_in(state)
    wanted = [
        (name, one.manifest.id)
        for name in _regions(world, region)
        for one in shelf_of(world, state, name).archives()
        if ident in (None, one.manifest.id)
    ]
    if not wanted:
        raise ConfigError(f"there is no backup {ident}" if ident else "there are no backups")
    damaged = False
    for name, one in wanted:
        with _bars() as report:
            checked = asyncio.run(check_backup(world, state, name, one, key, report))
        damaged |= bool(checked.faults)
        console.print(f"[red]✗[/] {name} {one}" if checked.faults else f"[green]✓[/] {name} {one}")
        for fault in checked.faults:
            console.print(f"  {fault}", markup=False)
    if damaged:
        raise typer.Exit(1)


@app.command()
def restore(
    region: Annotated[str, typer.Argument(help="The region, which must be empty.")],
    ident: Annotated[str, typer.Argument(metavar="ID", help="A backup of data.")],
    state: State,
    to: Annotated[Path | None, typer.Option("--to", help="Another world's folder.", resolve_path=True)] = None,
    key: KeyFile = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="REGION", help="Do not wait for what this region holds.")
    ] = None,
) -> None:
    """Put a backup into an empty region of a world that does not run."""
    from moonbow.backup.process import restore_region, world_of

    world = world_in(state)
    (name,) = _regions(world, region)
    target = to or state
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with only_launcher(target), _bars() as report:
        for other in without or ():
            _regions(world, other)
        there = world_of(target, world, name)
        if is_clustered(there.regions[name]):  # its database is started, and shows certificates
            ensure_pki(there, target)
        restored = asyncio.run(restore_region(world, state, target, name, ident, key, report, without or ()))
    taken = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(restored.data.taken_at))
    console.print(f"[green]✓[/] [bold]{name}[/] is as it was at {taken}")
    keys = restored.keys.id if restored.keys else "[yellow]none stands any more: what people wrote stays sealed[/]"
    console.print(f"  keys: {keys}")
    console.print(f"  erased again: {len(restored.erased)} people; everybody signs in anew")


def _regions(world: World, region: str | None) -> list[str]:
    if region is None:
        return list(world.regions)
    if region not in world.regions:
        raise ConfigError(f"there is no region {region!r}; the world has {', '.join(world.regions)}")
    return [region]


@contextmanager
def _bars() -> Generator[_Bars]:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        yield _Bars(progress)


class _Bars:
    """A bar for what is being worked on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._what = ""
        self._task: TaskID | None = None

    def __call__(self, step: Step) -> None:
        if self._task is None or step.what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._what, self._task = step.what, self._progress.add_task(step.what, total=step.total or None)
        self._progress.update(self._task, completed=step.done)


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
