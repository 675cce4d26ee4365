"""How address maps, and what changes between them, look in a terminal and to programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from moonbow.director.ledger import Entry, Ledger
    from moonbow.director.mapdiff import Change, Diff, Pair

ROWS_MAX = 12
UNITS = {32: ("addresses", 0), 128: ("/48 networks", 80)}


def draw_diff(diff: Diff) -> RenderableType:
    """What moves, family by family."""
    title = f"[bold]{escape(diff.before)}[/] → [bold]{escape(diff.after)}[/]"
    return Group(title, *_draw_change("IPv4", 32, diff.v4), *_draw_change("IPv6", 128, diff.v6))


def _draw_change(family: str, bits: int, change: Change) -> list[RenderableType]:
    if not change.countries:
        return [f"[bold]{family}[/]: nothing moves"]
    reordered = change.reordered / change.known if change.known else 0.0
    found: list[RenderableType] = [
        f"[bold]{family}[/]: {_percent(change.ratio)} of the address space moves, "
        f"{change.prefixes:,} prefixes change region",
        f"      {_percent(change.country_ratio)} changes country",
        f"      {_percent(reordered)} stays in its region and gets its sites in another order",
    ]
    if change.regions:
        found += [_draw_pairs("Region", bits, change, change.regions), _draw_biggest(change)]
    return [*found, _draw_pairs("Country", bits, change, change.countries)]


def _draw_pairs(title: str, bits: int, change: Change, pairs: tuple[Pair, ...]) -> Table:
    unit, shift = UNITS[bits]
    table = Table(f"{title} before", "after", box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for name in ("share", unit, "prefixes"):
        table.add_column(name, justify="right")
    for pair in pairs[:ROWS_MAX]:
        size = f"{pair.addresses >> shift:,}"
        share = pair.addresses / change.known if change.known else 0.0
        table.add_row(escape(pair.before), escape(pair.after), _percent(share), size, f"{pair.prefixes:,}")
    if rest := pairs[ROWS_MAX:]:
        share = sum(pair.addresses for pair in rest) / change.known if change.known else 0.0
        size = f"{sum(pair.addresses for pair in rest) >> shift:,}"
        prefixes = f"{sum(pair.prefixes for pair in rest):,}"
        table.add_row(f"[dim]{len(rest):,} more[/]", "", _percent(share), size, prefixes)
    return table


def _draw_biggest(change: Change) -> Table:
    table = Table("Biggest prefixes", "before", "after", box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for moved in change.biggest:
        before = f"{moved.region_before} ({moved.country_before or 'nobody'})"
        table.add_row(moved.prefix, before, f"{moved.region_after} ({moved.country_after or 'nobody'})")
    return table


def draw_ledger(ledger: Ledger) -> Table:
    """Every change, the last one first."""
    from moonbow.director.ledger import kept_digests

    table = Table("", "when", "data", "digest", "how", "why", box=None, pad_edge=False, header_style="dim")
    for column in table.columns[:4]:
        column.no_wrap = True
    kept = kept_digests(ledger)
    for entry in reversed(ledger.entries):
        mark = "[green]●[/]" if entry is ledger.current else " " if entry.digest in kept else "[dim]gone[/]"
        what = (entry.at, entry.source, entry.digest[:12], f"{entry.how} by {entry.who}", entry.why)
        table.add_row(f"{mark} {entry.number}", *map(escape, what))
    return table


def draw_shares(shares: Mapping[str, tuple[float, float]]) -> Table:
    """The regions' shares of the known addresses."""
    table = Table("Region", box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for family in ("IPv4", "IPv6"):
        table.add_column(family, justify="right")
    for region, (four, six) in shares.items():
        table.add_row(escape(region), _percent(four), _percent(six))
    return table


def say_entry(entry: Entry) -> str:
    """A map in one line."""
    made = f" from {entry.database}" if entry.database else ""
    return (
        f"[bold]map {entry.number}[/]: {escape(entry.source)}{escape(made)}, {entry.digest[:12]}, "
        f"{entry.how} {entry.at} by {escape(entry.who)}" + (f" ({escape(entry.why)})" if entry.why else "")
    )


def tell_entry(entry: Entry) -> dict[str, Any]:
    """A change of the map for programs."""
    told: dict[str, Any] = msgspec.to_builtins(entry)
    return told


def tell_diff(diff: Diff) -> dict[str, Any]:
    """What moves, for programs: sizes in addresses, shares 0..1."""
    return {"before": diff.before, "after": diff.after, "ipv4": _tell(diff.v4), "ipv6": _tell(diff.v6)}


def _tell(change: Change) -> dict[str, Any]:
    return {
        "known_addresses": change.known,
        "moved_addresses": change.moved,
        "moved_ratio": change.ratio,
        "moved_prefixes": change.prefixes,
        "country_ratio": change.country_ratio,
        "reordered_addresses": change.reordered,
        "regions": [pair._asdict() for pair in change.regions],
        "countries": [pair._asdict() for pair in change.countries],
        "biggest": [moved._asdict() for moved in change.biggest],
    }


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %" if ratio >= 0.0005 or not ratio else "<0.1 %"
