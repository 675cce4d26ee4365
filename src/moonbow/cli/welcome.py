"""What a person needs to know once a world is up: where to go, who to be, what to try."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from moonbow.world import World

from .options import command
from .world import place_url


class Person(msgspec.Struct, frozen=True):
    """Somebody of the demo, and how they sign in."""

    name: str
    login: str
    password: str
    role: str
    region: str


class Company(msgspec.Struct, frozen=True):
    """A company of the demo."""

    name: str
    people: tuple[Person, ...]


class Demo(msgspec.Struct, frozen=True):
    """What the seeding left for the operator in `STATE/world/demo.json`."""

    companies: tuple[Company, ...] = ()


def read_demo(state: Path) -> Demo:
    """The demo's sign-ins; none if there is no demo."""
    try:
        return msgspec.json.decode((state / "world" / "demo.json").read_bytes(), type=Demo)
    except FileNotFoundError:
        return Demo()


def welcome(world: World, state: Path, seconds: float) -> RenderableType:
    """The panel shown when a world is ready."""
    parts: list[RenderableType] = [Text("Open in a browser, as if you were in", style="bold"), _places(world)]
    for company in read_demo(state).companies:
        parts += [Text(f"\nSign in as somebody of {company.name}", style="bold"), _people(company)]
    parts += [Text("\nTry next", style="bold"), _ideas(world)]
    trust = f"Browsers warn until they know this world's own authority; `{command()} trust` installs it."
    parts.append(Text(f"\n{trust}\nIt is {state}/pki/ca.crt.", style="dim"))
    return Panel(
        Group(*parts),
        padding=(0, 1),
        title=f"{world.name} is up after {seconds:.1f} s",
        border_style="green",
        expand=False,
    )


def _places(world: World) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    for place in world.places:
        table.add_row(place.name, f"[cyan]{place_url(world, place)}[/]")
    return table


def _people(company: Company) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for can_wrap in (False, False, True):  # a name or a password is copied, so it must stay in one piece
        table.add_column(no_wrap=not can_wrap, overflow="fold")
    for person in company.people:
        table.add_row(f"[cyan]{person.login}[/]", person.password, f"[dim]{person.role}, {person.region}[/]")
    return table


def _ideas(world: World) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    us, site, regions = command(), world.sites()[0].site.name, list(world.regions)
    ideas = [(f"{us} status", "everything that runs, and who is connected"), (f"{us} kill {site}", "lose a site")]
    ideas.append((f"{us} start {site}", "and get it back"))
    if len(regions) > 1:
        ideas.append((f"{us} cut {regions[0]} {regions[1]}", "part two regions; `heal` joins them"))
    ideas.append((f"{us} explain 194.2.0.1", "why a client gets the doors it gets"))
    ideas.append((f"{us} drill list", "break it on purpose and check the laws"))
    for words, meaning in ideas:
        table.add_row(f"[cyan]{words}[/]", f"[dim]{meaning}[/]")
    return table
