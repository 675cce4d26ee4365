"""Values of the directory: what rests in a region about its companies, people and their sessions.

Times are seconds since 1970.  Hashes are lower-case hex.  Nothing here but `PersonRow.login` is readable text of a
login, and no password or token ever stands in a row.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from moonbow.base.ids import home
from moonbow.wire.values import Person, Role


class CompanyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A company, resting in its home region: the single writer of its logins."""

    id: str
    name: str


class PersonRow(msgspec.Struct, frozen=True, kw_only=True):
    """A person, resting in the region that the id names."""

    id: str
    company: str
    name: str
    role: Role
    login: str
    login_hash: str
    made_at: float


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What proves a person: an Argon2id hash in PHC format, found by the hash of the login."""

    login_hash: str
    person: str
    password: str


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """The refresh tokens of one session: all descend from the first.  Only hashes rest.

    `handle` names the family in its tokens (hashed); `secret` is the hash of the valid one, `previous` of the one
    before, good for a short while after `turned_at` because an answer may have been lost.
    """

    handle: str
    sid: str
    person: str
    secret: str
    previous: str | None
    turned_at: float
    made_at: float
    expires_at: float


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of presenting a refresh token.  `family` is the row to keep; None ends the session."""

    verdict: Literal["rotated", "replayed", "reused", "expired", "unknown"]
    family: Family | None = None


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """The session `sid` of `person` ended at `before`; `no` counts the region's revocations."""

    no: int
    person: str
    sid: str
    before: float


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a checked access token says.  `sid` names the session; `exp` is when it ends, seconds since 1970."""

    iss: str
    sub: str
    home: str
    org: str
    role: Role
    scope: str
    sid: str
    iat: float
    exp: float


class PersonChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a person; None leaves it.  `password` is an Argon2id hash in PHC format."""

    name: str | None = None
    role: Role | None = None
    password: str | None = None


class KnownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key as doors and other regions see it: an Ed25519 JWK's `kid` and `x`."""

    kid: str
    x: str


def as_person(row: PersonRow) -> Person:
    """The person as colleagues see one: no login."""
    return Person(id=row.id, name=row.name, region=home(row.id), role=row.role, company=row.company)
