"""`moonbow logs`: what the processes of a site have to say, in the order of time, read from their JSON lines."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from moonbow.base.errors import ConfigError

from .options import State, world_in

LOOK_S = 0.3
COLOURS = {"error": "bold red", "critical": "bold red", "warning": "yellow", "info": "green"}
BUS_LINE = re.compile(r"\[\d+\] (\d{4})/(\d\d)/(\d\d) (\d\d:\d\d:\d\d\.\d{3})\d* \[(\w+)\] (.*)")
BUS_LEVELS = {"ERR": "error", "FTL": "critical", "WRN": "warning"}
KNOWN = frozenset({"at", "level", "room", "site", "process", "event", "trace"})


def logs(
    state: State,
    site: Annotated[
        str | None, typer.Argument(metavar="[SITE]", help="A site, or `world` for what is outside.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, max=100_000, help="Of each process.")] = 30,
) -> None:
    """Show the logs of a site, or of all."""
    console = Console(highlight=False)
    paths = log_files(state, site)
    if not paths and not follow:
        raise ConfigError(f"there are no logs in {state}")
    offsets = {path: path.stat().st_size for path in paths}
    found = [(line, path) for path in paths for line in _tail(path, lines)]
    for line, source in sorted(found, key=_when):
        console.print(show_line(line, source), soft_wrap=True)
    try:
        while follow:
            time.sleep(LOOK_S)
            for path in log_files(state, site):
                for line in _news(path, offsets):
                    console.print(show_line(line, path), soft_wrap=True)
    except KeyboardInterrupt:
        return


def log_files(state: Path, site: str | None) -> list[Path]:
    """The logs of a site, or of all sites and of what is outside of them; `ConfigError` for an unknown site."""
    if site is not None and site != "world":
        world_in(state).site(site)
    inside = f"sites/{site or '*'}/logs/*" if site != "world" else ""
    outside = "world/logs/*" if site in (None, "world") else ""
    found = (path for pattern in (inside, outside) if pattern for path in state.glob(pattern))
    return sorted(path for path in found if path.suffix in (".jsonl", ".log"))


def show_line(line: str, path: Path) -> Text:
    """One log line for a person: time, where, what happened, and its fields.  What is not JSON is shown as it is."""
    where = f"{path.parent.parent.name}/{path.name.split('.')[0]}"
    fields = read_line(line)
    level = str(fields.get("level", ""))
    rest = "  ".join(f"{key}={value}" for key, value in fields.items() if key not in KNOWN)
    text = Text.assemble(
        (f"{str(fields.get('at', ''))[11:23]:12} ", "dim"),
        (f"{where:22} ", "cyan"),
        (f"{level:8}", COLOURS.get(level, "")),
        (str(fields.get("event") or fields.get("path") or ""), "bold" if "at" in fields else ""),
        (f"  {rest}" if rest else "", "dim"),
    )
    return text.append(f"\n{fields['trace']}", "red") if "trace" in fields else text


def read_line(line: str) -> dict[str, object]:
    """The fields of a line: our own and Envoy's JSON, or what the bus server writes."""
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        pass
    if match := BUS_LINE.fullmatch(line):
        year, month, day, clock, level, event = match.groups()
        return {"at": f"{year}-{month}-{day}T{clock}Z", "level": BUS_LEVELS.get(level, "info"), "event": event}
    return {"event": line}


def _tail(path: Path, count: int) -> Iterable[str]:
    with path.open(errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]


def _news(path: Path, offsets: dict[Path, int]) -> Iterator[str]:
    """Whole lines written since the last look; from the start if the file was cut."""
    size, start = path.stat().st_size, offsets.get(path, 0)
    if size < start:
        start = 0
    with path.open("rb") as file:
        file.seek(start)
        whole, newline, _ = file.read(size - start).rpartition(b"\n")
    offsets[path] = start + len(whole) + len(newline)
    yield from whole.decode(errors="replace").splitlines()


def _when(found: tuple[str, Path]) -> str:
    return str(read_line(found[0]).get("at", ""))[:23]
