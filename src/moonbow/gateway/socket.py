"""The WebSocket `/v1/stream`: one `Socket` a client.  Parses frames, limits them, and writes what the core sends.

Frames of one loop turn leave in one write.  A client that does not read is cut with 4008 and may resume; nothing it
does reaches anybody else's connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport
from prometheus_client import Counter, Gauge

from moonbow.base import limits
from moonbow.base.errors import MoonbowError, Refused, Unavailable
from moonbow.base.ids import is_uuid, new_id, parse_id
from moonbow.timeline import transactions
from moonbow.wire import stream as wire
from moonbow.wire import values

from . import problems
from .frames import encode
from .live import Session
from .posting import Posting

if TYPE_CHECKING:
    from .hub import Hub

log = logging.getLogger(__name__)
access = logging.getLogger("moonbow.gateway.access")
SOCKETS = Gauge("moonbow_gateway_sockets", "Open WebSockets")
FRAMES = Counter("moonbow_gateway_frames_total", "Frames of clients", ["t"])
CLOSED = Counter("moonbow_gateway_closed_total", "Sockets closed by us", ["code"])
HEARTBEAT_S = 3.0
FRAMES_PER_S = 500.0
FRAMES_BURST = 1000.0
PAUSE_BYTES = 262_144
HELLO_S = 5.0
LEAVE_S = 2.0  # for a client to answer our close
SLOW_S = 10.0  # for one that did not read to read what was sent, and the close behind it
_decode = msgspec.json.Decoder(wire.ClientFrame).decode
TEXT = WSMsgType.TEXT


class Claims(Protocol):
    """What an access token says (`moonbow.directory`)."""

    @property
    def sub(self) -> str: ...
    @property
    def sid(self) -> str: ...
    @property
    def exp(self) -> float: ...


class Devices(Protocol):
    """What a socket tells presence (`moonbow.presence`)."""

    def connected(self, person: str, session: str, state: str) -> None: ...
    def changed(self, session: str, state: str) -> None: ...
    def disconnected(self, session: str, lost: bool = False) -> None: ...
    def own(self, person: str) -> values.Presence: ...
    async def watch(self, session: str, people: list[str]) -> list[values.Presence]: ...


class Socket(WSListener):
    """One client's connection."""

    __slots__ = (
        "_began_replay",
        "_early",
        "_expiry",
        "_posting",
        "_ready",
        "_tokens",
        "_tokens_at",
        "about",
        "began",
        "claims",
        "door",
        "hub",
        "ident",
        "out",
        "paused",
        "session",
        "started",
        "transport",
        "watched",
    )

    def __init__(self, hub: Hub, claims: Claims, about: dict[str, str]) -> None:
        self.hub, self.claims, self.about, self.began = hub, claims, about, time.time()
        self.ident = new_id("ses", hub.region)
        self.session: Session | None = None
        self.transport: WSTransport | None = None
        self.out: list[bytes] = []
        self.door = ""
        self.started = self.paused = self._began_replay = False
        self.watched: list[str] = []
        self._early: list[bytes] = []
        self._posting = Posting(self)
        self._ready: asyncio.Future[None] | None = None
        self._tokens, self._tokens_at = FRAMES_BURST, hub.loop.time()
        self._expiry: asyncio.TimerHandle | None = None

    # -- picows ----------------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.hub.sockets.add(self)
        SOCKETS.inc()
        transport.underlying_transport.set_write_buffer_limits(high=PAUSE_BYTES)
        self._expiry = self.hub.loop.call_later(HELLO_S, self._no_hello)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self not in self.hub.sockets:
            return
        self.hub.sockets.discard(self)
        self.hub.left()
        SOCKETS.dec()
        self._end()
        self.transport = None

    def pause_writing(self) -> None:
        self.paused = True
        if self._ready is None or self._ready.done():
            self._ready = self.hub.loop.create_future()

    def resume_writing(self) -> None:
        self.paused = False
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if transport.is_close_frame_sent:
            if kind is WSMsgType.CLOSE:
                transport.disconnect()
        elif kind is TEXT and frame.fin:
            self._frame(frame.get_payload_as_memoryview())
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif kind in (WSMsgType.BINARY, WSMsgType.CONTINUATION, TEXT):
            self.cut(wire.CLOSE_BAD_FRAME, "one JSON object in one text frame")

    def _frame(self, payload: memoryview) -> None:
        try:
            self._take_token()
            frame = _decode(payload)
            self._do(frame)
        except msgspec.ValidationError as error:
            fault = problems.fault_of(error)
            self._tell(wire.ProblemEvent(code="invalid", detail=fault.detail, place=fault.place))
        except msgspec.DecodeError as error:
            self._tell(wire.ProblemEvent(code="malformed_json", detail=str(error), place="$"))
        except UnicodeDecodeError:
            self.cut(1007, "a text frame is UTF-8")
        except MoonbowError as error:
            self.problem(error)

    def _take_token(self) -> None:
        now = self.hub.loop.time()
        self._tokens = min(FRAMES_BURST, self._tokens + (now - self._tokens_at) * FRAMES_PER_S)
        self._tokens_at = now
        if self._tokens < 1.0:
            self.cut(wire.CLOSE_BUSY, f"at most {FRAMES_PER_S:.0f} frames a second")
            raise Refused("rate_limited", f"at most {FRAMES_PER_S:.0f} frames a second", status=429, retry_after_s=1.0)
        self._tokens -= 1.0

    # -- frames ----------------------------------------------------------------------------------------------------

    def _do(self, frame: wire.ClientFrame) -> None:
        if type(frame) is wire.Post:
            self._post(frame)
            return
        FRAMES.labels(type(frame).__name__.lower()).inc()
        if isinstance(frame, wire.Ping):
            self.send(encode(wire.Pong(n=frame.n)))
        elif isinstance(frame, wire.Hello | wire.Resume):
            if self._began_replay:
                raise Refused("already_begun", "hello or resume comes once, first", place="$.t")
            self._began_replay = True
            self.hub.spawn(self._begin_or_go(frame), self)
        elif self.session is None:
            raise Refused("hello_first", "the first frame is hello or resume", place="$.t")
        else:
            self._do_signed_on(frame)

    def _do_signed_on(self, frame: wire.ClientFrame) -> None:
        flow, person = self.hub.flow, self.claims.sub
        match frame:
            case wire.MarkRead(room=room, seq=seq):
                _room_id(room)
                self.hub.spawn(_ignore(flow.mark_read(person, room, seq)), self)
            case wire.Redact(room=room, entry=entry):
                _room_id(room)
                parse_id(entry, "ent", place="$.entry")
                self.hub.spawn(_ignore(self.hub.store.write(transactions.redact, person, room, entry)), self)
            case wire.Typing(room=room, on=on):
                _room_id(room)
                self.hub.spawn(flow.typing(person, room, on), self)
            case wire.SetState(state=state):
                self.hub.devices.changed(self.ident, state)
            case wire.Watch(people=people):
                self._watch([parse_id(p, "usr", place="$.people") for p in people])
            case wire.Renew(access_token=token):
                self._renew(token)
            case _:  # done before
                return

    def _post(self, frame: wire.Post) -> None:
        if self.session is None:
            raise Refused("hello_first", "the first frame is hello or resume", place="$.t")
        if not is_uuid(frame.client_id):
            raise Refused("client_id_malformed", "a client_id is a lower-case UUID", place="$.client_id")
        try:
            _room_id(frame.room)
            self._posting.take(frame)
        except MoonbowError as error:
            self.problem(error, re="post", client_id=frame.client_id)

    async def _begin_or_go(self, frame: wire.Hello | wire.Resume) -> None:
        """Half a beginning is none, and hello comes once: the client is to come again, perhaps to a sister."""
        try:
            await self._begin(frame)
        except Unavailable as error:
            self.problem(error)
            self.cut(wire.CLOSE_BUSY, error.code)

    async def _begin(self, frame: wire.Hello | wire.Resume) -> None:
        flow = self.hub.flow
        session = Session(self.ident, self.claims.sub, self._send_later)
        cursors = frame.cursors if isinstance(frame, wire.Resume) else {}
        missing = frame.missing if isinstance(frame, wire.Resume) else []
        for ident in cursors:
            parse_id(ident, "rom", "dir", "inb", place="$.cursors")
        for ident in missing:
            parse_id(ident, "ent", place="$.missing")
        rooms, inbox_head = await (flow.resume(session, cursors, missing) if cursors else flow.hello(session))
        if self.transport is None or self.transport.is_close_frame_sent:
            flow.end(session)
            return
        self.session = session
        access.info("socket", extra={"f": self.about})
        self.hub.devices.connected(self.claims.sub, self.ident, "online")
        self._set_expiry(self.claims.exp)
        self.send(
            encode(
                wire.Welcome(
                    session=self.ident,
                    person=self.claims.sub,
                    region=self.hub.region,
                    site=self.hub.site,
                    city=self.hub.city,
                    inbox="inb" + self.claims.sub[3:],
                    inbox_head=inbox_head,
                    expires_at=_rfc3339(self.claims.exp),
                    heartbeat_s=HEARTBEAT_S,
                    rooms=rooms,
                )
            )
        )
        self.started = True
        session.send = self.send
        early, self._early = self._early, []
        self.send(encode(self.hub.devices.own(self.claims.sub)))
        for held in early:
            self.send(held)
        resets = await flow.replay(session, cursors, missing, self._writable) if cursors or missing else {}
        self.send(encode(wire.Synced(resets=resets)))
        if self.hub.draining:
            self.send(encode(wire.Migrate(reason="drain", within_s=2.0)))

    def _writable(self) -> asyncio.Future[None]:
        self.flush()
        if self.paused and self._ready is not None:
            return self._ready
        done = self.hub.loop.create_future()
        done.set_result(None)
        return done

    def _renew(self, token: str) -> None:
        claims = self.hub.check(token)
        if claims.sub != self.claims.sub:
            raise Refused("token_foreign", "this token is another person's", status=401, place="$.access_token")
        self.claims = claims
        self._set_expiry(claims.exp)
        self._tell(wire.Renewed(expires_at=_rfc3339(claims.exp)))

    def _set_expiry(self, exp: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        left = max(0.0, exp - time.time())
        self._expiry = self.hub.loop.call_later(left, self.cut, wire.CLOSE_TOKEN, "token expired")

    def _no_hello(self) -> None:
        if self.session is None:
            self.cut(wire.CLOSE_BAD_FRAME, "no hello or resume came")

    def _watch(self, people: list[str]) -> None:
        watchers = self.hub.watchers
        for person in self.watched:
            watchers[person].discard(self)
            if not watchers[person]:
                del watchers[person]
        self.watched = people
        for person in people:
            watchers.setdefault(person, set()).add(self)
        if people:
            self.hub.spawn(self._show_watched(people), self)

    async def _show_watched(self, people: list[str]) -> None:
        for presence in await self.hub.devices.watch(self.ident, people):
            self.send(encode(presence))

    # -- writing ---------------------------------------------------------------------------------------------------

    def _send_later(self, frame: bytes) -> None:
        """Before `welcome`, live frames wait: it is the first thing a client reads."""
        self._early.append(frame)

    def send(self, frame: bytes) -> None:
        """Queue a frame for the end of this loop turn."""
        out = self.out
        if not out:
            self.hub.dirty(self)
        out.append(frame)

    def flush(self) -> None:
        """Write what is queued; cut the client if it has too much unread."""
        out, transport = self.out, self.transport
        if not out or transport is None or transport.is_close_frame_sent:
            self.out = []
            return
        self.out = []
        if len(out) == 1:
            transport.send(TEXT, out[0])
        else:
            transport.underlying_transport.write(b"".join(map(_framed, out)))
        if self.paused and transport.underlying_transport.get_write_buffer_size() > limits.SEND_BUFFER_BYTES_MAX:
            self.cut(wire.CLOSE_SLOW, "too much unread")

    def _tell(self, event: wire.Event) -> None:
        self.send(encode(event))

    def problem(self, error: MoonbowError, *, re: str | None = None, client_id: str | None = None) -> None:
        """Tell the client what could not be done."""
        problem = problems.problem_of(error)
        place = problem.faults[0].place if problem.faults else None
        self._tell(
            wire.ProblemEvent(
                code=problem.code,
                detail=problem.detail,
                re=re,
                place=place,
                client_id=client_id,
                retryable=isinstance(error, Unavailable) or problem.retryable,
                retry_after_s=problem.retry_after_s,
            )
        )

    def cut(self, code: int, reason: str) -> None:
        """Close with a code.  Nothing more is read or shown; a client that does not take its leave is dropped."""
        transport = self.transport
        if transport is None or transport.is_close_frame_sent:
            return
        if code != wire.CLOSE_SLOW:
            self.flush()
        CLOSED.labels(str(code)).inc()
        self._end()
        with contextlib.suppress(Exception):
            transport.send_close(code, reason.encode())  # type: ignore[arg-type]
        self.hub.loop.call_later(SLOW_S if code == wire.CLOSE_SLOW else LEAVE_S, transport.disconnect, False)

    def _end(self) -> None:
        """The session is over, for the core, for presence and for those it watched."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._watch([])
        session, self.session = self.session, None
        if session is not None and self.transport is not None:
            self.hub.flow.end(session)
            self.hub.devices.disconnected(self.ident, lost=not _said_goodbye(self.transport))


def _framed(payload: bytes) -> bytes:
    """A server's text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _said_goodbye(transport: WSTransport) -> bool:
    """Whether the client closed of its own will; else it is expected back in a moment."""
    handshake: object = transport.close_handshake  # None when the connection broke
    received = getattr(handshake, "recv", None)
    return received is not None and getattr(received.code, "value", received.code) in (1000, 1001)


def _room_id(room: str) -> str:
    return parse_id(room, "rom", "dir", place="$.room")


def _rfc3339(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _ignore(work: Coroutine[Any, Any, Any]) -> None:
    await work
