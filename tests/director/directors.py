"""The directors of the laptop world as processes, and the links between their sites."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import msgspec

from moonbow.director.addresses import Ranges, encode
from moonbow.director.standing import Standing
from moonbow.launch.control import ask
from moonbow.wire.traffic import DirectorStatus, decode_status
from moonbow.wire.views import Verdicts, decode_verdicts
from moonbow.world import Ports, World, site_address
from support import eventually

NAMES = ("paris", "frankfurt", "singapore", "tokyo")
ZONE = "moonbow.localhost"


class Running:
    """One director process and how to ask it."""

    def __init__(self, world: World, state: Path, site: str) -> None:
        self.host = site_address(world, world.site(site))
        self.site_name = site
        self.state = state
        self.log = state / f"director-{site}.jsonl"
        self.process: subprocess.Popen[bytes] | None = None
        self._argv = [sys.executable, "-m", "moonbow.director", "--state", str(state), "--site", site]

    def start(self) -> None:
        environment = os.environ | {"MOONBOW_ADDRESSES": str(self.state / "addresses.bin")}
        with self.log.open("ab") as log:
            # A group of its own, as a site's processes have: its members' CPU time is the load that it reports.
            self.process = subprocess.Popen(self._argv, env=environment, stderr=log, process_group=0)

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.page("/healthz")[0] == 200
        return False

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(5)
        self.process = None
        return code

    def page(self, path: str) -> tuple[int, bytes]:
        line = http.client.HTTPConnection(self.host, Ports.DIRECTOR, timeout=2)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def status(self) -> DirectorStatus:
        return decode_status(self.page("/status")[1])

    def standing(self) -> Standing:
        return msgspec.json.decode(self.page("/standing")[1], type=Standing)

    def verdicts(self) -> Verdicts:
        return decode_verdicts((self.state / "sites" / self.site_name / "director" / "verdicts.json").read_bytes())

    def site(self, name: str):
        return next(site for site in self.status().sites if site.site == name)

    def ask(self, net: str, name: str = ZONE, kind: str = "A", over=dns.query.udp) -> dns.message.Message:
        options = [dns.edns.ECSOption(net, 24)]
        message = dns.message.make_query(name, kind, use_edns=0, options=options)
        return over(message, self.host, port=Ports.DNS, timeout=2)

    def answer(self, net: str) -> set[str]:
        found = self.ask(net).answer
        return {record.address for rrset in found for record in rrset if rrset.rdtype == dns.rdatatype.A}


class Directors(dict[str, Running]):
    """All directors of the laptop world, by site, with `cut` and `heal` for the links between their sites."""

    def __init__(self, world: World, state: Path) -> None:
        super().__init__({name: Running(world, state, name) for name in NAMES})
        self.state = state

    def cut(self, a: str, b: str) -> None:
        ask(self.state / "world" / "internet.sock", {"op": "cut", "a": a, "b": b}, 5.0)

    def heal(self) -> None:
        ask(self.state / "world" / "internet.sock", {"op": "heal"}, 5.0)

    def agree(self) -> bool:
        """Whether all that run answer alike, hear each other, and nobody doubts itself."""
        standings = [director.standing() for director in self.values() if director.process is not None]
        alike = len({standing.digest for standing in standings}) == 1
        return alike and not any(standing.frozen or standing.silent or standing.disputes for standing in standings)

    def answers(self, net: str) -> list[set[str]]:
        """What each of those that run says."""
        return [director.answer(net) for director in self.values() if director.process is not None]


@contextlib.contextmanager
def directing(world: World, state: Path, ranges: Ranges, hold_max_s: float) -> Iterator[Directors]:
    """The four directors, once all serve and hear each other."""
    written = (state / "world.toml").read_text().partition("\n[director]")[0]
    written += f"\n[director]\nprobe_interval_ms = 250\nhold_max_s = {hold_max_s}\n"
    (state / "world.toml").write_text(written)
    for name in NAMES:
        shutil.rmtree(state / "sites" / name / "director", ignore_errors=True)
    (state / "addresses.bin").write_bytes(encode(ranges))
    found = Directors(world, state)
    with (state / "internet.jsonl").open("ab") as log:
        internet = subprocess.Popen(
            [sys.executable, "-m", "moonbow.launch.internet", "--state", str(state)], stderr=log
        )
    try:
        eventually((state / "world" / "internet.sock").exists, within_s=10)
        for director in found.values():
            director.start()
        eventually(lambda: all(director.ready() for director in found.values()), within_s=20)
        eventually(found.agree, within_s=10)
        yield found
    finally:
        for director in found.values():
            director.end()
        internet.terminate()
        internet.wait(5)
