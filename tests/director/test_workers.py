"""Worker processes: they share a port, follow every decision, are started again, and outlive their director."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from moonbow.director.addresses import Ranges
from moonbow.director.feed import ground_of, mind_of, snapshot_from
from moonbow.director.limiter import Rates
from moonbow.director.metrics import render_metrics
from moonbow.director.model import Overrides
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.worker import user_of
from moonbow.world import World
from support import eventually

from .nameservers import AFRICA, FRANCE, ZONE, Served, addresses_in, ask, free_udp_port, query, served

pytestmark = pytest.mark.slow


def well(laptop: World, ranges: Ranges, number: int = 1) -> Snapshot:
    return take_snapshot(laptop, ranges, number=number, changed_at_s=1_700_000_000.0)


def paris_down(snapshot: Snapshot) -> Snapshot:
    overrides = Overrides(down=frozenset({"paris"}))
    return take_snapshot(snapshot.world, snapshot.ranges, snapshot.map, overrides=overrides, number=2)


@pytest.fixture
def pair(laptop: World, ranges: Ranges, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, well(laptop, ranges), ["127.0.0.1", "::1"], port=free_udp_port(), workers=2) as running:
        eventually(lambda: len(running.answers.pids) == 2, within_s=10)
        yield running


def test_a_snapshot_survives_the_feed(laptop: World, ranges: Ranges) -> None:
    snapshot = well(laptop, ranges)
    assert snapshot_from(ground_of(snapshot), mind_of(snapshot)) == snapshot


def test_a_worker_knows_whose_socket_it_listens_to(tmp_path: Path) -> None:
    async def play() -> int:
        async with await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "feed.sock"):
            _, writer = await asyncio.open_unix_connection(tmp_path / "feed.sock")
            try:
                return user_of(writer)
            finally:
                writer.close()

    assert asyncio.run(play()) == os.geteuid()


def test_two_workers_share_a_port_of_both_families(pair: Served) -> None:
    before = dict(pair.answers.pids)
    assert len(set(before.values())) == 2
    for at in (0, 1):
        assert pair.answer(AFRICA, at=at) == {"127.110.3.11"}
        assert pair.answer(AFRICA, over=dns.query.tcp, at=at) == {"127.110.3.11"}
    asked = {"udp": 0}

    def both_have_answered() -> bool:
        for _ in range(50):
            pair.answer(FRANCE)
            asked["udp"] += 1
        counts = pair.answers.counts()
        return counts.replies["udp", 0] >= 50 and sum(switches(pid) > 50 for pid in before.values()) == 2

    eventually(both_have_answered, within_s=10)
    eventually(lambda: pair.answers.counts().cells.total() >= asked["udp"], within_s=10)


def switches(pid: int) -> int:
    """How often a process has waited for something."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_every_worker_follows_a_decision(pair: Served, laptop: World, ranges: Ranges) -> None:
    snapshot = paris_down(well(laptop, ranges))
    pair.serve(snapshot)
    eventually(lambda: all(pair.answer(FRANCE) == {"127.110.2.11", "127.110.2.12"} for _ in range(20)))
    eventually(lambda: [number for number, _ in pair.answers.counts().workers.values()] == [2, 2])
    page = render_metrics(snapshot, pair.answers.counts(), {}, {}).decode()
    assert 'moonbow_director_worker_snapshot{worker="1"} 2.0' in page


def test_a_killed_worker_is_started_again_while_the_other_answers(pair: Served) -> None:
    killed = pair.answers.pids[0]
    os.kill(killed, signal.SIGKILL)
    answered = eventually(lambda: pair.answer(FRANCE))
    assert answered == {"127.110.1.11", "127.110.1.12"}
    eventually(lambda: pair.answers.pids.get(0, killed) != killed, within_s=10)
    assert pair.answers.counts().restarts == 1


