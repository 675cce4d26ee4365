"""The core under random faults: rows once, in order, without a hole; every post placed once."""

from __future__ import annotations

import random
import uuid
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.sdk.core import Core
from moonbow.sdk.model import Close, Command, Connected, Deliver, Dial, Lost, Send, Settle
from moonbow.wire import stream as wire
from moonbow.wire.values import Row

from .test_core import DOORS, HERE, INBOX, room, welcome


class Server:
    """A room's order, and the sockets that follow it.  What is under way is lost with its socket."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.placed: dict[str, int] = {}
        self.follows: dict[int, int] = {}  # socket -> seq pushed so far
        self.wires: dict[int, deque[object]] = {}

    def hear(self, sock: int, frame: wire.ClientFrame) -> None:
        out = self.wires[sock]
        if isinstance(frame, wire.Hello):
            out.extend([welcome(room(head=len(self.texts))), wire.Synced(resets={})])
            self.follows[sock] = len(self.texts)
        elif isinstance(frame, wire.Resume):
            out.append(welcome(room(head=len(self.texts))))
            self.follows[sock] = frame.cursors[HERE]
            self.push(sock)
            out.append(wire.Synced(resets={}))
        elif isinstance(frame, wire.Post):
            if frame.client_id not in self.placed:
                self.texts.append(frame.text)
                self.placed[frame.client_id] = len(self.texts)
            for other in self.follows:
                self.push(other)
            seq = self.placed[frame.client_id]
            out.append(wire.Ack(client_id=frame.client_id, state="placed", room=HERE, id=f"ent_emea_{seq}", seq=seq))

    def push(self, sock: int) -> None:
        for seq in range(self.follows[sock] + 1, len(self.texts) + 1):
            body = {"kind": "text", "text": self.texts[seq - 1]}
            row = Row(stream=HERE, seq=seq, kind="entry", at="", no=seq, id=f"ent_emea_{seq}", body=body, state="ok")
            self.wires[sock].extend([row] * (2 if seq % 7 == 0 else 1))  # a server that repeats itself
        self.follows[sock] = len(self.texts)


class Story:
    """One client, one server, and a schedule drawn from `seed`."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.server, self.now = Server(), 0.0
        self.core = Core(DOORS, "token", 600.0, self.rng.random)
        self.dials: list[int] = []
        self.shown: list[Row] = []
        self.settled: list[str] = []
        self.made: list[wire.Post] = []
        self.downs = self.ups = 0
        self.do(self.core.start(0.0))

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Dial(sock, _):
                    self.dials.append(sock)
                case Send(sock, frame):
                    if sock in self.server.wires:
                        self.server.hear(sock, frame)
                case Close(sock, _):
                    self.server.wires.pop(sock, None)
                    self.server.follows.pop(sock, None)
                case Deliver(Row() as row):
                    self.shown.append(row)
                case Deliver(Connected()):
                    self.ups += 1
                case Deliver(Lost()):
                    self.downs += 1
                case Settle(posted, _):
                    self.settled.append(posted.client_id)

    def step(self, calm: bool = False) -> None:
        choice = self.rng.random()
        if self.dials and choice < 0.3:
            sock = self.dials.pop(0)
            if calm or self.rng.random() < 0.7:
                self.server.wires[sock] = deque()
                self.do(self.core.opened(sock, self.now))
            else:
                self.do(self.core.failed(sock, self.rng.choice([None, 503, 429]), self.now))
        elif self.server.wires and choice < 0.8:
            sock = self.rng.choice(list(self.server.wires))
            if self.server.wires[sock]:
                self.do(self.core.frame(sock, self.server.wires[sock].popleft(), self.now))  # type: ignore[arg-type]
        elif calm or choice < 0.85:
            self.now += self.rng.random()
            self.do(self.core.tick(self.now))
        elif choice < 0.93 and len(self.made) < 40:
            post = wire.Post(room=HERE, client_id=str(uuid.UUID(int=len(self.made))), text=f"text {len(self.made)}")
            self.made.append(post)
            self.do(self.core.post(post, self.now))
        elif self.server.wires:
            self.harm(self.rng.choice(list(self.server.wires)))

    def harm(self, sock: int) -> None:
        kind = self.rng.choice(["cut", "migrate", "pause", "hang"])
        if kind == "cut":
            del self.server.wires[sock]
            self.server.follows.pop(sock, None)
            self.do(self.core.closed(sock, 1006, "", self.now))
        elif kind == "migrate":
            self.server.wires[sock].append(wire.Migrate(reason="drain", within_s=2.0))
        elif kind == "hang":
            self.now += 6.0
            self.do(self.core.tick(self.now))
        else:
            self.do(self.core.pause(self.now))
            self.do(self.core.unpause(self.now))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_rows_once_in_order_and_every_post_placed_once(seed: int) -> None:
    story = Story(seed)
    for _ in range(250):
        story.step()
    for _ in range(5_000):
        story.step(calm=True)
        if len(story.settled) == len(story.made) and len(story.shown) == len(story.server.texts):
            break
    assert sorted(story.settled) == sorted(post.client_id for post in story.made)
    assert sorted(story.server.texts) == sorted(post.text for post in story.made)
    seqs = [row.seq for row in story.shown]
    first = seqs[0] if seqs else 1
    assert seqs == list(range(first, first + len(seqs)))
    assert [row.body and row.body["text"] for row in story.shown] == story.server.texts[first - 1 :][: len(seqs)]
    assert story.core.cursors.seen.get(INBOX) == 2
