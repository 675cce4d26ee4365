"""A region of gateways in one process, on a clock of its own, with a bus that can lose and delay."""

from __future__ import annotations

import random
from typing import cast

import msgspec

from moonbow.presence.core import Core
from moonbow.wire.presence import DeviceState, Gossip, PersonState, WishState

STEP_S = 0.25
_decoder = msgspec.msgpack.Decoder(Gossip)


class Region:
    """Gateways by name.  Every message goes through its encoding; a message to oneself too, as on the real bus."""

    def __init__(self, *names: str, seed: int = 0) -> None:
        self.now = 100.0
        self.loss = 0.0
        self.random = random.Random(seed)
        self.cores: dict[str, Core] = {}
        self.steps = 0
        self.hung: set[str] = set()
        self.waiting: dict[str, list[bytes]] = {}
        self.changes: list[tuple[float, str, PersonState]] = []
        self.own_changes: list[tuple[float, str, PersonState]] = []
        for name in names:
            self.start(name)

    @property
    def now_ms(self) -> int:
        return int(self.now * 1000)

    def start(self, name: str) -> None:
        self.cores[name] = Core(name, self.now)
        self.send(list(self.cores[name].begin()))

    def crash(self, name: str) -> None:
        del self.cores[name]
        self.hung.discard(name)
        self.waiting.pop(name, None)

    def stop(self, name: str) -> None:
        """As SIGTERM: goodbye, then gone."""
        said = self.cores[name].end()
        self.crash(name)
        self.send(list(said))

    def hang(self, name: str) -> None:
        self.hung.add(name)

    def resume(self, name: str) -> None:
        """As SIGCONT: it ticks, then reads what waited for it."""
        self.hung.discard(name)
        self.send(list(self.cores[name].tick(self.now, self.now_ms, hearing=True)))
        for content in self.waiting.pop(name, []):
            self.hear(name, content)

    def connect(self, gateway: str, person: str, session: str, state: str = "online") -> None:
        self.cores[gateway].connected(person, session, cast(DeviceState, state), self.now_ms)

    def change(self, gateway: str, session: str, state: str) -> None:
        self.cores[gateway].changed(session, cast(DeviceState, state), self.now_ms)

    def disconnect(self, gateway: str, session: str, lost: bool = False) -> None:
        self.cores[gateway].disconnected(session, lost, self.now)

    def wish(self, gateway: str, person: str, state: str, text: str = "") -> None:
        self.cores[gateway].wish(person, cast(WishState, state), text, self.now_ms)

    def send(self, messages: list[Gossip]) -> None:
        for message in messages:
            content = msgspec.msgpack.encode(message)
            assert len(content) < 1_000_000
            for name in list(self.cores):
                if self.random.random() >= self.loss:
                    if name in self.hung:
                        self.waiting.setdefault(name, []).append(content)
                    else:
                        self.hear(name, content)

    def hear(self, name: str, content: bytes) -> None:
        if name in self.cores:
            self.send(list(self.cores[name].heard(_decoder.decode(content), self.now, self.now_ms)))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.steps += 1
            for number, name in enumerate(list(self.cores)):
                if name in self.hung:
                    continue
                self.flush(name)
                if (self.steps + number) % 4 == 0:
                    self.send(list(self.cores[name].tick(self.now, self.now_ms, hearing=True)))
                    self.flush(name)

    def flush(self, name: str) -> None:
        flushed = self.cores[name].flush(self.now)
        self.changes += [(self.now, name, state) for state in flushed.seen]
        self.own_changes += [(self.now, name, state) for state in flushed.own]
        self.send(list(flushed.said))

    def seen(self, person: str) -> set[str]:
        """The states in which the gateways that run see the person."""
        return {self.cores[name].seen([person])[0].state for name in self.cores if name not in self.hung}
