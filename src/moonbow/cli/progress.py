"""Shows a world coming up: one line per site that fills with its processes, or plain lines without a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from moonbow.launch.policy import Change
from moonbow.world import World

MARKS = {
    "waiting": ("·", "grey50"),
    "starting": ("◌", "yellow"),
    "alive": ("◐", "yellow"),
    "ready": ("●", "green"),
    "backing off": ("✗", "bold red"),
    "stopped": ("○", "grey50"),
    "killed": ("✗", "grey50"),
}


class Progress:
    """A display of changes; use it as a context manager around the start of a world."""

    def __init__(self, console: Console, world: World) -> None:
        self.console = console
        self.world = world
        names = ("", *(ref.site.name for ref in world.sites()))
        self.sites: dict[str, dict[str, Change]] = {name: {} for name in names}
        self._live = Live(console=console, get_renderable=self._draw, transient=True, refresh_per_second=15)

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def note(self, change: Change) -> None:
        """A process changed."""
        site, _, name = change.key.rpartition("/")
        known = self.sites.setdefault(site, {})
        known[name] = change
        if self.console.is_terminal:
            return
        if change.reason:
            self.console.print(f"{change.key} {change.state}: {change.reason}", markup=False)
        elif change.state == "ready" and all(found.state == "ready" for found in known.values()):
            self.console.print(f"{site or 'outside the sites'}: {len(known)} processes ready", markup=False)

    def _draw(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False)
        places = {ref.site.name: f"{ref.site.city}, {ref.region}" for ref in self.world.sites()}
        for site, known in self.sites.items():
            dots, reason = Text(), ""
            for change in known.values():
                mark, style = MARKS[change.state]
                dots.append(mark + " ", style)
                reason = reason or (change.reason if change.state == "backing off" else "")
            table.add_row(site or "director, links", f"[dim]{places.get(site, '')}[/]", dots, f"[red]{reason[:80]}[/]")
        return table
