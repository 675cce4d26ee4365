"""The client's side of `/v1/stream` without sockets: what happened goes in, what to do comes out.

Laws: rows reach the program once and in order, over any number of sockets; from `resume` on a new socket the old one is
not listened to (but for acks); a post is said again until it is answered; a silent socket is left after `DEAD_S`.
Every method takes `now`, seconds on any clock that only goes forward, and returns commands in the order to do them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from moonbow.wire import stream as wire
from moonbow.wire.stream import ClientFrame, Hello, Ping, Post, SetState, Watch
from moonbow.wire.values import Door, Presence, Row

from .cursors import Cursors
from .doors import Doors
from .model import (
    CaughtUp,
    Close,
    Command,
    Connected,
    Deliver,
    Dial,
    Ended,
    Event,
    Incoming,
    Learn,
    Lost,
    Renew,
    Reset,
    Send,
)
from .posts import Posts

PING_S = 2.0
DEAD_S = 5.0  # nothing heard for so long: the socket is dead
WELCOME_S = 3.0  # from `hello` or `resume` to `welcome`
BACKOFF_S = (0.05, 2.0)
BUSY_S = 1.0  # the least wait when told that there is no room
RETURN_S = 30.0  # the least time at a door of another region before the best one is tried again
RENEW_RATIO = 0.7  # of the token's life
GONE_CODE = 1006  # no close frame was seen (RFC 6455, section 7.4.1)


@dataclass
class Link:
    """One socket and how far it has come."""

    sock: int
    door: Door
    token_no: int
    phase: Literal["dialing", "asked", "replaying", "live"]
    since: float
    heard: float
    pinged: float
    site: str = ""


class Core:
    """One client of one person.  `jitter()` gives numbers in 0..1."""

    def __init__(self, doors: Iterable[Door], token: str, token_until: float, jitter: Callable[[], float]) -> None:
        self.doors = Doors(doors)
        self.token, self.token_no, self.token_until, self.renew_at = token, 0, token_until, 0.0
        self.jitter = jitter
        self.cursors, self.posts = Cursors(), Posts()
        self.link: Link | None = None  # the one we listen to
        self.fresh: Link | None = None  # being dialled
        self.old: Link | None = None  # being left: only its acks count
        self.redial_at: float | None = None
        self.return_at: float | None = None  # served through another region: when to try the best door again
        self.socks = self.hops = 0
        self.greeted = self.paused = self.renewing = self.token_bad = self.ended = False
        self.state: SetState | None = None
        self.watch: Watch | None = None
        self.out: list[Command] = []

    # -- from the program -------------------------------------------------------------------------------------------
    def start(self, now: float) -> list[Command]:
        """Begin: dial the best door."""
        self._token_life(now)
        self._dial(now)
        return self._done()

    def post(self, post: Post, now: float) -> list[Command]:
        """Send a message and keep saying it until it is answered.  `Refused` when too many wait."""
        self.posts.add(post, now)
        self._say_posts(now)
        return self._done()

    def say(self, frame: ClientFrame, now: float) -> list[Command]:
        """Send what matters only now; `SetState` and `Watch` are said again on every new socket."""
        if isinstance(frame, SetState):
            self.state = frame
        elif isinstance(frame, Watch):
            self.watch = frame
        if self._up() is not None:
            self._send(frame)
        return self._done()

    def pause(self, now: float) -> list[Command]:
        """The program does not keep up: leave the socket, what was not taken comes again on `unpause`."""
        self.paused = True
        self._leave_all("slow reader")
        return self._done()

    def unpause(self, now: float) -> list[Command]:
        """The program has caught up."""
        if self.paused:
            self.paused = False
            self._dial(now)
        return self._done()

    def stop(self, code: str, detail: str) -> list[Command]:
        """The end: close everything."""
        self._end(code, detail)
        return self._done()

    # -- from the network -------------------------------------------------------------------------------------------
    def opened(self, sock: int, now: float) -> list[Command]:
        """The socket stands: say where we are.  From here on any earlier one is not listened to."""
        if self.fresh is None or self.fresh.sock != sock or self.ended or self.paused:
            return [Close(sock, rude=True)]
        if self.old is not None:
            self.out.append(Close(self.old.sock, rude=True))
        self.old, self.link, self.fresh = self.link, self.fresh, None
        self.link.phase, self.link.since = "asked", now
        self.link.heard = self.link.pinged = now
        self._send(self.cursors.resume() if self.greeted else Hello())
        return self._done()

    def failed(self, sock: int, status: int | None, now: float) -> list[Command]:
        """The dial came to nothing.  `status` is that of an HTTP answer, None when there was none."""
        if self.fresh is None or self.fresh.sock != sock:
            return []
        self.fresh = None
        if status != 401 and self.return_at is not None and self.link is not None:
            self.return_at = self._return_time(now)  # we are served where we are
        elif status == 401:
            self._token_refused()
        else:
            self._retry(now, BUSY_S if status == 429 else 0.0)
        return self._done()

    def closed(self, sock: int, code: int, reason: str, now: float) -> list[Command]:
        """A socket is gone, by whoever's will."""
        if self.fresh is not None and self.fresh.sock == sock:
            return self.failed(sock, None, now)
        if self.old is not None and self.old.sock == sock:
            self.old = None
        elif self.link is not None and self.link.sock == sock:
            self._lost(code, reason, now)
        return self._done()

    def frame(self, sock: int, event: Incoming, now: float) -> list[Command]:
        """A frame of the server.  Frames of a socket that was left are dropped, but for acks."""
        if self.old is not None and self.old.sock == sock and isinstance(event, wire.Ack):
            self._acked(event)
        elif self.link is not None and self.link.sock == sock:
            self.link.heard = now
            self._heard(self.link, event, now)
        return self._done()

    def renewed(self, token: str, until: float, now: float) -> list[Command]:
        """A fresh access token: told to the socket, so that it lives on."""
        self.token, self.token_until, self.renewing = token, until, False
        self.token_no += 1
        self._token_life(now)
        if (link := self._up()) is not None:
            self._renew_link(link)
        if self.token_bad:
            self.token_bad = False
            self._retry(now, 0.0)
        return self._done()

    def renew_refused(self, detail: str) -> list[Command]:
        """The session is over."""
        return self.stop("signed_out", detail)

    def learned(self, doors: Iterable[Door]) -> list[Command]:
        """The present doors, best first."""
        self.doors.learn(doors)
        return []

    # -- time -------------------------------------------------------------------------------------------------------
    def tick(self, now: float) -> list[Command]:
        """Do what has become due."""
        if self.redial_at is not None and self.redial_at <= now:
            self.redial_at = None
            self._dial(now)
        if (link := self.link) is not None:
            if now >= link.heard + DEAD_S or (link.phase == "asked" and now >= link.since + WELCOME_S):
                self.out.append(Close(link.sock, rude=True))
                self._lost(GONE_CODE, "silent", now)
            elif now >= link.pinged + PING_S:
                link.pinged = now
                self._send(Ping())
        if self.return_at is not None and self.return_at <= now:
            self._return(now)
        self._say_posts(now)
        if now >= self.renew_at and not self.renewing and not self.ended:
            self.renewing = True
            self.out.append(Renew())
        return self._done()

    def wake_at(self) -> float | None:
        """When to call `tick` next."""
        times = [self.redial_at, self.return_at]
        if not self.renewing:
            times.append(self.renew_at)
        if self.link is not None:
            times += [self.link.heard + DEAD_S, self.link.pinged + PING_S]
            times.append(self.link.since + WELCOME_S if self.link.phase == "asked" else self.posts.wake_at())
        return None if self.ended else min((at for at in times if at is not None), default=None)

    # -- inside -----------------------------------------------------------------------------------------------------
    def _heard(self, link: Link, event: Incoming, now: float) -> None:
        match event:
            case Row():
                if self.cursors.take(event):
                    self._deliver(event)
                    if (settle := self.posts.told(event)) is not None:
                        self.out.append(settle)
            case wire.BodyEvent():
                if self.cursors.take_body(event):
                    self._deliver(event)
            case wire.Ack():
                self._acked(event)
            case wire.Welcome():
                self._welcomed(link, event, now)
            case wire.Synced():
                self._synced(link, event, now)
            case wire.Migrate():
                self._migrate(event.reason, now)
            case wire.ProblemEvent():
                self._problem(event, now)
            case Presence() | wire.RoomEvent() | wire.TypingEvent() | wire.ReadEvent():
                self._deliver(event)
            case wire.Renewed() | wire.Pong():
                pass

    def _welcomed(self, link: Link, welcome: wire.Welcome, now: float) -> None:
        if self.greeted:
            self.cursors.meet(welcome.rooms)
        else:
            self.cursors.begin(welcome.inbox, welcome.inbox_head, welcome.rooms)
        link.phase, link.site = "replaying", welcome.site
        if self.doors.leaving not in (welcome.site, link.door.site):
            self.doors.leaving = None
        self._deliver(Connected(welcome.site, welcome.city, link.door, self.greeted, welcome.rooms))
        self.greeted = True
        if link.token_no != self.token_no:
            self._renew_link(link)
        for frame in (self.state, self.watch):
            if frame is not None:
                self._send(frame)
        self.posts.all_due(now)
        self._say_posts(now)

    def _synced(self, link: Link, synced: wire.Synced, now: float) -> None:
        link.phase = "live"
        self.doors.begin()
        self.return_at = self._return_time(now) if self.doors.is_far(link.door) else None
        for stream, head in synced.resets.items():
            self.cursors.reset(stream, head)
            self._deliver(Reset(stream, head))
        if self.old is not None:
            self.out.append(Close(self.old.sock))
            self.old = None
        self._deliver(CaughtUp())

    def _problem(self, event: wire.ProblemEvent, now: float) -> None:
        if event.client_id not in self.posts.pending:
            self._deliver(event)
        elif (settle := self.posts.problem(event, now)) is not None:
            self.out.append(settle)

    def _migrate(self, reason: str, now: float) -> None:
        """Go elsewhere: at once the first time, later and later when doors lead back to the same site meanwhile."""
        if self.link is None or self.fresh is not None or self.redial_at is not None:
            return
        self.return_at = None
        going = self.link.door.site if reason == "door" else self.link.site
        self.hops = self.hops + 1 if going == self.doors.leaving else 0
        self.doors.leaving = going
        if self.hops == 0:
            self.doors.begin()
            self._dial(now)
            self.out.append(Learn())
        else:
            self.redial_at = now + self._pause(self.hops - 1)

    def _lost(self, code: int, reason: str, now: float) -> None:
        link, self.link, self.return_at = self.link, None, None
        if link is None:
            return
        if self.old is not None:
            self.out.append(Close(self.old.sock, rude=True))
            self.old = None
        self._deliver(Lost(link.site, link.door, code, reason))
        if code == wire.CLOSE_REVOKED:
            self._end("revoked", reason or "this session was ended elsewhere")
        elif code == wire.CLOSE_TOKEN:
            self._token_refused()
        elif self.fresh is None and not self.paused and not self.ended:
            self.doors.begin(link.door)
            self._retry(now, BUSY_S if code == wire.CLOSE_BUSY else 0.0)

    def _end(self, code: str, detail: str) -> None:
        if self.ended:
            return
        self.ended, self.redial_at, self.return_at = True, None, None
        for link in (self.fresh, self.old, self.link):
            if link is not None:
                self.out.append(Close(link.sock))
        self.link = self.fresh = self.old = None
        self._deliver(Ended(code, detail))

    def _leave_all(self, reason: str) -> None:
        self.redial_at = self.return_at = None
        for link in (self.fresh, self.old, self.link):
            if link is not None:
                self.out.append(Close(link.sock, rude=True))
        if self.link is not None:
            self._deliver(Lost(self.link.site, self.link.door, 1000, reason))
        self.link = self.fresh = self.old = None

    def _return(self, now: float) -> None:
        """Try the best door while the far one serves on; a failure changes nothing."""
        self.return_at = self._return_time(now)
        if self.link is not None and self.link.phase == "live" and self.redial_at is None:
            self.doors.begin()
            self._dial(now)
            self.out.append(Learn())

    def _return_time(self, now: float) -> float:
        return now + RETURN_S * (1.0 + self.jitter())

    def _retry(self, now: float, least_s: float) -> None:
        """The next door soon; after each round of all doors twice as late, up to the bound."""
        self.redial_at = now + max(self._pause(self.doors.rounds), least_s)
        if self.doors.exhausted or len(self.doors.tried) == 1:
            self.out.append(Learn())

    def _pause(self, times: int) -> float:
        """Twice as long every time, up to the bound, and never the same for everybody."""
        return min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** min(times, 10)) * (0.5 + 0.5 * self.jitter())

    def _dial(self, now: float) -> None:
        if self.fresh is not None or self.paused or self.ended or self.token_bad:
            return
        door = self.doors.choose()
        self.socks += 1
        self.fresh = Link(self.socks, door, self.token_no, "dialing", now, now, now)
        self.out.append(Dial(self.socks, door))

    def _token_refused(self) -> None:
        self.token_bad = True
        if not self.renewing:
            self.renewing = True
            self.out.append(Renew())

    def _token_life(self, now: float) -> None:
        self.renew_at = now + max(1.0, (self.token_until - now) * RENEW_RATIO)

    def _renew_link(self, link: Link) -> None:
        link.token_no = self.token_no
        self._send(wire.Renew(access_token=self.token))

    def _say_posts(self, now: float) -> None:
        if self._up() is not None:
            for post in self.posts.due(now):
                self._send(post)

    def _acked(self, ack: wire.Ack) -> None:
        if (settle := self.posts.acked(ack)) is not None:
            self.out.append(settle)

    def _up(self) -> Link | None:
        return self.link if self.link is not None and self.link.phase in ("replaying", "live") else None

    def _send(self, frame: ClientFrame) -> None:
        assert self.link is not None
        self.out.append(Send(self.link.sock, frame))

    def _deliver(self, event: Event) -> None:
        self.out.append(Deliver(event))

    def _done(self) -> list[Command]:
        out, self.out = self.out, []
        return out
