"""What an answer costs: the embedded name server beside gdnsd, Knot and PowerDNS, all asked alike in one run.

`./moonbow bench --only dns [--seconds N] [--json FILE]`.  Every server has one UDP thread or process, a private
configuration on a free port of loopback, and the same countries to tell apart; dnsperf asks with a client network
of its own in every question.  Per core: questions answered by a second of the server's CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from moonbow.director import addresses
from moonbow.director.answers import Answers
from moonbow.director.atlas import compile_map
from moonbow.director.codec import name_wire
from moonbow.director.cookies import Jar
from moonbow.director.limiter import Rates
from moonbow.director.model import Overrides
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.world import parse_world

from .dns_engines import HOME, Engine, engines, free_port
from .meter import cpu_s

ROOT = Path(__file__).parents[1]
APT = (
    "apt-get install -y --no-install-recommends dnsperf gdnsd knot knot-module-geoip knot-dnsutils "
    "pdns-server pdns-backend-geoip pdns-backend-bind"
)
FEW, MANY = 20_000, 400_000  # different client networks; MANY is more than is ever remembered
WARM_S = 0.5
FLIPS = 40
RATES = Rates(per_s=100_000_000)  # counts every reply and limits none: all questions come from one address


class Load(NamedTuple):
    """One set of questions."""

    title: str
    networks: int
    do: bool
    cookie: str = ""  # "client": the client's own; "server": ours behind it, too


LOADS = (
    Load("20,000 networks", FEW, False),
    Load("400,000 networks", MANY, False),
    Load("400,000 networks, signed", MANY, True),
    Load("20,000 networks, cookie", FEW, False, "client"),
    Load("20,000 networks, signed, good cookie", FEW, True, "server"),
)


class Row(msgspec.Struct, frozen=True):
    """One measurement."""

    server: str
    load: str
    per_s: float
    per_core_s: float
    lost: int
    asked: int
    answer_bytes: int


def questions(name: str, load: Load, cookie: bytes, port_seed: int = 7) -> Iterator[bytes]:
    """Questions as dnsperf -B wants them, each with its length in front."""
    chance = random.Random(port_seed)
    wire = name_wire(name) + b"\0\1\0\1"
    option = struct.pack("!HH", 10, len(cookie)) + cookie if cookie else b""
    opt = struct.pack("!BHHIH", 0, 41, 1232, 0x8000 if load.do else 0, len(option) + 11)
    for _ in range(load.networks):
        address = chance.randrange(1 << 24, 224 << 24).to_bytes(4, "big")[:3]
        head = struct.pack("!HHHHHH", chance.randrange(65_536), 0, 1, 0, 0, 1)
        packet = head + wire + opt + option + b"\0\x08\0\x07\0\1\x18\0" + address
        yield len(packet).to_bytes(2, "big") + packet


def measure(engine: Engine, file: Path, load: Load, seconds: float) -> Row:
    """Ask one server for `seconds`."""
    argv = ["dnsperf", "-B", "-d", str(file), "-s", HOME, "-p", str(engine.port), "-c", "8", "-T", "1", "-q", "500"]
    subprocess.run([*argv, "-l", str(WARM_S)], capture_output=True, check=True)
    before = sum(cpu_s(pid) for pid in engine.pids())
    said = subprocess.run([*argv, "-l", str(seconds)], capture_output=True, text=True, check=True).stdout
    used = sum(cpu_s(pid) for pid in engine.pids()) - before
    found = {
        key: float(match[1]) if (match := re.search(rf"{key}:\s+([\d.]+)", said)) else 0.0
        for key in ("Queries sent", "Queries completed", "Queries lost", "Queries per second")
    }
    good = re.search(r"NOERROR (\d+)", said)
    done = float(good[1]) if good else 0.0
    size = re.search(r"response (\d+)", said)
    return Row(
        engine.title,
        load.title,
        found["Queries per second"] * done / max(found["Queries completed"], 1),
        done / max(used, 0.01),
        int(found["Queries lost"]),
        int(found["Queries sent"]),
        int(size[1]) if size else 0,
    )


class Embedded:
    """The embedded name server: one worker process, fed by a director's end in a thread of this process."""

    def __init__(self, folder: Path, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.answers = Answers(snapshot.world, folder, [HOME], self.port, snapshot, rates=RATES, workers=1)
        self._do(self.answers.open())
        until = time.monotonic() + 20
        while not self.answers.pids or not self.asks(0x01210000):
            if time.monotonic() > until:
                raise SystemExit("the worker does not answer")
            time.sleep(0.05)

    def _do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)  # type: ignore[arg-type]

    def serve(self, snapshot: Snapshot) -> None:
        """Change the answers, as the director does: in its own thread."""
        self._loop.call_soon_threadsafe(self.answers.serve, snapshot)

    def asks(self, network: int) -> bytes:
        """An answer, or nothing within half a second."""
        packet = question(self.snapshot.world.domain, network)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.settimeout(0.5)
            line.connect((HOME, self.port))
            line.send(packet)
            with contextlib.suppress(OSError):
                return line.recv(4_096)
        return b""

    def close(self) -> None:
        """End the worker."""
        self._do(self.answers.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


def question(domain: str, network: int) -> bytes:
    """One question of a client network (/24)."""
    opt = b"\0\0\x29\x04\xd0\0\0\x80\0\0\x0b\0\x08\0\x07\0\1\x18\0" + network.to_bytes(4, "big")[:3]
    return struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 1) + name_wire(f"door.{domain}") + b"\0\1\0\1" + opt


