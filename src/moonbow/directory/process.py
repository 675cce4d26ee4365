"""The directory in a gateway: what it is made of, its background loop, and the operations other regions may ask.

Settings: none but the world; limits and times are constants beside what they bound.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry

from moonbow.base.errors import Refused, Unavailable
from moonbow.federation.shared import LOG_OP, SharedPlane
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_directory
from moonbow.vault.erasing import Erasing
from moonbow.vault.ports import Keys
from moonbow.wire.rest import ChangePerson, Erased, Erasure, NewPerson, Session
from moonbow.wire.shared import PublicKey, SharedRecord
from moonbow.wire.values import Person
from moonbow.world import SiteRef, World

from . import rpc
from .cursors import Cursors
from .jwks import jwks_paths, render_jwks, write_jwks
from .keys import ROTATE_AFTER_S, KeyRing, plan_keys
from .login import login_key_path, read_login_key
from .metrics import Metrics
from .model import Claims
from .passwords import Passwords
from .people import Page, People, Tags
from .ports import Bus, Store
from .refresh import parse_refresh_token
from .sessions import OnRevoked, Sessions
from .sign_in import REFUSAL_FLOOR_S, SignIn
from .staffing import Staffing

TICK_S = 1.0  # revocations lost on the bus are found this fast, keys and jwks.json follow
PRUNE_TICKS = 600
REFRESH_TIMEOUT_S = 2.0
log = logging.getLogger("moonbow.directory")
Served = Callable[[str, bytes], Awaitable[bytes]]


def open_regions(world: World) -> frozenset[str]:
    """The regions that share: all but the sealed ones."""
    return frozenset(name for name, region in world.regions.items() if not region.sealed)


class Directory:
    """Companies, people, credentials and sessions, as one gateway of a region serves them."""

    def __init__(
        self,
        world: World,
        state: Path,
        ref: SiteRef,
        store: Store,
        bus: Bus,
        keys: Keys,
        erasing: Erasing,
        *,
        registry: CollectorRegistry | None = None,
        now: Callable[[], float] = time.time,
        refusal_floor_s: float = REFUSAL_FLOOR_S,
    ) -> None:
        self.region = ref.region
        self.metrics = Metrics(registry or CollectorRegistry())
        self.store = store
        self._bus = bus
        self._now = now
        self._jwks = jwks_paths(world, state, ref.site.name)
        self._ring = KeyRing(ref.region, state / "regions" / ref.region / "keys")
        secret = self._ring.open(now())
        login_key = read_login_key(login_key_path(state, ref.region, world.regions[ref.region].sealed))
        passwords = self._passwords = Passwords(self.metrics.verify.observe)
        plane = self.plane = SharedPlane(ref.region, open_regions(world), store.shared, bus, self._wake_up)
        sealed = world.regions[ref.region].sealed  # whoever steers the world's traffic belongs to an open region
        operators = frozenset() if sealed else frozenset(map(login_key.hash, world.operators))
        sessions = self._sessions = Sessions(self._ring, secret, store, bus, self.metrics, now, operators)
        people = self._people = People(ref.region, store, plane, bus, Cursors(secret), now)
        staffing = self._staffing = Staffing(
            ref.region, login_key, store, plane, sessions, passwords, bus, keys, erasing, now
        )
        erasing.ask("directory", self)
        sign_in = self._sign_in = SignIn(
            ref.region, login_key, store, plane, sessions, passwords, bus, self.metrics, now, refusal_floor_s
        )
        self._served: dict[str, Served] = {
            LOG_OP: plane.serve,
            rpc.SIGN_IN: sign_in.serve_sign_in,
            rpc.FIND: sign_in.serve_find,
            rpc.REFRESH: self._serve_refresh,
            rpc.PEOPLE: people.serve_people,
            rpc.PERSONS: people.serve_persons,
            rpc.COMPANY: people.serve_company,
            rpc.CLAIM: staffing.serve_claim,
            rpc.RELEASE: staffing.serve_release,
            rpc.CREATE: staffing.serve_create,
            rpc.CHANGE: staffing.serve_change,
            rpc.ERASE: staffing.serve_erase,
            rpc.ERASURE: staffing.serve_erasure,
        }
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def open(
        cls,
        world: World,
        state: Path,
        ref: SiteRef,
        bus: Bus,
        keys: Keys,
        erasing: Erasing,
        registry: CollectorRegistry | None = None,
    ) -> Directory:
        """The directory of a gateway of site `ref`, on the region's engine; `ConfigError` if a secret is missing."""
        store = open_directory(world, state, HomeRegion.of(ref), ref.site.name)
        return cls(world, state, ref, store, bus, keys, erasing, registry=registry)

    async def start(self) -> None:
        """Announce the own keys, listen, learn what ended, and keep all that up until `close`."""
        await self._passwords.prepare()
        await self._tend_keys()
        await self._write_jwks()
        await self._staffing.provide_keys()
        await self._sessions.start()
        await self.plane.start()
        self._task = asyncio.create_task(self._run(), name="directory")

    async def close(self) -> None:
        """End the background loop and close the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.store.close()

    @property
    def healthy(self) -> bool:
        """Whether the background loop lives; a gateway whose loop has ended must be replaced."""
        return self._task is not None and not self._task.done()

    async def sign_in(self, login: str, password: str, *, client: str) -> Session:
        """A session of the person with this login, wherever they rest.  `client` is the client's IP address.

        `Refused`: login_malformed (400), sign_in_refused (401), throttled (429 with retry_after_s).
        `Unavailable`: directory_incomplete, home_unreachable, sign_in_busy, store_unavailable.
        """
        return await self._sign_in.sign_in(login, password, client)

    async def refresh(self, token: str) -> Session:
        """Renew a session at any door.  `Refused` (401): token_invalid, token_expired, token_revoked."""
        parsed = parse_refresh_token(token)
        if parsed.region == self.region:
            return await self._sessions.refresh(parsed)
        if parsed.region not in self.plane.peers:
            raise Refused("token_invalid", "this refresh token is of no region known here", status=401)
        ask = rpc.encode(rpc.RefreshAsk(token))
        answer = await self._bus.request(parsed.region, rpc.REFRESH, ask, REFRESH_TIMEOUT_S)
        return rpc.decode_answer(answer, Session, parsed.region)

    async def sign_out(self, claims: Claims) -> None:
        """End this session."""
        await self._sessions.end(claims.sub, claims.sid)

    async def sign_out_everywhere(self, claims: Claims) -> None:
        """End all sessions of this person."""
        await self._sessions.end(claims.sub, None)

    def check(self, token: str) -> Claims:
        """What an access token of this region's own people says.

        `Refused` (401): token_invalid, token_foreign, token_expired, token_revoked.
        """
        return self._sessions.check(token)

    def on_revoked(self, callback: OnRevoked) -> None:
        """Call `callback(person, sid, before)` once for each session that ends."""
        self._sessions.on_revoked(callback)

    async def people(self, org: str, query: str = "", cursor: str | None = None, limit: int = 50) -> Page:
        """People of a company by name: a page, the next cursor or None, and the regions that did not answer."""
        return await self._people.page(org, query, cursor, limit)

    async def colleagues(self, org: str, ids: Iterable[str]) -> dict[str, Person]:
        """Those of `ids` who are of company `org`.  `Unavailable` if a region that might know one is silent."""
        return await self._people.colleagues(org, ids)

    async def names(self, ids: Iterable[str]) -> dict[str, str]:
        """Names by id; foreign ones live, remembered for a minute in memory; those out of reach are left out."""
        return await self._people.names(ids)

    async def company_name(self, org: str) -> str:
        """A company's name; empty while its home is out of reach."""
        return await self._people.company_name(org)

    async def add_person(self, claims: Claims, new: NewPerson) -> Person:
        """Add a colleague in any open region.  `Refused`: not_allowed, login_taken, region_unknown, password_weak."""
        return await self._staffing.add(claims, new)

    async def change_person(self, claims: Claims, ident: str, change: ChangePerson) -> Person:
        """Change name, role or password.  `Refused`: not_allowed, person_unknown, password_weak."""
        return await self._staffing.change(claims, ident, change)

    async def erase_person(self, claims: Claims, ident: str) -> Erased:
        """Erase a person, here or elsewhere, from every room of their region.  `Refused`: not_allowed, …"""
        return await self._staffing.erase(claims, ident)

    async def erasure(self, claims: Claims, ident: str) -> Erasure:
        """How far somebody's erasure is, with its receipt, for admins of their company."""
        return await self._staffing.erasure(claims, ident)

    async def erase(self, person: str) -> dict[str, int]:
        """Erase what the directory keeps of a person (`vault.ports.Erasable`)."""
        return await self._staffing.erase_here(person)

    def show_avatars(self, tags: Tags) -> None:
        """Ask `tags` for the pictures of this region's people: the tag of each who has one."""
        self._people.tags = tags

    async def may_see(self, caller: str, person: str) -> bool:
        """Whether region `caller` may be told of a person of ours."""
        return await self._people.may_see(caller, person)

    async def erased(self) -> list[str]:
        """Everybody ever erased in this region: to be erased again after a restore, or a crash between the two."""
        return await self.store.erased()

    async def rotate(self) -> None:
        """Make a new signing key; it signs once the doors know it, and nobody is signed out."""
        await asyncio.to_thread(self._ring.make, self._now())
        await self._tend_keys()
        await self._write_jwks()

    async def serve(self, caller: str, op: str, payload: bytes) -> bytes | None:
        """Answer another region's request; None if the operation is not of this room."""
        if not op.startswith(rpc.PREFIX):
            return None
        served = self._served.get(op)
        if served is None:
            raise Refused("operation_unknown", "this region does not know the operation", status=404)
        if caller not in self.plane.peers:
            raise Refused("not_yours", "nothing is shared with this region", status=403)
        return await served(caller, payload)

    async def _serve_refresh(self, _caller: str, payload: bytes) -> bytes:
        token = parse_refresh_token(rpc.decode_ask(payload, rpc.RefreshAsk).token)
        if token.region != self.region:
            raise Refused("token_invalid", "this refresh token is of another region", status=401)
        return rpc.encode(await self._sessions.refresh(token))

    def _wake_up(self) -> None:
        self._wake.set()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.plane.run())
                tasks.create_task(self._tend())
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.critical("the directory's loop ended", exc_info=True)
            raise

    async def _tend(self) -> None:
        tick = 0
        while True:
            self._wake.clear()
            try:
                await self._round(tick)
            except Unavailable as trouble:  # told in the metric, tried again in a second
                self.metrics.troubles.inc()
                log.warning("directory round put off", extra={"f": {"code": trouble.code}})
            tick += 1
            try:
                await asyncio.wait_for(self._wake.wait(), TICK_S)
            except TimeoutError:
                continue

    async def _round(self, tick: int) -> None:
        await self._sessions.poll()
        await self._tend_keys()
        await self._write_jwks()
        await self._staffing.ship_releases()
        for origin, head in (await self.store.shared.heads()).items():
            self.metrics.shared_seq.labels(origin).set(head.seq)
        self.metrics.shared_refused.set(self.plane.refused_total)
        if tick % PRUNE_TICKS == 0:
            await self.store.prune(self._now())

    async def _tend_keys(self) -> None:
        """Make, announce and retire signing keys as planned."""
        # What is shared is read before the folder: a key's file is written before the key is shared.
        shared = {key.kid: key for key in await self.store.shared.keys() if key.region == self.region}
        if self._ring.refresh():
            self._sessions.forget_checked()
        now = self._now()
        plan = plan_keys(self._ring.files, now)
        if plan.make:
            await asyncio.to_thread(self._ring.make, now, now - ROTATE_AFTER_S)
        wanted = {key.kid: key.x for key in self._ring.files if key.kid not in plan.retire}
        drafts: list[SharedRecord] = [
            PublicKey(region=self.region, kid=kid, x=x, version=0) for kid, x in wanted.items() if kid not in shared
        ]
        drafts += [
            PublicKey(region=self.region, kid=kid, x=key.x, version=0, gone=True)
            for kid, key in shared.items()
            if kid not in wanted
        ]
        if drafts:
            await self.plane.append(drafts, now)
        if plan.retire:
            self._ring.drop(plan.retire)
        self.metrics.keys.set(len(self._ring.files))

    async def _write_jwks(self) -> None:
        content = render_jwks(await self.store.shared.keys())
        for path in self._jwks:
            write_jwks(path, content)
