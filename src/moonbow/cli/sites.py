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


def kill(site: SiteName, state: State) -> None:
    """Take a site's power away: SIGKILL to all of it at once."""
    answer = tell(state, op="kill", site=site)
    _say(f"[bold]{site}[/] is dead: {answer['processes']} processes killed.")
    _say(f"[dim]{command()} start {site}[/] revives it.")


def start(site: SiteName, state: State) -> None:
    """Bring a site back that was killed, stopped or drained, and wait until clients are sent there again."""
    began = time.monotonic()
    with Console().status(f"starting {site}"):
        tell(state, op="start", site=site)
        why = wait_until_offered(world_in(state), site, OFFERED_S)
    if why:
        _say(f"[yellow]the processes of {site} run, but no client is sent there yet:[/] {why}")
    else:
        _say(f"[bold]{site}[/] is in service again after {time.monotonic() - began:.1f} s.")


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