def test_workers_outlive_their_director_and_are_taken_over(laptop: World, ranges: Ranges, tmp_path: Path) -> None:
    port = free_udp_port()
    code = (
        "import sys, asyncio, pickle\n"
        "from pathlib import Path\n"
        "from moonbow.director.answers import Answers\n"
        "snapshot = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "async def main():\n"
        "    answers = Answers(snapshot.world, Path(sys.argv[2]), ['127.0.0.1'], int(sys.argv[3]), snapshot, workers=2)\n"
        "    await answers.open()\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "snapshot").write_bytes(pickle.dumps(well(laptop, ranges)))
    args = [sys.executable, "-c", code, str(tmp_path / "snapshot"), str(tmp_path), str(port)]
    director = subprocess.Popen(args, stderr=subprocess.DEVNULL)
    folder = tmp_path / "world" / "director"
    try:
        eventually(
            lambda: (folder / "feed-127.0.0.1-1.prom").exists() and (folder / "feed-127.0.0.1-0.prom").exists(),
            within_s=15,
        )
        eventually(lambda: answer(port) == {"127.110.1.11", "127.110.1.12"}, within_s=10)
    finally:
        director.kill()
        director.wait(5)
    eventually(
        lambda: 'worker_state_stale{worker="0"} 1' in (folder / "feed-127.0.0.1-0.prom").read_text(), within_s=10
    )
    assert answer(port) == {"127.110.1.11", "127.110.1.12"}, "the last good answers stand"
    snapshot = paris_down(well(laptop, ranges))
    with served(tmp_path, snapshot, port=port, workers=2) as running:
        eventually(lambda: len(running.answers.pids) == 2, within_s=10)
        eventually(lambda: answer(port) == {"127.110.2.11", "127.110.2.12"})
        eventually(lambda: 'worker_state_stale{worker="0"} 0' in (folder / "feed-127.0.0.1-0.prom").read_text())
        assert running.answers.counts().restarts == 0, "nobody had to be started"
        pids = list(running.answers.pids.values())
    for pid in pids:
        eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists() or is_zombie(pid))


def test_workers_end_when_nobody_comes_back(laptop: World, ranges: Ranges, tmp_path: Path) -> None:
    running = Served(tmp_path, well(laptop, ranges), ["127.0.0.1"], port=free_udp_port(), workers=1, last_good_s=1.0)
    eventually(lambda: running.answers.pids, within_s=15)
    pid = running.answers.pids[0]
    running.end()
    eventually(lambda: not Path(f"/proc/{pid}").exists() or is_zombie(pid), within_s=10)


def test_a_worker_of_another_setup_is_not_taken_over(laptop: World, ranges: Ranges, tmp_path: Path) -> None:
    port, other = free_udp_port(), free_udp_port()
    first = Served(tmp_path, well(laptop, ranges), ["127.0.0.1"], port=port, workers=1)
    eventually(lambda: first.answers.pids, within_s=15)
    pid = first.answers.pids[0]
    first.end()
    with served(tmp_path, well(laptop, ranges), port=other, workers=1) as second:
        assert second.answers.pids[0] != pid
        eventually(lambda: not Path(f"/proc/{pid}").exists() or is_zombie(pid))


def test_workers_limit_each_a_part(laptop: World, ranges: Ranges, tmp_path: Path) -> None:
    with served(
        tmp_path, well(laptop, ranges), port=free_udp_port(), workers=2, rates=Rates(per_s=100, slip=0)
    ) as running:
        eventually(lambda: len(running.answers.pids) == 2, within_s=10)
        packet = query(ZONE, net=FRANCE).to_wire()
        got = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect(("127.0.0.1", running.port))
            for _ in range(600):
                line.send(packet)
            line.settimeout(0.5)
            began = time.monotonic()
            while time.monotonic() - began < 5:
                try:
                    got += dns.message.from_wire(line.recv(4096)).rcode() == dns.rcode.NOERROR
                except TimeoutError:
                    break
        assert 0 < got < 600
        eventually(lambda: running.answers.counts().limited["dropped"] > 0)


def answer(port: int) -> set[str]:
    return addresses_in(ask(query(ZONE, net=FRANCE), "127.0.0.1", port))


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
