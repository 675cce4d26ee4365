"""Commands that act on a site or on the links between sites."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console

from moonbow.launch.control import Answer

from .director import For, Force, Why, order, refuse_harm, say_drained
from .director_client import wait_until_offered
from .options import SiteName, State, command, tell, world_in

OFFERED_S = 20.0  # directors hold a site back for a second or more after it was down, and longer when it flaps
End = Annotated[str, typer.Argument(metavar="PLACE", help="A site or a region.")]


def kill(place: End, state: State) -> None:
    """Take the power of a site, or of a whole region, away: SIGKILL to all of it at once."""
    answer = tell(state, op="kill", site=place)
    _say(f"[bold]{place}[/] is dead: {answer['processes']} processes killed.")
    _say(f"[dim]{command()} start {place}[/] revives it.")


def start(place: End, state: State) -> None:
    """Bring a site, or a whole region, back that was killed, stopped or drained; wait until clients are sent there."""
    began, world = time.monotonic(), world_in(state)
    with Console().status(f"starting {place}"):
        tell(state, op="start", site=place)
        doors = [ref.site.name for ref in world.sites_called(place) if ref.site.kind != "witness"]
        whys = [why for site in doors if (why := wait_until_offered(world, site, OFFERED_S))]
    if whys:
        _say(f"[yellow]the processes of {place} run, but no client is sent there yet:[/] {'; '.join(whys)}")
    else:
        word = "is in service again" if doors else "runs again"
        _say(f"[bold]{place}[/] {word} after {time.monotonic() - began:.1f} s.")


def drain(site: SiteName, state: State, for_: For = None, why: Why = "", force: Force = False) -> None:
    """Send a site's people elsewhere and keep new ones away; its processes go on."""
    say_drained(site, order(state, "drain", world_in(state).site(site).site.name, None, why, for_, force))
    _say(f"[dim]{command()} start {site}[/] puts it back into service.")


def stop(site: SiteName, state: State, why: Why = "", force: Force = False) -> None:
    """Drain a site, then end its processes in order."""
    world = world_in(state)
    if not force:
        refuse_harm(state, world, "drain", world.site(site).site.name)
    with Console(stderr=True).status(f"stopping {site}"):
        answer = tell(state, op="stop", site=site, why=why)
    say_drained(site, answer)
    _say(f"[bold]{site}[/] is stopped.  [dim]{command()} start {site}[/] brings it back.")


def cut(
    a: End,
    b: End,
    state: State,
    black_hole: Annotated[
        bool, typer.Option("--black-hole", help="Let connections stand, and nothing through.")
    ] = False,
) -> None:
    """Cut the links between two sites or regions."""
    _say_links(tell(state, op="cut", a=a, b=b, black_hole=black_hole))
    _say(f"[dim]{command()} heal {a} {b}[/] mends it.")


def heal(
    state: State,
    a: Annotated[str | None, typer.Argument(metavar="[PLACE", help="A site or a region.")] = None,
    b: Annotated[str | None, typer.Argument(metavar="PLACE]", help="Another; without both, all is healed.")] = None,
) -> None:
    """Mend the links between two sites or regions, or all of them."""
    if (a is None) != (b is None):
        raise typer.BadParameter("name both ends, or none for all links")
    _say_links(tell(state, op="heal", a=a, b=b))


def _say_links(answer: Answer) -> None:
    pairs = answer["pairs"]
    assert isinstance(pairs, list)
    word = {"open": "open again", "cut": "cut", "black_hole": "a black hole"}[str(answer["condition"])]
    for a, b in pairs:
        _say(f"[bold]{a}[/] ↔ [bold]{b}[/] is {word}")
    if not pairs:
        _say("nothing was cut")


def _say(text: str) -> None:
    Console(highlight=False).print(text)
