"""The stream's shell against scripted doors: real TLS, real sockets, a server that does what the test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from moonbow.base.errors import Broken, Refused
from moonbow.launch.pki import ensure_pki
from moonbow.sdk import stream as sdk_stream
from moonbow.sdk.core import Core
from moonbow.sdk.model import CaughtUp, Connected, Ended, Lapsed, Lost
from moonbow.sdk.rest import Rest
from moonbow.sdk.stream import Stream
from moonbow.wire import stream as wire
from moonbow.wire.values import Door, Row
from moonbow.world import load_world

from .test_core import HERE, room, welcome

encode = msgspec.json.encode
decode = msgspec.json.Decoder(wire.ClientFrame).decode


class Door1(WSListener):
    """One accepted socket; `script` decides what to say."""

    def __init__(self, script: Callable[[Door1, wire.ClientFrame], None]) -> None:
        self.script = script
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self.script(self, decode(frame.get_payload_as_bytes()))
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def say(self, *events: object) -> None:
        assert self.transport is not None
        for event in events:
            self.transport.send(WSMsgType.TEXT, encode(event))


class Doors:
    """Scripted doors on addresses of their own, under the certificates of a world."""

    def __init__(self, state: Path) -> None:
        self.world = msgspec.structs.replace(load_world(Path("worlds/laptop.toml")), slot=8)
        self.pki = ensure_pki(self.world, state)
        self.sockets: list[Door1] = []
        self.requests: list[WSUpgradeRequest] = []
        self.rows = 3

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.pki / "ca.crt")

    def script(self, socket: Door1, frame: wire.ClientFrame) -> None:
        if isinstance(frame, wire.Hello):
            socket.say(welcome(room(head=self.rows)), wire.Synced(resets={}))
        elif isinstance(frame, wire.Resume):
            socket.say(welcome(room(head=self.rows), site="frankfurt"))
            socket.say(*(self.row(seq) for seq in range(frame.cursors[HERE] + 1, self.rows + 1)))
            socket.say(wire.Synced(resets={}))
        elif isinstance(frame, wire.Post) and frame.text != "lost":
            socket.say(wire.Ack(client_id=frame.client_id, state="placed", room=HERE, id="ent_emea_9", seq=9))
        elif isinstance(frame, wire.Post):
            assert socket.transport is not None
            socket.transport.send_close(1012, b"drain")  # type: ignore[arg-type]
            socket.transport.disconnect()
            self.rows += 1  # somebody else writes meanwhile
            self.script = self.answer_everything  # type: ignore[method-assign]

    def answer_everything(self, socket: Door1, frame: wire.ClientFrame) -> None:
        if isinstance(frame, wire.Post):
            socket.say(wire.Ack(client_id=frame.client_id, state="placed", room=HERE, id="ent_emea_9", seq=9))
        else:
            Doors.script(self, socket, frame)

    def row(self, seq: int) -> Row:
        return Row(stream=HERE, seq=seq, kind="entry", at="", no=seq, id=f"ent_emea_{seq}", state="ok", body={})

    def more_rows(self, count: int) -> None:
        for seq in range(self.rows + 1, self.rows + count + 1):
            self.rows = seq
            self.sockets[-1].say(self.row(seq))

    @asynccontextmanager
    async def open(self, count: int) -> AsyncIterator[list[Door]]:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self.pki / "door.crt", self.pki / "door.key")
        servers = []

        def accept(request: WSUpgradeRequest) -> Door1:
            self.requests.append(request)
            self.sockets.append(Door1(lambda socket, frame: self.script(socket, frame)))
            return self.sockets[-1]

        doors = []
        for no in range(count):
            server = await ws_create_server(accept, f"127.170.1.{11 + no}", 0, ssl=tls)
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
            doors.append(Door(site=f"s{no}", region="emea", city="", url="", address=f"127.170.1.{11 + no}", port=port))
        try:
            yield doors
        finally:
            for server in servers:
                server.close()


@asynccontextmanager
async def connected(doors: Doors, where: list[Door]) -> AsyncIterator[Stream]:
    async def renew() -> tuple[str, float]:
        raise Refused("signed_out", "the family is revoked", status=401)

    async def learn() -> list[Door]:
        return where

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        core = Core(where, "token", 600.0 + asyncio.get_running_loop().time(), lambda: 0.5)
        rest = Rest(where, doors.world.domain, doors.trust(), "test")
        stream = Stream(core, rest, tasks, renew, learn)
        stream.start()
        try:
            yield stream
        finally:
            await stream.stop()


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    return Doors(tmp_path)


async def until(stream: Stream, kind: type) -> list[object]:
    """Events up to and with the first of `kind`."""
    found: list[object] = []
    while not found or not isinstance(found[-1], kind):
        found.append(await stream.next_event())
    return found


def test_speaks_tls_to_the_worlds_name_with_the_token(doors: Doors) -> None:
    async def play() -> None:
        async with doors.open(1) as where, connected(doors, where) as stream:
            found = await until(stream, CaughtUp)
            assert isinstance(found[0], Connected)
            headers = doors.requests[0].headers
            assert headers["Authorization"] == "Bearer token"
            assert headers["Sec-WebSocket-Protocol"] == wire.PROTOCOL
            assert headers["User-Agent"] == "test"
            assert headers["Host"].startswith(doors.world.domain)
            posted = await stream.post(wire.Post(room=HERE, client_id="0" * 36, text="hello"))
            assert (posted.state, posted.seq) == ("placed", 9)

    asyncio.run(play())


def test_post_survives_a_close_before_its_answer_and_rows_go_on(doors: Doors) -> None:
    async def play() -> None:
        async with doors.open(2) as where, connected(doors, where) as stream:
            await until(stream, CaughtUp)
            doors.more_rows(2)
            waiting = stream.post(wire.Post(room=HERE, client_id="1" * 36, text="lost"))
            assert (await waiting).state == "placed"
            found = await until(stream, Lost)
            assert [row.seq for row in found if isinstance(row, Row)] == [4, 5]
            assert (found[-1].code, found[-1].reason) == (1012, "drain")  # type: ignore[attr-defined]
            again = await until(stream, CaughtUp)
            assert isinstance(again[0], Connected)
            assert again[0].resumed
            assert [row.seq for row in again if isinstance(row, Row)] == [6]

    asyncio.run(play())


def test_dead_first_door_is_passed_over(doors: Doors) -> None:
    async def play() -> None:
        async with doors.open(1) as where:
            dead = Door(site="dead", region="emea", city="", url="", address="127.170.1.99", port=9)
            async with connected(doors, [dead, *where]) as stream:
                found = await until(stream, CaughtUp)
                assert isinstance(found[0], Connected)
                assert found[0].door == where[0]

    asyncio.run(play())


def test_slow_reader_loses_nothing(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_stream, "EVENTS_MAX", 100)

    async def play() -> None:
        async with doors.open(1) as where, connected(doors, where) as stream:
            await until(stream, CaughtUp)
            doors.more_rows(500)
            await asyncio.sleep(0.05)
            seqs: list[int] = []
            while not seqs or seqs[-1] < 503:
                event = await stream.next_event()
                if isinstance(event, Row):
                    seqs.append(event.seq)
            assert seqs == list(range(4, 504))
            assert len(doors.sockets) > 1, "the socket was left at least once"

    asyncio.run(play())


def test_who_never_reads_gets_lapsed(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_stream, "EVENTS_MAX", 100)

    async def play() -> None:
        async with doors.open(1) as where, connected(doors, where) as stream:
            await stream.post(wire.Post(room=HERE, client_id="2" * 36, text="hello"))
            doors.more_rows(200)
            await stream.post(wire.Post(room=HERE, client_id="3" * 36, text="hello"))
            assert isinstance(await stream.next_event(), Lapsed)
            assert len(doors.sockets) == 1

    asyncio.run(play())


def test_fault_of_ours_ends_the_client_loudly(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[object]:
        raise ZeroDivisionError

    async def play() -> None:
        async with doors.open(1) as where, connected(doors, where) as stream:
            await until(stream, CaughtUp)
            monkeypatch.setattr(stream.core, "frame", broken)
            doors.more_rows(1)
            await stream.next_event()

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(play())
    assert caught.group_contains(Broken)


def test_token_closed_and_renewal_refused_ends_every_wait(doors: Doors) -> None:
    async def play() -> None:
        async with doors.open(1) as where, connected(doors, where) as stream:
            await until(stream, CaughtUp)
            doors.script = lambda socket, frame: socket.transport.send_close(4001)  # type: ignore[assignment, union-attr, arg-type]
            with pytest.raises(Refused, match="signed_out"):
                await stream.post(wire.Post(room=HERE, client_id="4" * 36, text="x"))
            assert isinstance((await until(stream, Ended))[-1], Ended)
            with pytest.raises(Refused):
                stream.post(wire.Post(room=HERE, client_id="5" * 36, text="x"))

    asyncio.run(play())
