"""What is printed: the machine, the costs by kind of process, the comparison, and what was done."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .model import ROWS, Figure, Row
from .published import PUBLISHED, SOURCE

NEWLINE = "\n"
KINDS = ("doors", "gateways", "bus", "others", "generator")
APT = "apt-get install -y --no-install-recommends ejabberd erlang-p1-sqlite3 prosody lua-dbi-sqlite3 lua-event lua-sec"


def machine(folder: Path, file_system: str) -> str:
    """One line about where this ran."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    warning = " [red](in memory: commits are not durable)[/]" if file_system in ("tmpfs", "ramfs") else ""
    return (
        f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}; "
        f"data on {file_system}{warning}; load average {os.getloadavg()[0]:.1f}"
    )


def show(
    console: Console, results: dict[str, list[Figure]], at_rest: dict[str, float], only: set[str], *, peers: bool
) -> None:
    """Both tables and the notes."""
    figures = {name: {figure.key: figure for figure in found} for name, found in results.items()}
    rows = [row for row in ROWS if row.key[0] in only and any(row.key in found for found in figures.values())]
    console.print(_costs(rows, figures.get("Moonbow", {}), sum(at_rest.values())))
    rest = ", ".join(f"{kind} {used * 1e3:.0f}" for kind, used in at_rest.items())
    console.print(f"At rest the world uses {sum(at_rest.values()) * 1e3:.0f} ms of CPU a second ({rest}).\n")
    console.print(_comparison(rows, figures, peers=peers))
    _notes(console, figures, peers=peers)


def _costs(rows: list[Row], found: dict[str, Figure], rest_s: float) -> Table:
    table = Table(title="Moonbow by kind of process", title_justify="left")
    table.add_column("operation", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("all", justify="right", style="bold")
    for kind in KINDS:
        table.add_column(kind, justify="right", style="dim" if kind == "generator" else "")
    table.add_column("all, less\nthat at rest", justify="right")
    for row in rows:
        figure = found.get(row.key)
        if figure is not None and figure.parts:
            parts = [number(figure.parts[kind]) if kind in figure.parts else "" for kind in KINDS]
            less = number(max(0.0, figure.value - rest_s / figure.per_s * 1e6)) if figure.per_s else ""
            table.add_row(row.title, row.unit, number(figure.value), *parts, less)
    return table


def _comparison(rows: list[Row], figures: dict[str, dict[str, Figure]], *, peers: bool) -> Table:
    names = list(figures) if peers else ["Moonbow", *PUBLISHED]
    others = figures if peers else {**figures, **{name: _published(name) for name in PUBLISHED}}
    table = Table(title="Beside its peers", title_justify="left")
    table.add_column("operation", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name in names:
        table.add_column(
            name, justify="right", no_wrap=True, style="bold" if name == "Moonbow" else "" if peers else "dim"
        )
    table.add_column("Moonbow is better\nby, at least\n.. at most", justify="right")
    for row in rows:
        cells = [_cell(others[name].get(row.key)) for name in names]
        table.add_row(row.title, row.unit, *cells, _ratio(row, others, names))
    return table


def _published(name: str) -> dict[str, Figure]:
    return {key: Figure(key, value) for key, value in PUBLISHED[name].items()}


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return "-" if figure.value == 0 else number(figure.value)


def _ratio(row: Row, figures: dict[str, dict[str, Figure]], names: list[str]) -> str:
    """How many times better, against the best and the worst of the others."""
    own = figures["Moonbow"].get(row.key)
    others = [figures[name][row.key].value for name in names[1:] if row.key in figures[name]]
    others = [value for value in others if value > 0]
    if own is None or own.value <= 0 or not others:
        return ""
    ratios = sorted(value / own.value if row.less_is_better else own.value / value for value in others)
    if len(ratios) == 1:
        return f"{ratios[0]:.1f} x"
    return f"{ratios[0]:.1f} .. {ratios[-1]:.1f} x"


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _notes(console: Console, figures: dict[str, dict[str, Figure]], *, peers: bool) -> None:
    for name, found in figures.items():
        for figure in found.values():
            if figure.note:
                console.print(f"{name.replace(NEWLINE, ' ')}, {figure.key}: {figure.note}")
    for line in NOTES:
        console.print(f"[dim]- {line}[/]")
    if peers:
        for line in PEER_NOTES:
            console.print(f"[dim]- {line}[/]")
    else:
        console.print(f"[dim]- {SOURCE}[/]")
        console.print("[dim]- --peers measures them here and now; they come with:[/]")
        console.print(f"  {APT}")


NOTES = (
    "CPU is user + system time of all server processes of the world, those of the other region included.",
    "Every connection is TLS 1.3 through a door; half of the pairs of A have their people at two sites.",
    "A message is done when its sender has the acknowledgement of the commit and its reader has the text.",
    "A, B and the filling of D: each connection is a person of its own. C: 300 people, three or four connections each.",
    "D: one token after the other of 24 people, because a person may make 100 calls a second.",
    "E: resumes on a token that the client has; no sign-in is part of it.",
)
PEER_NOTES = (
    "Peers: private servers on loopback with their archive in SQLite; the same loop, bodies of 200 bytes, windows.",
    "An acknowledgement is XEP-0198's in A, one's own reflected message in B; E includes a password login in the"
    " first figure, not in the second.",
    "ejabberd runs without Erlang's busy waiting, which would count as CPU.",
)
