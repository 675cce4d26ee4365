"""What the directory needs from outside: a store of its region, and the bus between regions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from moonbow.federation.shared import SharedLog
from moonbow.wire.shared import LogEntry

from .model import CompanyRow, Credential, Family, PersonChange, PersonRow, Revocation, Turn

Heard = Callable[[str, bytes], Awaitable[None] | None]


class Store(Protocol):
    """One region's companies, people, credentials and sessions.  Every method is one transaction.

    Raises `Unavailable` when the engine does not answer in time, `Refused` where a method says so.
    """

    @property
    def shared(self) -> SharedLog: ...

    async def put_company(self, company: CompanyRow) -> None: ...
    async def company(self, ident: str) -> CompanyRow | None: ...

    async def create_person(self, person: PersonRow, password: str) -> None:
        """Add a person and the hash of their password; `Refused` (409 `login_taken`) if the login stands here."""
        ...

    async def person(self, ident: str) -> PersonRow | None: ...

    async def people(
        self, company: str, query: str, after: tuple[str, str] | None, limit: int
    ) -> list[tuple[tuple[str, str], PersonRow]]:
        """People of a company whose name holds `query` (folded), after the sort key, each with its sort key."""
        ...

    async def everyone(self, after: str, limit: int) -> list[tuple[str, str]]:
        """People beyond the id `after`, by id, each with their company's id."""
        ...

    async def persons(self, idents: Sequence[str]) -> list[PersonRow]:
        """Those of `idents` who stand, in no order."""
        ...

    async def change_person(self, ident: str, change: PersonChange, spare_sid: str, now: float) -> list[Revocation]:
        """Apply `change`; a new password ends all sessions but `spare_sid`."""
        ...

    async def sessions(self, ident: str) -> int:
        """How many sessions a person has."""
        ...

    async def erase_person(self, ident: str, now: float) -> list[Revocation]:
        """Delete profile, credential and sessions, note the erasure, queue the release of the login."""
        ...

    async def erased(self) -> list[str]: ...
    async def releases(self) -> list[tuple[str, str]]:
        """Login hashes to be released, each with its company, oldest first, at most 100."""
        ...

    async def released(self, login_hash: str) -> None: ...

    async def credential(self, login_hash: str) -> Credential | None: ...
    async def renew_hash(self, credential: Credential, password: str) -> None: ...

    async def open_family(self, family: Family, families_max: int) -> list[Revocation]:
        """Begin a session; the person's oldest ones beyond `families_max` end."""
        ...

    async def turn_family(
        self, handle: str, decide: Callable[[Family | None], Turn], now: float
    ) -> tuple[Turn, Family | None, list[Revocation]]:
        """Present a refresh token: `decide` sees the family, its verdict is applied in the same transaction.

        Gives the verdict, the family as it was, and what ended.
        """
        ...

    async def end_sessions(self, person: str, sid: str | None, now: float) -> list[Revocation]:
        """End one session, or all of a person."""
        ...

    async def end_all_sessions(self) -> None:
        """End everybody's sessions, where the tokens that stand are worth nothing any more (a restored region)."""
        ...

    async def revocations(self, after_no: int) -> list[Revocation]: ...
    async def prune(self, now: float) -> None:
        """Forget revocations whose tokens have ended anyway, and expired sessions."""
        ...

    async def claim_login(
        self, company: str, login_hash: str, key_id: str, region: str, now: float
    ) -> list[LogEntry] | None:
        """At the company's home: give the login to `region`, and the company to the region.

        None if another has it; an empty list if it stands so already.
        """
        ...

    async def release_login(self, company: str, login_hash: str, region: str, now: float) -> list[LogEntry]:
        """At the company's home: tombstone a login of `company` that leads to `region`."""
        ...

    async def close(self) -> None: ...


class Bus(Protocol):
    """The part of `moonbow.bus.client.Bus` that the directory uses."""

    async def publish_region(self, subject: str, payload: bytes) -> None: ...
    async def listen_region(self, subject: str, handler: Heard, queue: str = "") -> None: ...
    async def publish(self, subject: str, payload: bytes) -> None: ...
    async def listen(self, subject: str, handler: Heard, queue: str = "") -> None: ...
    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = ...) -> bytes: ...
    def on_trouble(self, callback: Callable[[str], None]) -> None: ...
    def reachable(self, region: str) -> bool: ...
