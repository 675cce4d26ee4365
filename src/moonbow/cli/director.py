"""`moonbow director`: look at which door the world's clients are sent to, and change it.

Exit codes: 0 done, and all is well; 1 an order was refused, or what was asked about should not be done or is not well;
2 for what must be mended first.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from moonbow.base.errors import ConfigError
from moonbow.director.asking import ask_one
from moonbow.launch.control import Answer
from moonbow.wire import traffic
from moonbow.world import World, plane_of

from . import director_map
from .director_client import ask_any, give, take_back, weigh
from .director_view import draw_history, draw_orders, draw_simulation, draw_status, is_well
from .options import State, command, tell, world_in

app = typer.Typer(help="Which door clients are sent to, and why.", no_args_is_help=True)
app.add_typer(director_map.app, name="map")

LOOK_S = 1.0
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LONGEST_S = 30 * 86_400
NOT_WELL = 1

Target = Annotated[str, typer.Argument(metavar="SITE|REGION", help="A site, or a region for all its sites.")]
Why = Annotated[str, typer.Option("--why", help="A reason, shown wherever the order is.")]
For = Annotated[str | None, typer.Option("--for", metavar="30m", help="Ends by itself after 90s, 30m, 2h or 1d.")]
Force = Annotated[bool, typer.Option("--force", help="Even if other sites cannot take the clients.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def status(
    state: State,
    once: Annotated[bool, typer.Option("--once", help="Show it once; exit 1 if not all is well.")] = False,
    as_json: Json = False,
    flows: Annotated[bool, typer.Option(help="Show who goes where.")] = True,
) -> None:
    """Every site, its health and load, the orders in force, and who goes where now."""
    console, world = Console(highlight=False), world_in(state)
    if as_json:
        found, orders, others = _look(world)
        said = {name: other and {"snapshot": other.snapshot, "digest": other.digest} for name, other in others.items()}
        console.print_json(msgspec.json.encode({"status": found, "orders": orders.orders, "directors": said}).decode())
        raise typer.Exit(0 if is_well(found, others) else NOT_WELL)
    if once or not console.is_terminal:
        found, orders, others = _look(world)
        console.print(draw_status(found, orders, _flows(world, flows), others))
        raise typer.Exit(0 if is_well(found, others) else NOT_WELL)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                found, orders, others = _look(world)
                live.update(draw_status(found, orders, _flows(world, flows), others), refresh=True)
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        return


def _look(world: World) -> tuple[traffic.DirectorStatus, traffic.Orders, dict[str, traffic.DirectorStatus | None]]:
    """What the first living director says, and what all say."""
    refs = plane_of(world)
    others = {ref.site.name: ask_one(world, ref, "/status", traffic.DirectorStatus) for ref in refs}
    found = next((other for other in others.values() if other is not None), None)
    if found is None:
        found = ask_any(world, "/status", traffic.DirectorStatus)
    return found, ask_any(world, "/orders", traffic.Orders), others


def _flows(world: World, wanted: bool) -> traffic.Flows | None:
    return ask_any(world, "/flows", traffic.Flows) if wanted else None


@app.command()
def orders(state: State, as_json: Json = False) -> None:
    """The orders in force."""
    found = ask_any(world_in(state), "/orders", traffic.Orders)
    console = Console(highlight=False)
    if as_json:
        console.print_json(msgspec.json.encode(found.orders).decode())
    else:
        console.print(draw_orders(found) if found.orders else "[dim]no order is in force[/]")


@app.command()
def history(
    state: State,
    number: Annotated[
        int | None, typer.Argument(help="Show this snapshot whole: its sites, reasons, who went where.")
    ] = None,
    site: Annotated[str | None, typer.Option("--site", help="Of this site's director.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many changes.")] = 20,
    as_json: Json = False,
) -> None:
    """What changed lately, and who wanted it or why."""
    console = Console(highlight=False)
    if number is not None:
        _show_snapshot(console, world_in(state), site, number, as_json)
        return
    found = ask_any(world_in(state), "/history", traffic.History, at=site)
    if as_json:
        console.print_json(msgspec.json.encode(found).decode())
    else:
        console.print(draw_history(found, limit))


def _show_snapshot(console: Console, world: World, site: str | None, number: int, as_json: bool) -> None:
    """One snapshot that a director keeps: the last 64 that changed something, since it started."""
    found = ask_any(world, "/status", traffic.DirectorStatus, at=site, snapshot=str(number))
    if as_json:
        console.print_json(msgspec.json.encode(found).decode())
        return
    flows = ask_any(world, "/flows", traffic.Flows, at=site, snapshot=str(number))
    console.print(draw_status(found, traffic.Orders(orders=[]), flows, {}))


@app.command()
def simulate(
    state: State,
    down: Annotated[str, typer.Option("--down", metavar="SITE|REGION,…", help="Sites or regions, by comma.")],
    as_json: Json = False,
) -> None:
    """What would be if sites or regions were down: the load of everybody else.  Nothing is changed."""
    found = ask_any(world_in(state), "/simulate", traffic.Simulation, down=down)
    console = Console(highlight=False)
    if as_json:
        console.print_json(msgspec.json.encode(found).decode())
    else:
        console.print(draw_simulation(found))
    raise typer.Exit(NOT_WELL if found.problems else 0)


@app.command()
def override(
    target: Target,
    to: Annotated[Literal["up", "down", "clear"], typer.Argument(help="Beats every probe; `clear` ends all orders.")],
    state: State,
    for_: For = None,
    why: Why = "",
    force: Force = False,
) -> None:
    """Say that a site or region is up or down, whatever is seen of it."""
    if to != "clear":
        order(state, to, target, None, why, for_, force)
        return
    mine = [found for found in ask_any(world_in(state), "/orders", traffic.Orders).orders if found.target == target]
    for found in mine:
        take_back(state, found.id)
    _say(f"{len(mine)} orders for [bold]{target}[/] are taken back" if mine else f"no order names {target}")


@app.command()
def drain(target: Target, state: State, for_: For = None, why: Why = "", force: Force = False) -> None:
    """Send the clients of a site or region elsewhere and keep new ones away; its processes go on."""
    say_drained(target, order(state, "drain", target, None, why, for_, force))


@app.command()
def canary(
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site to try.")],
    slices: Annotated[int, typer.Argument(min=0, max=16, help="Of the 16 slices of its region's networks.")],
    state: State,
    for_: For = None,
    why: Why = "",
    force: Force = False,
) -> None:
    """Try a site on a few sixteenths of its region's networks, and on nobody else."""
    order(state, "canary", site, slices, why, for_, force)


