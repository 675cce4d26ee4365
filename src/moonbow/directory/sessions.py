"""Sessions of this region's people: begun, renewed, checked and ended."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import new_id
from moonbow.base.limits import ACCESS_TOKEN_S
from moonbow.wire.rest import Session
from moonbow.wire.subjects import SESSIONS

from .keys import KeyRing
from .metrics import Metrics
from .model import Claims, PersonRow, Revocation, as_person
from .ports import Bus, Store
from .refresh import RefreshToken, decide_turn, first_token, new_family, successor
from .revocations import Revoked
from .tokens import check_token, scope_of, sign_token

FAMILIES_MAX = 50  # sessions of one person; the oldest make room
CACHE_MAX = 20_000  # checked tokens kept in memory
LOOK_AGAIN_S = 1.0
OnRevoked = Callable[[str, str | None, float], None]
log = logging.getLogger("moonbow.directory")
_heard = msgspec.msgpack.Decoder(list[Revocation])
_encode = msgspec.msgpack.Encoder().encode
_REFUSALS = {
    "unknown": ("token_invalid", "this refresh token is not known"),
    "expired": ("token_expired", "this session has ended; sign in again"),
    "reused": ("token_revoked", "this refresh token had been used; the session is ended, sign in again"),
}


class Sessions:
    """One gateway's view of its region's sessions; the store is the truth."""

    def __init__(
        self,
        ring: KeyRing,
        secret: bytes,
        store: Store,
        bus: Bus,
        metrics: Metrics,
        now: Callable[[], float],
        operators: frozenset[str] = frozenset(),
    ) -> None:
        self._ring = ring
        self._secret = secret
        self._operators = operators  # hashes of logins
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._good = metrics.checks.labels("ok")
        self._now = now
        self._revoked = Revoked()
        self._polled_no = 0
        self._look_at = 0.0
        self._cache: OrderedDict[str, Claims] = OrderedDict()
        self._callbacks: list[OnRevoked] = []

    async def start(self) -> None:
        """Hear of ended sessions from the sister gateways, and learn what ended lately."""
        await self._bus.listen_region(SESSIONS, self._hear)
        await self.poll()

    def on_revoked(self, callback: OnRevoked) -> None:
        """Call `callback(person, sid, before)` once for each session that ends."""
        self._callbacks.append(callback)

    async def open(self, person: PersonRow) -> Session:
        """Begin a session of a person who has proved who they are."""
        now = self._now()
        token = first_token(self._ring.region, os.urandom(48))
        family = new_family(token, new_id("fam", self._ring.region), person.id, now)
        await self.tell(await self._store.open_family(family, FAMILIES_MAX))
        return self._session(person, family.sid, token, now)

    async def refresh(self, token: RefreshToken) -> Session:
        """Renew a session; `Refused` (401) when its refresh token is no longer good."""
        now = self._now()
        following = successor(token, self._secret)
        turn, family, ended = await self._store.turn_family(
            token.handle_hash(),
            lambda found: decide_turn(found, token.secret_hash(), following.secret_hash(), now),
            now,
        )
        self._metrics.refreshes.labels(turn.verdict).inc()
        await self.tell(ended)
        person = await self._store.person(family.person) if family and turn.family else None
        if family is None or person is None:
            code, detail = _REFUSALS.get(turn.verdict, _REFUSALS["unknown"])
            raise Refused(code, detail, status=401)
        return self._session(person, family.sid, following, now)

    def _session(self, person: PersonRow, sid: str, token: RefreshToken, now: float) -> Session:
        kid, key = self._ring.signer(now)
        region = self._ring.region
        claims = Claims(
            iss=region,
            sub=person.id,
            home=region,
            org=person.company,
            role=person.role,
            scope=scope_of(person.login_hash in self._operators),
            sid=sid,
            iat=now,
            exp=now + ACCESS_TOKEN_S,
        )
        return Session(
            access_token=sign_token(key, kid, claims),
            expires_in_s=ACCESS_TOKEN_S,
            refresh_token=token.text(),
            person=as_person(person),
        )

    def check(self, token: str) -> Claims:
        """What a token says; `Refused` (401) if it is not good here and now."""
        try:
            claims = self._check(token)
        except Refused as refusal:
            self._metrics.checks.labels(refusal.code).inc()
            raise
        self._good.inc()
        return claims

    def _check(self, token: str) -> Claims:
        now = self._now()
        claims = self._cache.get(token)
        if claims is None or claims.exp <= now:
            self._cache.pop(token, None)
            claims = self._cache[token] = self._read(token, now)
            if len(self._cache) > CACHE_MAX:
                self._cache.popitem(last=False)
        if self._revoked.ends(claims):
            raise Refused("token_revoked", "this session has been ended", status=401)
        return claims

    def _read(self, token: str, now: float) -> Claims:
        """What a token says.  One that fails may be of a key that a sister has just made: look, once a second."""
        try:
            return check_token(token, self._ring.region, self._ring.public, now)
        except Refused as refusal:
            if refusal.code != "token_invalid" or now < self._look_at:
                raise
            self._look_at = now + LOOK_AGAIN_S
            if not self._ring.refresh():
                raise
        self._cache.clear()
        return check_token(token, self._ring.region, self._ring.public, now)

    def forget_checked(self) -> None:
        """Check every token anew: the keys changed."""
        self._cache.clear()

    async def end(self, person: str, sid: str | None) -> None:
        """End one session, or all of a person."""
        await self.tell(await self._store.end_sessions(person, sid, self._now()))

    async def tell(self, ended: Sequence[Revocation]) -> None:
        """Act on sessions just ended, and tell the sister gateways; one that does not hear polls."""
        if not ended:
            return
        self._take(ended)
        try:
            await self._bus.publish_region(SESSIONS, _encode(ended))
        except Unavailable as trouble:
            log.warning("revocation not published", extra={"f": {"code": trouble.code, "count": len(ended)}})

    async def poll(self) -> None:
        """Read what ended since the last time, in case the bus lost it."""
        while found := await self._store.revocations(self._polled_no):
            self._polled_no = found[-1].no
            self._take(found)
        self._revoked.forget(self._now())

    def _take(self, ended: Sequence[Revocation]) -> None:
        for item in self._revoked.add(ended):
            self._metrics.revocations.inc()
            for callback in self._callbacks:
                callback(item.person, item.sid, item.before)

    def _hear(self, _subject: str, payload: bytes) -> None:
        try:
            self._take(_heard.decode(payload))
        except msgspec.DecodeError:
            log.warning("revocation not understood")
