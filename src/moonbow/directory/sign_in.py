"""Signing in from any region: find the home, let it check the password, and give away nothing on the way.

Laws: unknown names take the same steps, time and answer as wrong passwords; what cannot be known because a region is
silent is retryable, never "wrong password"; every attempt is charged before it is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.limits import SIGN_IN_ASK_S
from moonbow.federation.shared import SharedPlane
from moonbow.wire.rest import Session

from . import rpc
from .login import LoginKey
from .metrics import Metrics
from .passwords import Passwords
from .ports import Bus, Store
from .sessions import Sessions
from .throttle import LOGIN_RULE, NETWORK_RULE, Throttle, network_of

Judge = Callable[[str, str, str], Awaitable[Session]]
REFUSAL_FLOOR_S = 0.5  # no refusal is given sooner, so that its time tells nothing
HOME_TIMEOUT_S = 3.0  # the home's answer waits for its turn to hash


class SignIn:
    """One gateway's way in."""

    def __init__(
        self,
        region: str,
        login_key: LoginKey,
        store: Store,
        plane: SharedPlane,
        sessions: Sessions,
        passwords: Passwords,
        bus: Bus,
        metrics: Metrics,
        now: Callable[[], float],
        refusal_floor_s: float = REFUSAL_FLOOR_S,
    ) -> None:
        self._region = region
        self._key = login_key
        self._store = store
        self._plane = plane
        self._sessions = sessions
        self._passwords = passwords
        self._bus = bus
        self._metrics = metrics
        self._now = now
        self._floor_s = refusal_floor_s
        self._logins = Throttle(LOGIN_RULE)
        self._networks = Throttle(NETWORK_RULE)

    async def sign_in(self, login: str, password: str, client: str) -> Session:
        """A session for the right login and password.

        `Refused`: login_malformed, sign_in_refused (401), throttled (429).  `Unavailable`: directory_incomplete,
        home_unreachable, sign_in_busy.
        """
        start = time.monotonic()
        login_hash = self._key.hash(login)
        try:
            session = await self._judged(login_hash, password, network_of(client), self._anywhere)
        except Refused as refusal:
            self._metrics.sign_ins.labels(refusal.code).inc()
            if refusal.code == "sign_in_refused":
                await asyncio.sleep(max(0.0, start + self._floor_s - time.monotonic()))
            raise
        except Unavailable as trouble:
            self._metrics.sign_ins.labels(trouble.code).inc()
            raise
        self._metrics.sign_ins.labels("ok").inc()
        return session

    async def serve_sign_in(self, _caller: str, payload: bytes) -> bytes:
        """Check a password for another region's door."""
        ask = rpc.decode_ask(payload, rpc.SignInAsk)
        return rpc.encode(await self._judged(ask.login_hash, ask.password, ask.network, self._here))

    async def serve_find(self, _caller: str, payload: bytes) -> bytes:
        """Say where a login belongs, as this region knows it."""
        found = await self._store.shared.login(rpc.decode_ask(payload, rpc.FindAsk).login_hash)
        return rpc.encode(rpc.FindAnswer(found.region if found else None))

    async def _judged(self, login_hash: str, password: str, network: str, judge: Judge) -> Session:
        """`judge` the attempt, charged before and taken back when it was right or could not be judged."""
        now = self._now()
        wait_s = max(self._logins.wait_s(login_hash, now), self._networks.wait_s(network, now))
        if wait_s > 0:
            raise Refused("throttled", "too many attempts; wait and try again", status=429, retry_after_s=wait_s)
        self._logins.charge(login_hash, now)
        self._networks.charge(network, now)
        try:
            session = await judge(login_hash, password, network)
        except Unavailable:
            self._logins.refund(login_hash, now)
            self._networks.refund(network, now)
            raise
        self._logins.forgive(login_hash)
        self._networks.refund(network, now)
        return session

    async def _anywhere(self, login_hash: str, password: str, network: str) -> Session:
        known = await self._store.shared.login(login_hash)
        region = known.region if known else await self._ask_around(login_hash)
        if region in (None, self._region):
            return await self._here(login_hash, password, network)
        ask = rpc.encode(rpc.SignInAsk(login_hash, password, network))
        answer = await self._bus.request(region, rpc.SIGN_IN, ask, HOME_TIMEOUT_S)
        return rpc.decode_answer(answer, Session, region)

    async def _here(self, login_hash: str, password: str, _network: str) -> Session:
        found = await self._store.credential(login_hash)
        right = await self._passwords.verify(password, found.password if found else None)
        person = await self._store.person(found.person) if found and right else None
        if found is None or person is None:
            _refuse()
        if self._passwords.wants_new_hash(found.password):
            await self._store.renew_hash(found, await self._passwords.hash(password))
        return await self._sessions.open(person)

    async def _ask_around(self, login_hash: str) -> str | None:
        """Where a login belongs that is not known here yet; None when all regions say: nowhere."""
        ask = rpc.encode(rpc.FindAsk(login_hash))
        return decide_home(await asyncio.gather(*(self._ask(peer, ask) for peer in sorted(self._plane.peers))))

    async def _ask(self, peer: str, ask: bytes) -> str | Unavailable | None:
        try:
            answer = await self._bus.request(peer, rpc.FIND, ask, SIGN_IN_ASK_S)
            found = rpc.decode_answer(answer, rpc.FindAnswer, peer).region
        except Unavailable as trouble:
            return trouble
        except Refused as refusal:
            return Unavailable(refusal.code, f"region {peer} would not say", region=peer)
        return found if found is None or found in self._plane.open_regions else None


def decide_home(answers: Iterable[str | Unavailable | None]) -> str | None:
    """The region that some answer names; None when all say nobody; `Unavailable` when a silent one might know."""
    answers = list(answers)
    for answer in answers:
        if isinstance(answer, str):
            return answer
    if any(isinstance(answer, Unavailable) for answer in answers):
        raise Unavailable("directory_incomplete", "some regions do not answer now; try again in a moment")
    return None


def _refuse() -> NoReturn:
    raise Refused("sign_in_refused", "the login or the password is wrong", status=401)