def flips(server: Embedded) -> list[float]:
    """Milliseconds from the start of a decision to the first changed, signed answer, for sites that fail and return."""
    well = server.snapshot
    starts, buckets = well.map.v4.starts, well.map.v4.buckets
    found: list[float] = []
    sites = [ref.site.name for ref in well.world.sites() if ref.site.kind == "primary"]
    for number in range(FLIPS):
        site, down = sites[number // 2 % len(sites)], number % 2 == 0
        named = [at for at, bucket in enumerate(buckets) if site in well.plans["door"].pool(bucket, 0).sites]
        network = next((starts[at] for at in named if starts[at] & 0xFF == 0), 0)
        before = server.asks(network)
        began = time.perf_counter()
        overrides = Overrides(down=frozenset({site} if down else set()))
        server.serve(take_snapshot(well.world, well.ranges, well.map, overrides=overrides, number=number + 2))
        while server.asks(network) == before:
            if time.perf_counter() - began > 2:
                break
        else:
            found.append((time.perf_counter() - began) * 1e3)
    return found


def run(seconds: float, json: Path | None, console: Console) -> int:
    """All servers under all loads; 1 if dnsperf is missing."""
    world = parse_world((ROOT / "worlds" / "planet.toml").read_text())
    ranges = addresses.load()
    snapshot = take_snapshot(world, ranges, compile_map(world, ranges), number=1, changed_at_s=time.time())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        server = Embedded(folder / "moonbow", snapshot)
        pids = tuple(server.answers.pids.values())
        ours = Engine("Moonbow, embedded", server.port, lambda: pids, signed=True, unsigned=True)
        try:
            with engines(folder, snapshot, console.print) as others:
                if not others:
                    console.print(f"dnsperf and the other servers are wanted: {APT}")
                    return 1
                rows = list(_all([ours, *others], folder, world.domain, seconds, console.print))
            turned = flips(server)
        finally:
            server.close()
    show(console, rows)
    median, worst = statistics.median(turned), max(turned)
    console.print(
        f"Moonbow, from a decision's start to the changed signed answer of a worker: {median:.1f} ms "
        f"(worst of {len(turned)}: {worst:.1f})"
    )
    if json is not None:
        figures = {"rows": rows, "flip_ms": {"median": median, "worst": worst, "flips": len(turned)}}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1))
    return 0


def _all(
    subjects: list[Engine], folder: Path, domain: str, seconds: float, say: Callable[[str], None]
) -> Iterator[Row]:
    file = folder / "questions"
    jar = Jar(bytes.fromhex((folder / "moonbow/world/director/cookies.key").read_text()), time.time())
    for load in LOADS:
        cookie = b"clientck" if load.cookie else b""
        if load.cookie == "server":
            cookie = jar.read(cookie, socket.inet_aton(HOME))[0]
        with file.open("wb") as out:
            out.writelines(questions(f"door.{domain}", load, cookie))
        for subject in subjects:
            if subject.signed if load.do else subject.unsigned:
                row = measure(subject, file, load, seconds)
                say(f"[dim]load {os.getloadavg()[0]:4.1f}[/] {row.server}: {row.load}: {row.per_core_s:,.0f} a core")
                yield row


def show(console: Console, rows: list[Row]) -> None:
    """A row for each server and load, and how much more the embedded one does."""
    table = Table(title="Answers by UDP, one server thread or process", title_justify="left")
    for name in ("questions", "server"):
        table.add_column(name, no_wrap=True)
    for name in ("answers/s", "answers/s\na server core", "lost", "bytes", "Moonbow\nis times"):
        table.add_column(name, justify="right")
    for load in LOADS:
        mine = next((row for row in rows if row.load == load.title and row.server.startswith("Moonbow")), None)
        for row in (found for found in rows if found.load == load.title):
            ratio = f"{mine.per_core_s / row.per_core_s:.2f}" if mine and row is not mine else ""
            cells = (f"{row.per_s:,.0f}", f"{row.per_core_s:,.0f}", f"{row.lost / max(row.asked, 1):.2%}")
            style = "bold" if row is mine else ""
            table.add_row(row.load, row.server, *cells, str(row.answer_bytes), ratio, style=style)
        table.add_section()
    console.print(table)


def main() -> int:
    """The command, when started by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (default 4)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    return run(given.seconds, given.json, Console(highlight=False, soft_wrap=True, width=160))


if __name__ == "__main__":
    raise SystemExit(main())
