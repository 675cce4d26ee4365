"""Adding, changing and erasing people, wherever they rest.

Laws: the company's home alone writes its logins; a person's row is made, changed and erased in the person's own region
only; that region decides again, with its own look at the person; the release of an erased login is queued in the
transaction of the erasure and shipped until its company's home has it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home, new_id, parse_id
from moonbow.federation.shared import SharedPlane
from moonbow.vault.erasing import Erasing, rfc3339
from moonbow.vault.erasing import Erasure as Begun
from moonbow.vault.ports import Keys
from moonbow.wire.rest import ChangePerson, Erased, Erasure, NewPerson
from moonbow.wire.values import Person

from . import rpc
from .access import access_company, refresh_company
from .login import LoginKey, normal_login
from .model import Claims, PersonChange, PersonRow, as_person
from .passwords import Passwords, check_new_password
from .ports import Bus, Store
from .roles import Actor, Decision, decide_add, decide_change, decide_erase, decide_see_erasure
from .sessions import Sessions

CREATE_TIMEOUT_S = 3.0
KEYS_PAGE = 500
T = TypeVar("T")
A = TypeVar("A", rpc.ClaimAsk, rpc.ReleaseAsk, rpc.CreateAsk, rpc.ChangeAsk, rpc.EraseAsk)
_NONE = type(None)


class Staffing:
    """One gateway's hand in who works here."""

    def __init__(
        self,
        region: str,
        login_key: LoginKey,
        store: Store,
        plane: SharedPlane,
        sessions: Sessions,
        passwords: Passwords,
        bus: Bus,
        keys: Keys,
        erasing: Erasing,
        now: Callable[[], float],
    ) -> None:
        self._region = region
        self._key = login_key
        self._store = store
        self._plane = plane
        self._sessions = sessions
        self._passwords = passwords
        self._bus = bus
        self._keys = keys
        self._erasing = erasing
        self._now = now

    async def add(self, claims: Claims, new: NewPerson) -> Person:
        """Add a colleague.  `Refused`: not_allowed (403), login_taken (409), region_unknown, password_weak …"""
        actor = await self._actor(claims)
        _require(decide_add(actor, new.role))
        region = new.region or self._region
        if region not in self._plane.open_regions:
            raise Refused("region_unknown", f"there is no region {region!r} to belong to", place="$.region")
        login = normal_login(new.login)
        check_new_password(new.password, login)
        name = _clean_name(new.name)
        password = await self._passwords.hash(new.password)
        login_hash = self._key.hash(login)
        await self._at(
            home(actor.company),
            rpc.CLAIM,
            rpc.ClaimAsk(actor.company, login_hash, self._key.id, region),
            self._claim,
            _NONE,
        )
        ask = rpc.CreateAsk(actor.company, login, login_hash, password, name, new.role)
        try:
            return await self._at(region, rpc.CREATE, ask, self._create, Person)
        except Refused as refusal:
            if refusal.code != "login_taken":
                release = rpc.ReleaseAsk(actor.company, login_hash, region)
                await self._at(home(actor.company), rpc.RELEASE, release, self._release, _NONE)
            raise

    async def change(self, claims: Claims, ident: str, change: ChangePerson) -> Person:
        """Change a colleague or oneself.  `Refused`: not_allowed (403), person_unknown (404), password_weak."""
        actor = await self._actor(claims)
        region = self._home_of(ident)
        if change.password is not None:
            check_new_password(change.password, ident)
        wanted = PersonChange(
            name=_clean_name(change.name) if change.name is not None else None,
            role=change.role,
            password=await self._passwords.hash(change.password) if change.password is not None else None,
        )
        spare = claims.sid if ident == actor.person else ""
        ask = rpc.ChangeAsk(actor.person, actor.role, actor.company, ident, wanted, spare)
        return await self._at(region, rpc.CHANGE, ask, self._change, Person)

    async def erase(self, claims: Claims, ident: str) -> Erased:
        """Erase a person and everything that every room of their region keeps of them."""
        actor = await self._actor(claims)
        ask = rpc.EraseAsk(actor.person, actor.role, actor.company, ident)
        return await self._at(self._home_of(ident), rpc.ERASE, ask, self._erase, Erased)

    async def erasure(self, claims: Claims, ident: str) -> Erasure:
        """How far the erasure of a colleague is.  `Refused`: not_allowed (403), person_unknown (404)."""
        actor = await self._actor(claims)
        ask = rpc.EraseAsk(actor.person, actor.role, actor.company, ident)
        return await self._at(self._home_of(ident), rpc.ERASURE, ask, self._erasure, Erasure)

    async def erase_here(self, ident: str) -> dict[str, int]:
        """End and delete what the directory keeps of a person of this region.  Safe to repeat."""
        ended = await self._store.erase_person(ident, self._now())
        await self._sessions.tell(ended)
        return {"profile": 1, "credential": 1, "sessions": len(ended)}

    async def provide_keys(self) -> int:
        """Give a key to everybody who has none yet, as in a region from before texts were sealed; how many."""
        made, after = 0, ""
        while page := await self._store.everyone(after, KEYS_PAGE):
            after = page[-1][0]
            by_company: dict[str, list[str]] = {}
            for person, company in page:
                by_company.setdefault(company, []).append(person)
            for company, people in by_company.items():
                made += await self._keys.provide_all(company, people)
        return made

    async def serve_claim(self, caller: str, payload: bytes) -> bytes:
        ask = rpc.decode_ask(payload, rpc.ClaimAsk)
        await access_company(self._plane, caller, ask.company)
        await self._claim(ask)
        return rpc.encode(None)

    async def serve_release(self, caller: str, payload: bytes) -> bytes:
        ask = rpc.decode_ask(payload, rpc.ReleaseAsk)
        await access_company(self._plane, caller, ask.company)
        await self._release(ask)
        return rpc.encode(None)

    async def serve_create(self, caller: str, payload: bytes) -> bytes:
        ask = rpc.decode_ask(payload, rpc.CreateAsk)
        await access_company(self._plane, caller, ask.company)
        return rpc.encode(await self._create(ask))

    async def serve_change(self, caller: str, payload: bytes) -> bytes:
        ask = rpc.decode_ask(payload, rpc.ChangeAsk)
        await self._access_actor(caller, ask.company, ask.actor)
        return rpc.encode(await self._change(ask))

    async def serve_erase(self, caller: str, payload: bytes) -> bytes:
        ask = rpc.decode_ask(payload, rpc.EraseAsk)
        await self._access_actor(caller, ask.company, ask.actor)
        return rpc.encode(await self._erase(ask))

    async def serve_erasure(self, caller: str, payload: bytes) -> bytes:
        ask = rpc.decode_ask(payload, rpc.EraseAsk)
        await self._access_actor(caller, ask.company, ask.actor)
        return rpc.encode(await self._erasure(ask))

    async def ship_releases(self) -> None:
        """Tell companies' homes of logins that are free again; what cannot be told now stays queued."""
        for login_hash, company in await self._store.releases():
            ask = rpc.ReleaseAsk(company, login_hash, self._region)
            try:
                await self._at(home(company), rpc.RELEASE, ask, self._release, _NONE)
            except Unavailable:
                continue
            await self._store.released(login_hash)

    async def _claim(self, ask: rpc.ClaimAsk) -> None:
        self._require_own_company(ask.company)
        if ask.region not in self._plane.open_regions:
            raise Refused("region_unknown", "there is no such region to belong to", place="$.region")
        added = await self._store.claim_login(ask.company, ask.login_hash, ask.key_id, ask.region, self._now())
        if added is None:
            raise Refused("login_taken", "this login is taken", status=409, place="$.login")
        await self._plane.tell(added)

    async def _release(self, ask: rpc.ReleaseAsk) -> None:
        self._require_own_company(ask.company)
        await self._plane.tell(await self._store.release_login(ask.company, ask.login_hash, ask.region, self._now()))

    def _require_own_company(self, company: str) -> None:
        if home(company) != self._region:
            raise Refused("not_yours", "this company's home is another region", status=403)

    async def _create(self, ask: rpc.CreateAsk) -> Person:
        await refresh_company(self._plane, ask.company)
        login = await self._store.shared.login(ask.login_hash)
        if login is None or login.region != self._region or self._key.hash(ask.login) != ask.login_hash:
            raise Refused("login_unclaimed", "the company's home has not given this login to this region", status=409)
        row = PersonRow(
            id=new_id("usr", self._region),
            company=ask.company,
            name=ask.name,
            role=ask.role,
            login=ask.login,
            login_hash=ask.login_hash,
            made_at=self._now(),
        )
        await self._keys.provide(row.id, row.company)  # first: whoever exists can write
        await self._store.create_person(row, ask.password)
        return as_person(row)

    async def _change(self, ask: rpc.ChangeAsk) -> Person:
        row = await self._person(ask.person)
        actor = Actor(ask.actor, ask.company, ask.actor_role)
        wanted = ask.change
        _require(
            decide_change(
                actor,
                _as_actor(row),
                role=wanted.role,
                name=wanted.name is not None,
                password=wanted.password is not None,
            )
        )
        await self._sessions.tell(await self._store.change_person(row.id, wanted, ask.spare_sid, self._now()))
        return as_person(await self._person(row.id))

    async def _erase(self, ask: rpc.EraseAsk) -> Erased:
        row = await self._store.person(ask.person)
        if row is None:  # asked again: the profile goes early, the rest may be under way or have been cut short
            await self._begun(ask)
        else:
            _require(decide_erase(Actor(ask.actor, ask.company, ask.actor_role), _as_actor(row)))
            held = {"profile": 1, "credential": 1, "sessions": await self._store.sessions(row.id)}
            await self._erasing.begin(row.id, row.company, {"directory": held})
        done = await self._erasing.finish(ask.person)
        return Erased(person=ask.person, rooms=done.counts.get("timeline", {}).get("rooms", 0), receipt=done.receipt)

    async def _begun(self, ask: rpc.EraseAsk) -> Begun:
        """The erasure that was begun, if whoever asks may see it."""
        found = await self._erasing.find(ask.person)
        if found is None:
            raise Refused("person_unknown", "there is nobody with this id, and nobody with it was erased", status=404)
        _require(decide_see_erasure(Actor(ask.actor, ask.company, ask.actor_role), found.company))
        return found

    async def _erasure(self, ask: rpc.EraseAsk) -> Erasure:
        found = await self._begun(ask)
        state: Literal["done", "under_way"] = "done" if found.receipt else "under_way"
        return Erasure(person=found.person, state=state, asked_at=rfc3339(found.asked_at), receipt=found.receipt)

    async def _at(self, region: str, op: str, ask: A, here: Callable[[A], Awaitable[T]], kind: type[T]) -> T:
        """Do `ask` in `region`: `here` if that is home, else by asking it for an answer of `kind`."""
        if region == self._region:
            return await here(ask)
        if region not in self._plane.peers:
            raise Refused("region_unknown", f"there is no region {region!r} to ask", status=404)
        answer = await self._bus.request(region, op, rpc.encode(ask), CREATE_TIMEOUT_S)
        return rpc.decode_answer(answer, kind, region)

    async def _actor(self, claims: Claims) -> Actor:
        """Who asks, with the role they have now rather than when the token was made."""
        row = await self._store.person(claims.sub)
        if row is None:
            raise Refused("token_revoked", "this person is no longer here", status=401)
        return _as_actor(row)

    async def _access_actor(self, caller: str, company: str, actor: str) -> None:
        """A region vouches for its own people only."""
        await access_company(self._plane, caller, company)
        if home(parse_id(actor, "usr", place="$.actor")) != caller:
            raise Refused("not_yours", "a region speaks for its own people only", status=403)

    async def _person(self, ident: str) -> PersonRow:
        row = await self._store.person(ident)
        if row is None:
            raise Refused("person_unknown", "there is nobody with this id", status=404)
        return row

    def _home_of(self, ident: str) -> str:
        return home(parse_id(ident, "usr", place="id"))


def _as_actor(row: PersonRow) -> Actor:
    return Actor(row.id, row.company, row.role)


def _require(decision: Decision) -> None:
    if not decision.allowed:
        raise Refused("not_allowed", decision.reason, status=403)


def _clean_name(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", name).split())
    if not text or any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise Refused("name_malformed", "a name has 1 to 80 visible characters", place="$.name")
    return text
