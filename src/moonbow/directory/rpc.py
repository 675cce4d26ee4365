"""What one region's directory asks of another's, over `private.<owner>.rpc.<caller>.directory.<op>`.

Private data here is on its way to somebody who may see it, and is never stored by the asker.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.wire.values import Person, Role

from .model import PersonChange

PREFIX = "directory."
SIGN_IN = "directory.sign_in"
FIND = "directory.find"
REFRESH = "directory.refresh"
PEOPLE = "directory.people"
PERSONS = "directory.persons"
COMPANY = "directory.company"
CLAIM = "directory.claim"
RELEASE = "directory.release"
CREATE = "directory.create"
CHANGE = "directory.change"
ERASE = "directory.erase"
ERASURE = "directory.erasure"

Hash = Annotated[str, Meta(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")]
Id = Annotated[str, Meta(min_length=10, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
Phc = Annotated[str, Meta(min_length=20, max_length=256, pattern=r"^\$argon2id\$")]
SortKey = tuple[str, str]
PERSONS_MAX = 200


class SignInAsk(msgspec.Struct, frozen=True, array_like=True):
    """Check a password; the answer is a `wire.rest.Session`."""

    login_hash: Hash
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    network: Annotated[str, Meta(max_length=64)]

    def __repr__(self) -> str:
        return "SignInAsk(…)"


class FindAsk(msgspec.Struct, frozen=True, array_like=True):
    """Where a login belongs, as the asked region knows; the answer is a `FindAnswer`."""

    login_hash: Hash


class FindAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The region of a login; None if it is not known there."""

    region: str | None


class RefreshAsk(msgspec.Struct, frozen=True, array_like=True):
    """Renew a session; the answer is a `wire.rest.Session`."""

    token: Annotated[str, Meta(max_length=200)]

    def __repr__(self) -> str:
        return "RefreshAsk(…)"


class PeopleAsk(msgspec.Struct, frozen=True, array_like=True):
    """A page of a company's people; the answer is a list of `Found`."""

    company: Id
    query: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)]
    after: SortKey | None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX + 1)]


class Found(msgspec.Struct, frozen=True, array_like=True):
    """A person and where they sort."""

    key: SortKey
    person: Person


class PersonsAsk(msgspec.Struct, frozen=True, array_like=True):
    """People by id; the answer is a list of `Person`, without those who do not stand or are not for the asker."""

    people: Annotated[list[Id], Meta(max_length=PERSONS_MAX)]


class CompanyAsk(msgspec.Struct, frozen=True, array_like=True):
    """The name of a company; the answer is a string."""

    company: Id


class ClaimAsk(msgspec.Struct, frozen=True, array_like=True):
    """At the company's home: let the login lead to `region`."""

    company: Id
    login_hash: Hash
    key_id: Annotated[str, Meta(min_length=8, max_length=8)]
    region: Annotated[str, Meta(max_length=16)]


class ReleaseAsk(msgspec.Struct, frozen=True, array_like=True):
    """At the company's home: the login leads to `region` no longer."""

    company: Id
    login_hash: Hash
    region: Annotated[str, Meta(max_length=16)]


class CreateAsk(msgspec.Struct, frozen=True, array_like=True):
    """In the person's region: add them; the answer is a `Person`.  `password` is an Argon2id hash."""

    company: Id
    login: Annotated[str, Meta(min_length=3, max_length=254)]
    login_hash: Hash
    password: Phc
    name: Name
    role: Role

    def __repr__(self) -> str:
        return "CreateAsk(…)"


class ChangeAsk(msgspec.Struct, frozen=True, array_like=True):
    """In the person's region: change them; the answer is a `Person`.  The caller's region vouches for the actor."""

    actor: Id
    actor_role: Role
    company: Id
    person: Id
    change: PersonChange
    spare_sid: Annotated[str, Meta(max_length=64)] = ""


class EraseAsk(msgspec.Struct, frozen=True, array_like=True):
    """In the person's region: erase them (the answer is a `wire.rest.Erased`), or say how far that is (`Erasure`)."""

    actor: Id
    actor_role: Role
    company: Id
    person: Id


T = TypeVar("T")
encode = msgspec.msgpack.Encoder().encode


def decode_ask(payload: bytes, kind: type[T]) -> T:
    """A request of another region; `Refused` when it is malformed."""
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except msgspec.DecodeError as error:
        raise Refused("request_malformed", "not a request that this operation knows") from error


def decode_answer(payload: bytes, kind: type[T], region: str) -> T:
    """An answer of another region; `Unavailable` when it is malformed: that region runs something else."""
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable("answer_malformed", f"region {region} answered in a way not known here") from error
