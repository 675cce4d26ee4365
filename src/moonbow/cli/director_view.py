"""How the state of directors, orders, history and what-if look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from moonbow.wire.traffic import DirectorStatus, Flows, Forecast, History, Order, Orders, Simulation, SiteStatus

FLOWS_MAX = 12
BAR = 10


def draw_status(
    status: DirectorStatus, orders: Orders, flows: Flows | None, others: Mapping[str, DirectorStatus | None]
) -> RenderableType:
    """All sites, the orders in force, who goes where, and what is not as it should be.  `others` by site."""
    parts: list[RenderableType] = [_sites(status)]
    if orders.orders:
        parts.append(draw_orders(orders))
    if flows is not None:
        parts.append(_flows(flows))
    parts += (f"[yellow]! {escape(words)}[/]" for words in find_worries(status, others))
    agree = sum(1 for other in others.values() if other is not None and other.digest == status.digest)
    parts.append(
        f"[dim]{escape(status.world)}, {escape(status.domain)}: snapshot {status.snapshot} ({status.digest}) since "
        f"{clock(status.changed_at)}, said by {escape(status.site)}; {agree} of {len(others)} directors answer alike; "
        f"{status.buckets} buckets, addresses of {escape(status.addresses)}[/]"
    )
    return Group(*parts)


def find_worries(status: DirectorStatus, others: Mapping[str, DirectorStatus | None]) -> list[str]:
    """What an operator should look at, worst first; empty when all is well."""
    found = [f"decisions stand still: {status.frozen}"] if status.frozen else []
    if status.age_s:
        found.append(f"answers are made from what was known {status.age_s:.0f} s ago")
    found += (f"the director of {name} does not answer" for name, other in others.items() if other is None)
    differing = [name for name, other in others.items() if other is not None and other.digest != status.digest]
    if differing:
        found.append(f"{', '.join(differing)} answer otherwise than {status.site}")
    found += (f"watchers of {site.site} do not agree about its doors" for site in status.sites if site.disputed)
    if status.spilled:
        found.append(f"{status.spilled} slices are sent elsewhere because sites are full")
    if status.degraded:
        found.append(f"{status.degraded} of {status.buckets} buckets are away from their first choice")
    return found


def is_well(status: DirectorStatus, others: Mapping[str, DirectorStatus | None]) -> bool:
    """Whether nothing needs looking at: every site is offered, and every director says the same."""
    return all(site.healthy for site in status.sites) and not find_worries(status, others)


def _sites(status: DirectorStatus) -> Table:
    table = Table("Site", "Region", "State", "Clients", "CPU", "Errors", "Doors", "Seen by", box=SIMPLE)
    for site in status.sites:
        load = site.load
        table.add_row(
            f"[bold]{escape(site.site)}[/]\n[dim]{site.kind}, {escape(site.city)}[/]",
            f"{escape(site.region)}{', sealed' if site.sealed else ''}",
            f"{_state(site)}\n[dim]{escape(site.why)}[/]",
            f"{load.connections:,}\n{_bar(load.connections, load.capacity)}"
            if load
            else f"[dim]of {site.capacity:,}[/]",
            f"{load.cpu:.0%}" if load else "",
            f"{load.errors:.1%}" if load and load.errors else "",
            "".join("[green]●[/]" if door.up else "[red]○[/]" for door in site.doors),
            escape(", ".join(site.voters)) + ("\n[yellow]disputed[/]" if site.disputed else ""),
        )
    return table


def _state(site: SiteStatus) -> str:
    if site.override == "down":
        return "[grey50]declared down[/]"
    if site.override == "drain":
        return "[yellow]drained[/]"
    word = "[green]offered[/]" if site.healthy else "[bold red]not offered[/]"
    if site.override == "up":
        word += ", [yellow]declared up[/]"
    if site.weight != 100:
        word += f", [cyan]weight {site.weight} %[/]"
    if site.canary:
        word += f", [cyan]canary of {site.canary}/16[/]"
    return word


def _bar(part: int, whole: int) -> str:
    """How full something is, as a bar of ten."""
    ratio = part / whole if whole else 0.0
    filled = min(BAR, round(ratio * BAR))
    colour = "red" if ratio > 0.9 else "yellow" if ratio > 0.75 else "green"
    return f"[{colour}]{'━' * filled}[/][dim]{'━' * (BAR - filled)}[/]"


def draw_orders(orders: Orders) -> Table:
    """The orders in force."""
    table = Table("Order", "What", "Who", "Why", "Until", box=SIMPLE)
    for order in orders.orders:
        until = clock(order.until) if order.until else "[dim]taken back[/]"
        table.add_row(f"[bold]{escape(order.id)}[/]", say_order(order), escape(order.who), escape(order.why), until)
    return table


def say_order(order: Order) -> str:
    """What an order wants, in a few words."""
    what = {
        "drain": "drain",
        "down": "declare down",
        "up": "declare up",
        "weight": f"weight {order.value} %",
        "canary": f"canary of {order.value} of 16 slices",
    }[order.kind]
    return f"{what}: [bold]{escape(order.target)}[/]"


def _flows(flows: Flows) -> Table:
    table = Table("From", "Region", "Part", "Goes to", box=SIMPLE)
    for flow in [flow for flow in flows.flows if flow.part >= 0.0005][:FLOWS_MAX]:
        name = flow.name if len(flow.countries) != 1 else f"{flow.name}: {flow.countries[0]}"
        several = f" [dim]({len(flow.countries)} countries)[/]" if len(flow.countries) > 1 else ""
        to = ", ".join(
            f"{escape(share.site)}" + (f" {share.share:.0%}" if share.share < 0.995 else "") for share in flow.to
        )
        table.add_row(
            escape(name) + several, escape(flow.region), f"{flow.part:.1%}", to, style="yellow" if flow.degraded else ""
        )
    return table


def draw_history(history: History, limit: int) -> RenderableType:
    """What changed, the newest last, as in a log."""
    lines: list[str] = []
    for change in reversed(history.changes[:limit]):
        lines.append(f"[bold]{change.number}[/] [dim]{clock(change.at)} {change.digest}[/]")
        lines += (f"  {escape(words)}" for words in change.words)
    return "\n".join(lines) if lines else "[dim]nothing has changed since the director of this site began[/]"


def draw_simulation(found: Simulation) -> RenderableType:
    """Loads before and after, and what speaks against it."""
    table = Table("Site", "Region", "Clients now", "then", "of", "", box=SIMPLE)
    for site in found.sites:
        table.add_row(*_forecast(site), style="" if site.usable else "dim")
    table.add_section()
    for region in found.regions:
        table.add_row("", *_forecast(region)[1:], style="dim")
    unit = "clients" if found.by == "clients" else "addresses (few clients are connected)"
    parts: list[RenderableType] = [table, f"{found.part:.1%} of all {unit} would be sent elsewhere"]
    parts += (f"[red]! {escape(problem)}[/]" for problem in found.problems)
    if not found.problems:
        parts.append("[green]everybody would have a place[/]")
    return Group(*parts)


def _forecast(found: Forecast) -> Sequence[str]:
    word = "[bold red]too full[/]" if found.over else "" if found.usable else "not usable"
    return (
        f"[bold]{escape(found.name)}[/]", escape(found.region), f"{found.before:,}", f"{found.after:,}",
        f"{found.capacity:,}", word,
    )  # fmt: skip


def clock(at: str) -> str:
    """A moment, with its day unless that is today (UTC)."""
    moment = datetime.fromisoformat(at)
    today = moment.date() == datetime.now(UTC).date()
    return f"{moment:%H:%M:%S}" if today else f"{moment:%Y-%m-%d %H:%M}"
