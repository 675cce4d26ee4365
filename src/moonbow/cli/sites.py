"""Commands that act on a site or on the links between sites."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from moonbow.launch.control import Answer

from .options import SiteName, State, command, tell

End = Annotated[str, typer.Argument(metavar="PLACE", help="A site or a region.")]


def kill(site: SiteName, state: State) -> None:
    """Take a site's power away: SIGKILL to all of it at once."""
    answer = tell(state, op="kill", site=site)
    _say(f"[bold]{site}[/] is dead: {answer['processes']} processes killed.")
    _say(f"[dim]{command()} start {site}[/] revives it.")


def start(site: SiteName, state: State) -> None:
    """Bring a site back that was killed, stopped or drained."""
    with Console().status(f"starting {site}"):
        answer = tell(state, op="start", site=site)
    _say(f"[bold]{site}[/] is in service again after {answer['seconds']} s.")


def drain(site: SiteName, state: State) -> None:
    """Send a site's people elsewhere and keep new ones away; its processes go on."""
    with Console().status(f"draining {site}"):
        answer = tell(state, op="drain", site=site)
    _say_drained(site, answer)
    _say(f"[dim]{command()} start {site}[/] puts it back into service.")


def stop(site: SiteName, state: State) -> None:
    """Drain a site, then end its processes in order."""
    with Console().status(f"stopping {site}"):
        answer = tell(state, op="stop", site=site)
    _say_drained(site, answer)
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


def _say_drained(site: str, answer: Answer) -> None:
    left = answer["left"]
    if left:
        _say(f"[yellow]{left} of {answer['before']} connections are still at {site} after {answer['seconds']} s[/]")
    else:
        _say(f"[bold]{site}[/] is empty: {answer['before']} connections moved in {answer['seconds']} s.")


def _say(text: str) -> None:
    Console(highlight=False).print(text)
