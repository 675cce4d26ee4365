"""`moonbow world`: check a world file, or show it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from moonbow.world import Place, World, load_world, place_port, site_address

from .globe import draw_globe
from .options import find_world

app = typer.Typer(help="Check or show a world file.", no_args_is_help=True)
File = Annotated[str, typer.Argument(metavar="FILE", help="A world file, or the name of a shipped world.")]
STYLES = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta")


@app.command()
def check(file: File) -> None:
    """Name every fault of a world file with its place."""
    path = find_world(file)
    world = load_world(path)
    sites = world.sites()
    Console(highlight=False).print(f"[green]✓[/] {path}: {len(world.regions)} regions, {len(sites)} sites, no fault")


@app.command()
def show(file: File) -> None:
    """Show the regions and sites of a world file, and where on earth they are."""
    world, console = load_world(find_world(file)), Console(highlight=False)
    marks = site_marks(world)
    console.print(draw_globe([(*ref.site.at, *marks[ref.site.name]) for ref in world.sites()]))
    console.print(site_table(world, marks))
    console.print(_traffic(world))
    for place in world.places:
        console.print(f"{place.name} ([dim]{place.network}[/]) enters at {place_url(world, place)}")


def site_marks(world: World) -> dict[str, tuple[str, str]]:
    """A letter and a style for every site: one letter per site, one style per region."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return {
        ref.site.name: (letters[number % len(letters)], f"bold {STYLES[ref.region_no % len(STYLES)]}")
        for number, ref in enumerate(world.sites())
    }


def site_table(world: World, marks: dict[str, tuple[str, str]]) -> Table:
    """Regions and sites, one row per site."""
    table = Table("", "Site", "Region", "Kind", "Doors", "Gateways", "Address")
    for ref in world.sites():
        region, (letter, style) = world.regions[ref.region], marks[ref.site.name]
        about = f"{ref.region}\n[dim]{region.title}[/]" if ref.site_no == 0 else ""
        if region.resilient and about:
            about += f"\n[dim]if gone: {', '.join(region.resilient)}[/]"
        table.add_row(
            f"[{style}]{letter}[/]",
            f"{ref.site.name}\n[dim]{ref.site.city}[/]",
            about,
            ref.site.kind + (", sealed" if region.sealed else ""),
            str(ref.site.doors) if ref.site.kind != "witness" else "",
            str(ref.site.gateways) if ref.site.kind == "primary" else "",
            site_address(world, ref),
        )
    return table


def _traffic(world: World) -> str:
    traffic = world.traffic
    rules = {**traffic.continents, **traffic.countries, **traffic.subnets}
    rules |= {f"resolver {network}": region for network, region in traffic.resolvers.items()}
    listed = ", ".join(f"{key} → {region}" for key, region in rules.items())
    return f"Traffic: {listed + ', ' if listed else ''}everything else → {traffic.default}"


def place_url(world: World, place: Place) -> str:
    """Where a browser of this machine enters as if it were at `place`."""
    return f"https://{world.domain}:{place_port(world, place.port)}"
