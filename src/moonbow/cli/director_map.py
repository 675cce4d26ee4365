"""`moonbow director map`: build the address map, see what a new one changes, put it into use, go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from moonbow.base.errors import ConfigError
from moonbow.world import World, load_world

from .director_map_view import draw_diff, draw_ledger, draw_shares, say_entry, tell_diff, tell_entry
from .options import State, command, find_world, world_in

if TYPE_CHECKING:
    from moonbow.director.maps import Built

app = typer.Typer(help="Which country, and so which region, every network belongs to.", no_args_is_help=True)

Database = Annotated[
    Path | None,
    typer.Option(
        "--database",
        metavar="FILE",
        help="An .mmdb (GeoIP2, GeoLite2 or flat); else the one of the world file, else registry data.",
    ),
]
Registry = Annotated[bool, typer.Option("--registry", help="Registry data, even if the world names a database.")]
WorldFile = Annotated[str | None, typer.Option("--world", help="Rules of another world file than the state's.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Why = Annotated[str, typer.Option("--why", help="A reason, for the ledger.")]


@app.command()
def build(
    state: State,
    database: Database = None,
    registry: Registry = False,
    world: WorldFile = None,
    why: Why = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and leave it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Put it into use however much moves.")] = False,
    as_json: Json = False,
) -> None:
    """Compile a map beside the one in use, show what changes, and put it into use."""
    from moonbow.director import mapdiff, maps
    from moonbow.director.addresses import nothing_known
    from moonbow.director.shelf import Shelf

    console, found, shelf = Console(highlight=False), _world(state, world), Shelf(state)
    if database and registry:
        raise ConfigError("--database and --registry: one of them")
    built = _build(found, database, registry)
    try:
        before, usable = shelf.current()[1], True
    except ConfigError as error:  # then anything is better, and nothing to compare it with
        before, usable = nothing_known(), False
        Console(stderr=True, highlight=False).print(f"[yellow]no map can be used now:[/] {error}")
    diff = mapdiff.diff_maps(found, before, built.ranges)
    if not as_json:
        console.print(draw_diff(diff))
    if usable and not dry_run and not force:
        maps.refuse_unsafe(diff)
    entry = None if dry_run else shelf.install(built.ranges, maps.entry_of(built, maps.operator(), why))
    if as_json:
        _print_json({"diff": tell_diff(diff), "installed": tell_entry(entry) if entry else None})
    elif entry:
        console.print(f"{say_entry(entry)} is in use; a running director takes it at once", soft_wrap=True)
        if entry.how == "built":
            console.print(f"[dim]{command()} director map rollback[/] goes back.")


@app.command()
def diff(
    state: State,
    before: Annotated[int | None, typer.Argument(help="Number of a map; without any, the one used before.")] = None,
    after: Annotated[int | None, typer.Argument(help="Number of another; without, the one in use.")] = None,
    database: Database = None,
    world: WorldFile = None,
    as_json: Json = False,
) -> None:
    """Show what moves between two maps, or what would if a database were used."""
    from moonbow.director.ledger import choose_entry, choose_rollback
    from moonbow.director.mapdiff import diff_maps
    from moonbow.director.shelf import Shelf

    shelf, found = Shelf(state), _world(state, world)
    ledger = shelf.read()
    if database is not None:
        one = shelf.load(choose_entry(ledger, before)) if before is not None else shelf.current()[1]
        other = _build(found, database, registry=False).ranges
    else:
        one = shelf.load(choose_rollback(ledger) if before is None else choose_entry(ledger, before))
        other = shelf.current()[1] if after is None else shelf.load(choose_entry(ledger, after))
    result = diff_maps(found, one, other)
    if as_json:
        _print_json(tell_diff(result))
    else:
        Console(highlight=False).print(draw_diff(result))


@app.command()
def show(state: State, world: WorldFile = None, as_json: Json = False) -> None:
    """Show the map in use: its data, and the share of the address space that each region has."""
    from moonbow.director.addresses import default_path
    from moonbow.director.mapdiff import share_regions
    from moonbow.director.shelf import Shelf

    entry, ranges = Shelf(state).current()
    shares = share_regions(_world(state, world), ranges)
    sizes = {"countries": len(ranges.countries) - 1, "ipv4_ranges": len(ranges.v4), "ipv6_ranges": len(ranges.v6)}
    if as_json:
        told = tell_entry(entry) if entry else {"number": 0, "source": ranges.source, "file": str(default_path())}
        regions = {region: {"ipv4_ratio": four, "ipv6_ratio": six} for region, (four, six) in shares.items()}
        _print_json({"map": told, **sizes, "regions": regions})
        return
    console = Console(highlight=False)
    console.print(say_entry(entry) if entry else f"{ranges.source}, as installed ({default_path()})", soft_wrap=True)
    counts = [f"{number:,} {name.replace('_', ' ').replace('ipv', 'IPv')}" for name, number in sizes.items()]
    console.print(", ".join(counts), draw_shares(shares), sep="\n")


@app.command(name="list")
def list_maps(state: State, as_json: Json = False) -> None:
    """List every change of the map: who, when, why, and whether it can be gone back to."""
    from moonbow.director.ledger import kept_digests
    from moonbow.director.shelf import Shelf

    ledger = Shelf(state).read()
    if as_json:
        _print_json([tell_entry(entry) | {"kept": entry.digest in kept_digests(ledger)} for entry in ledger.entries])
    elif ledger.entries:
        Console(highlight=False).print(draw_ledger(ledger))
    else:
        Console(highlight=False).print("no map was ever chosen: the installation's own is in use")


@app.command()
def rollback(
    state: State,
    to: Annotated[int | None, typer.Option("--to", help="Number of a kept map; without, the one used before.")] = None,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Go back to an earlier map.  Going back from that is where you were."""
    from moonbow.director import maps
    from moonbow.director.shelf import Shelf

    entry = Shelf(state).roll_back(to, maps.entry_back(maps.operator(), why))
    if as_json:
        _print_json(tell_entry(entry))
    else:
        Console(highlight=False).print(
            f"{say_entry(entry)} is in use; a running director takes it at once", soft_wrap=True
        )


def _world(state: Path, name: str | None) -> World:
    return load_world(find_world(name)) if name else world_in(state)


def _build(world: World, database: Path | None, registry: bool) -> Built:
    """A map from what was asked for, with a bar where there is a terminal."""
    from moonbow.director.maps import build_map

    named = Path(world.geo.database) if world.geo.database and not registry else None
    console, path = Console(stderr=True, highlight=False), database or named
    about = f"compiling {path.name if path else 'registry data'}"
    if not console.is_terminal:
        console.print(f"{about} …")
        return build_map(path)
    with Progress(TextColumn(about), BarColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(about, total=None)
        return build_map(path, lambda done, of: bar.update(task, completed=done, total=of))


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1))
