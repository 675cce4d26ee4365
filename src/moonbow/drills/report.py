"""A drill's outcome, on the terminal and as JSON under `reports/`."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .history import Done, History
from .laws import Verdict
from .measure import Spread


class Report(msgspec.Struct, frozen=True):
    """Everything needed to judge a drill and to play it again."""

    drill: str
    world: str
    seed: int
    fast: bool
    started_at: str
    lasted_s: float
    verdicts: list[Verdict]
    numbers: dict[str, Spread | int | float | str]
    done: list[Done]

    @property
    def held(self) -> bool:
        """Whether every law held; a drill without laws proves nothing."""
        return bool(self.verdicts) and all(verdict.held for verdict in self.verdicts)


def save_report(report: Report, folder: Path, history: History) -> Path:
    """Write the report, and beside it the whole history if a law is broken; the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = report.started_at.replace(":", "").replace("-", "")[:15]
    path = folder / f"drill-{report.drill}-{stamp}-{report.seed}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if not report.held:
        path.with_suffix(".history.json").write_bytes(msgspec.json.encode(history))
    return path


def show_report(report: Report, console: Console) -> None:
    """Two tables: the laws, and what was measured."""
    mark = "[green]every law held[/]" if report.held else "[bold red]a law is broken[/]"
    console.print(f"\n[bold]{report.drill}[/] in {report.world}, seed {report.seed}, {report.lasted_s:.1f} s: {mark}")
    for done in report.done:
        console.print(f"  {done.at:7.2f} s  {escape(done.what)}")
    laws = Table("law", "", "seen", box=None, pad_edge=False)
    for verdict in report.verdicts:
        laws.add_row(verdict.law, "[green]held[/]" if verdict.held else "[red]BROKEN[/]", escape(verdict.said))
        for fact in verdict.evidence:
            laws.add_row("", "", f"[red]{escape(fact)}[/]")
    console.print(laws)
    measured = Table("measured", "count", "p50", "p99", "max", box=None, pad_edge=False)
    for name, value in report.numbers.items():
        if isinstance(value, Spread) and not value.count:
            continue
        if isinstance(value, Spread):
            times = (f"{1000 * each:.1f} ms" for each in (value.p50_s, value.p99_s, value.max_s))
            measured.add_row(name, str(value.count), *times)
        else:
            measured.add_row(name, str(value))
    console.print(measured)
