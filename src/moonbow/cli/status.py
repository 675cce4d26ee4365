"""`moonbow status`: what runs where, how it is, how many people it serves, what memory it takes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from moonbow.world import SiteRef, World, site_address

from .options import State, tell, world_in
from .progress import MARKS
from .world import place_url

LOOK_S = 1.0
Memory = dict[int | None, int]  # bytes by process id


class Process(msgspec.Struct, frozen=True):
    """One process, as the launcher knows it."""

    site: str
    name: str
    state: Literal["waiting", "starting", "ready", "alive", "backing off", "stopped", "killed"]
    reason: str
    since: float
    restarts: int
    pid: int | None
    people: int | None
    sockets: int | None


class Cut(msgspec.Struct, frozen=True):
    """Two sites whose links are not whole."""

    between: tuple[str, str]
    condition: str


class Status(msgspec.Struct, frozen=True):
    """What the launcher answers to `status`."""

    world: str
    ready: bool
    since: float
    pid: int
    drain: tuple[str, ...]
    down: tuple[str, ...]
    cuts: tuple[Cut, ...]
    processes: tuple[Process, ...]


def status(
    state: State,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every site and process of the running world."""
    console, world = Console(highlight=False), world_in(state)
    if as_json:
        console.print_json(json.dumps(tell(state, op="status")))
        return
    if not watch:
        console.print(draw_status(world, read_status(state)))
        return
    try:
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                live.update(draw_status(world, read_status(state)), refresh=True)
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        return


def read_status(state: Path) -> Status:
    """The launcher's answer."""
    return msgspec.convert(tell(state, op="status"), Status)


def draw_status(world: World, found: Status) -> RenderableType:
    """Tables of the sites and of what needs attention."""
    memory: Memory = {process.pid: with_engine_bytes(process.pid) for process in found.processes if process.pid}
    launcher = memory_bytes(found.pid)
    parts: list[RenderableType] = [_sites(world, found, memory), _outside(found, memory, launcher)]
    for place in world.places:
        parts.append(f"{place.name:15} [cyan]{place_url(world, place)}[/]")
    parts += (f"[red]{cut.between[0]} ↔ {cut.between[1]}: {cut.condition.replace('_', ' ')}[/]" for cut in found.cuts)
    for process in found.processes:
        if process.reason and process.state != "killed":
            name = f"{process.site}/{process.name}" if process.site else process.name
            parts.append(f"[yellow]{name}: {process.reason}[/]")
    total = (sum(memory.values()) + launcher) / 1_048_576
    age = time.strftime("%H:%M:%S", time.gmtime(max(0.0, time.time() - found.since)))
    parts.append(f"[dim]{found.world}: {len(memory) + 1} processes, {total:.0f} MiB, up {age}[/]")
    return Group(*parts)


def _sites(world: World, found: Status, memory: Memory) -> Table:
    table = Table("Site", "Region", "Health", "Processes", "People", "MiB", "Restarts", box=SIMPLE)
    for ref in world.sites():
        mine = [process for process in found.processes if process.site == ref.site.name]
        people = [process.sockets for process in mine if process.sockets is not None]
        table.add_row(
            f"[bold]{ref.site.name}[/]\n[dim]{ref.site.kind}[/]",
            f"{ref.region}{', sealed' if world.regions[ref.region].sealed else ''}\n[dim]{site_address(world, ref)}[/]",
            site_health(ref, mine, found),
            _dots(mine),
            str(sum(people)) if people else "",
            _mib(sum(memory.get(process.pid, 0) for process in mine)),
            str(sum(process.restarts for process in mine) or ""),
        )
    return table


def _dots(processes: list[Process]) -> str:
    """One line per kind of process, one mark per process."""
    kinds: dict[str, str] = {}
    for process in processes:
        mark, style = MARKS[process.state]
        kind = process.name.rstrip("0123456789")
        kinds[kind] = kinds.get(kind, "") + f"[{style}]{mark}[/]"
    return "\n".join(f"{marks} {kind}" for kind, marks in kinds.items())


def site_health(ref: SiteRef, processes: list[Process], found: Status) -> str:
    """One word for a whole site."""
    states = {process.state for process in processes}
    if ref.site.name in found.down:
        return "[grey50]stopped[/]"
    if "killed" in states:
        return "[bold red]killed[/]"
    if ref.site.name in found.drain:
        return "[yellow]drained[/]"
    if states <= {"ready"}:
        return "[green]well[/]"
    return "[bold red]broken[/]" if "backing off" in states else "[yellow]limping[/]"


def _outside(found: Status, memory: Memory, launcher: int) -> Table:
    table = Table("Outside the sites", "", "MiB", "Restarts", box=SIMPLE)
    table.add_row("launcher, balancers", "[green]●[/] ready" if found.ready else "starting", _mib(launcher), "")
    for process in found.processes:
        if not process.site:
            mark, style = MARKS[process.state]
            row = (process.name, f"[{style}]{mark}[/] {process.state}", _mib(memory.get(process.pid, 0)))
            table.add_row(*row, str(process.restarts or ""))
    return table


def with_engine_bytes(pid: int) -> int:
    """The memory of a process and of the engine that it tends, if it does."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return memory_bytes(pid) + sum(memory_bytes(int(child)) for child in children)


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process (proc(5), smaps_rollup); 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _mib(size: int) -> str:
    return f"{size / 1_048_576:.0f}"