@app.command()
def weights(
    wanted: Annotated[list[str], typer.Argument(metavar="SITE=PERCENT…", help="Of what nearness gives, 0 to 100.")],
    state: State,
    for_: For = None,
    why: Why = "",
    force: Force = False,
) -> None:
    """Give sites less than their share of the networks near them."""
    parsed = [re.fullmatch(r"([a-z0-9]+)=(\d{1,3})%?", text) for text in wanted]
    if wrong := [text for text, found in zip(wanted, parsed, strict=True) if found is None]:
        raise ConfigError(*(f"{text!r} is not SITE=PERCENT, as in paris=25" for text in wrong))
    for found in parsed:
        assert found is not None
        order(state, "weight", found[1], int(found[2]), why, for_, force)


@app.command()
def undo(
    state: State,
    idents: Annotated[list[str] | None, typer.Argument(metavar="[ORDER…]", help="As `orders` shows them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All orders in force.")] = False,
) -> None:
    """Take orders back; what they kept away comes back into service."""
    if bool(idents) == every:
        raise ConfigError(f"name the orders to take back, or --all; `{command()} director orders` lists them")
    if every:
        idents = [found.id for found in ask_any(world_in(state), "/orders", traffic.Orders).orders]
    for ident in idents or ():
        with Console(stderr=True).status(f"taking {ident} back"):
            take_back(state, ident)
        _say(f"order [bold]{ident}[/] is taken back")
    if not idents:
        _say("no order is in force")


def order(state: Path, kind: str, target: str, value: int | None, why: str, for_: str | None, force: bool) -> Answer:
    """Give an order, unless it would do harm; what the launcher says.  Ends the program when it is refused."""
    for_s = None if for_ is None else read_duration_s(for_)
    world = world_in(state)
    if not force:
        refuse_harm(state, world, kind, target, value)
    with Console(stderr=True).status(f"{kind} of {target}"):
        answer = give(state, kind, target, value, why, for_s)
    given = answer["order"]
    assert isinstance(given, dict)
    until = f" for {for_}" if for_ else ""
    what = f"{kind} of [bold]{target}[/]" + ("" if value is None else f": {value}")
    _say(
        f"order [bold]{given['id']}[/]: {what}{until}.  [dim]{command()} director undo {given['id']}[/] takes it back."
    )
    return answer


def refuse_harm(state: Path, world: World, kind: str, target: str, value: int | None = None) -> None:
    """End the program with exit code 1, after the figures, if an order would overload somebody."""
    tell(state, op="orders")  # says so if no world runs
    found = weigh(world, kind, target, value)
    if found.problems:
        console = Console(stderr=True, highlight=False)
        console.print(draw_simulation(found))
        console.print("[bold red]✗[/] refused: nothing was changed.  [bold]--force[/] does it all the same.")
        raise typer.Exit(NOT_WELL)


def say_drained(target: str, answer: Answer) -> None:
    """What became of the clients of a drained site."""
    if answer["left"]:
        left = f"{answer['left']} of {answer['before']} connections are still at {target}"
        _say(f"[yellow]{left} after {answer['seconds']} s[/]")
    else:
        _say(f"[bold]{target}[/] is empty: {answer['before']} connections moved in {answer['seconds']} s.")


def read_duration_s(text: str) -> float:
    """Seconds of `90s`, `30m`, `2h`, `1d`; `ConfigError` for anything else, or more than 30 days."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    seconds = int(found[1]) * UNITS_S[found[2]] if found else 0
    if not 1 <= seconds <= LONGEST_S:
        raise ConfigError(f"--for {text}: a time like 90s, 30m, 2h or 1d is wanted, 30 days at most")
    return float(seconds)


def _say(text: str) -> None:
    Console(highlight=False).print(text, soft_wrap=True)
