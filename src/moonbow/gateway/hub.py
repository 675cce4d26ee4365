"""Everything the sockets of a gateway share: accepts handshakes, runs their work, and speaks to many at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from picows import WSUpgradeRequest, WSUpgradeResponse
from picows import WSUpgradeResponseWithListener as Upgraded

from moonbow.base.errors import MoonbowError, Refused
from moonbow.timeline.ports import Store
from moonbow.wire import stream as wire
from moonbow.wire import values

from . import problems
from .flow import Flow
from .frames import encode
from .messages import Attaches
from .socket import Claims, Devices, Socket

log = logging.getLogger(__name__)


class Hub:
    """Everything the sockets of a gateway share."""

    def __init__(
        self,
        flow: Flow,
        store: Store,
        files: Attaches,
        check: Callable[[str], Claims],
        devices: Devices,
        region: str,
        site: str,
        city: str,
    ) -> None:
        self.flow, self.store, self.check, self.devices = flow, store, check, devices
        self.files = files
        self.region, self.site, self.city = region, site, city
        self.sockets: set[Socket] = set()
        self.draining = False
        self.watchers: dict[str, set[Socket]] = {}
        self.load: Callable[[], str] = lambda: ""
        self.loop = asyncio.get_running_loop()
        self._dirty: list[Socket] = []
        self._left = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, request: WSUpgradeRequest) -> Upgraded:
        """A new socket, or a problem document, for a handshake."""
        headers = {
            "Moonbow-Region": self.region, "Moonbow-Site": self.site, "Content-Type": problems.MEDIA_TYPE,
        }  # fmt: skip
        try:
            if request.path.split(b"?", 1)[0] != b"/v1/stream":
                raise Refused("not_found", "the stream is at /v1/stream", status=404)
            token, protocol = _token_of(request)
            claims = self.check(token)
        except MoonbowError as error:
            problem = problems.problem_of(error)
            body = encode(problem)
            return Upgraded(WSUpgradeResponse.create_error_response(problem.status, body, headers), None)
        headers = {
            "Moonbow-Region": self.region, "Moonbow-Site": self.site, "endpoint-load-metrics": self.load(),
        }  # fmt: skip
        if protocol:
            headers["Sec-WebSocket-Protocol"] = wire.PROTOCOL
        about = {
            "person": claims.sub,
            "address": request.headers.get("x-envoy-external-address", ""),
            "agent": request.headers.get("User-Agent", "")[:200],
        }
        socket = Socket(self, claims, about)
        socket.door = request.headers.get("x-moonbow-door", "").partition(".")[0]
        return Upgraded(WSUpgradeResponse.create_101_response(headers), socket)

    def spawn(self, work: Coroutine[Any, Any, None], socket: Socket) -> None:
        """Run work for a socket; what it refuses is told to that socket alone."""
        task = self.loop.create_task(self._guard(work, socket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[Any, Any, None], socket: Socket) -> None:
        try:
            await work
        except MoonbowError as error:
            socket.problem(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a frame failed")
            socket.cut(1011, "internal")

    def dirty(self, socket: Socket) -> None:
        """This socket has frames to write at the end of the turn."""
        if not self._dirty:
            self.loop.call_soon(self._flush)
        self._dirty.append(socket)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for socket in dirty:
            socket.flush()

    def migrate(self, reason: str, within_s: float) -> None:
        """Ask every client to move to another gateway."""
        self.draining = True
        self._ask_to_go(reason, within_s, self.sockets)

    def leave_doors(self, sites: frozenset[str], within_s: float) -> None:
        """Ask those who came in by a door of one of these sites to come in by another: those doors are going."""
        self._ask_to_go("door", within_s, [socket for socket in self.sockets if socket.door in sites])

    def _ask_to_go(self, reason: str, within_s: float, sockets: Iterable[Socket]) -> None:
        frame = encode(wire.Migrate(reason=reason, within_s=within_s))
        for socket in sockets:
            socket.send(frame)

    def revoke(self, person: str, sid: str | None, before: float) -> None:
        """Close the sockets of signed-out sessions: one family, or all of a person begun before a time."""
        for socket in [s for s in self.sockets if s.claims.sub == person]:
            if (sid is None and socket.began < before) or socket.claims.sid == sid:
                socket.cut(wire.CLOSE_REVOKED, "signed out")

    def presence(self, changed: list[values.Presence]) -> None:
        """Tell those who watch."""
        for presence in changed:
            watchers = self.watchers.get(presence.person)
            if watchers:
                frame = encode(presence)
                for socket in watchers:
                    socket.send(frame)

    def own_presence(self, changed: list[values.Presence]) -> None:
        """Tell people's own devices how they are shown: `invisible` is said to nobody else."""
        for presence in changed:
            frame = encode(presence)
            for session in self.flow.live.people.get(presence.person, ()):
                session.send(frame)

    def left(self) -> None:
        """A socket has gone."""
        self._left.set()

    async def emptied(self) -> None:
        """Wait until the last socket has gone."""
        while self.sockets:
            self._left.clear()
            await self._left.wait()

    def close(self, code: int, reason: str) -> None:
        """Close every socket."""
        for socket in list(self.sockets):
            socket.cut(code, reason)


def _token_of(request: WSUpgradeRequest) -> tuple[str, bool]:
    """The access token of a handshake, and whether the client speaks subprotocols."""
    offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
    bearer = request.headers.get("Authorization", "")
    if bearer.startswith("Bearer "):
        return bearer[7:], wire.PROTOCOL in offered
    for protocol in offered:
        if protocol.startswith(wire.TOKEN_PROTOCOL):
            return protocol.removeprefix(wire.TOKEN_PROTOCOL), wire.PROTOCOL in offered
    raise Refused("token_missing", "an access token is needed", status=401)
