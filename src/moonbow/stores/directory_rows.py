"""What the transactions of the directory's store do, statement by statement, inside a transaction of the caller.

Each of them may be run twice: what a first run did, a second one finds done.  It then gives no revocations or log
entries to tell of; those who did not hear find them by asking (`revocations`, the heads of the shared plane).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, Row, bindparam, delete, insert, select, update

from moonbow.base.errors import Refused
from moonbow.base.limits import ACCESS_TOKEN_S
from moonbow.directory.model import Family, PersonChange, PersonRow, Revocation, Turn
from moonbow.wire.shared import CompanyRegions, LogEntry, Login, SharedRecord

from . import directory_tables as tables
from . import shared_sql
from .directory_tables import credential, family, login_owner, next_revocation, person, revocation
from .tables import Replace, insert_missing

KEEP_REVOCATION_S = 2.0 * ACCESS_TOKEN_S
PERSON = tuple(person.c[name] for name in PersonRow.__struct_fields__)
FAMILY = tuple(family.c[name] for name in Family.__struct_fields__)

_ident: BindParameter[str] = bindparam("ident")
_hash: BindParameter[str] = bindparam("hash")
_who_has = select(person.c.id).where(person.c.login_hash == _hash)
_add_person = insert(person)
_add_credential = insert(credential)
_rename = update(person).where(person.c.id == _ident).values(name=bindparam("new_name"), sort=bindparam("new_sort"))
_new_role = update(person).where(person.c.id == _ident).values(role=bindparam("new_role"))
_new_password = update(credential).where(credential.c.person == _ident).values(password=bindparam("new_password"))
_login_of = select(person.c.login_hash, person.c.company).where(person.c.id == _ident)
_queue_release = insert(tables.release)
_note_erased = insert_missing(tables.erased)
_drop_credential = delete(credential).where(credential.c.person == _ident)
_drop_person = delete(person).where(person.c.id == _ident)
_stands = select(person.c.id).where(person.c.id == _ident)
_surplus = (
    select(family.c.sid)
    .where(family.c.person == _ident)
    .order_by(family.c.made_at.desc(), family.c.sid.desc())
    .offset(bindparam("kept"))
)
_add_family = insert(family)
_family = select(*FAMILY).where(family.c.handle == bindparam("handle")).with_for_update()
_turn = (
    update(family)
    .where(family.c.handle == bindparam("of"))
    .values({name: bindparam(name) for name in Family.__struct_fields__ if name != "handle"})
)
_end_all = delete(family).where(family.c.person == _ident, family.c.sid != bindparam("spare")).returning(family.c.sid)
_end_one = _end_all.where(family.c.sid == bindparam("only"))
_add_revocation = insert(revocation)
_owner = select(login_owner.c.company).where(login_owner.c.login_hash == _hash)
_own_login = Replace(login_owner)
_disown_login = delete(login_owner).where(login_owner.c.login_hash == _hash)


def sort_key(name: str) -> str:
    """A name as it is sorted and searched: casefolded, without accents, its first 64 characters."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))[:64]


def person_of(row: Row[Any]) -> PersonRow:
    """The person of a row that begins with `PERSON`."""
    return PersonRow(**dict(zip(PersonRow.__struct_fields__, row, strict=False)))


def family_of(row: Row[Any]) -> Family:
    return Family(**dict(zip(Family.__struct_fields__, row, strict=True)))


def create_person(db: Connection, person: PersonRow, password: str) -> None:
    holder = db.scalar(_who_has, {"hash": person.login_hash})
    if holder == person.id:
        return
    if holder is not None:
        raise Refused("login_taken", "this login is taken", status=409, place="$.login")
    db.execute(_add_person, {**msgspec.structs.asdict(person), "sort": sort_key(person.name)})
    db.execute(_add_credential, {"login_hash": person.login_hash, "person": person.id, "password": password})


def change_person(db: Connection, ident: str, change: PersonChange, spare_sid: str, now: float) -> list[Revocation]:
    if change.name is not None:
        db.execute(_rename, {"ident": ident, "new_name": change.name, "new_sort": sort_key(change.name)})
    if change.role is not None:
        db.execute(_new_role, {"ident": ident, "new_role": change.role})
    if change.password is None:
        return []
    db.execute(_new_password, {"ident": ident, "new_password": change.password})
    return end_sessions(db, ident, None, spare_sid, now)


def erase_person(db: Connection, ident: str, now: float) -> list[Revocation]:
    row = db.execute(_login_of, {"ident": ident}).first()
    if row is None:
        return []
    db.execute(_queue_release, {"login_hash": row.login_hash, "company": row.company})
    db.execute(_note_erased, {"person": ident, "at": now})
    ended = end_sessions(db, ident, None, "", now)
    db.execute(_drop_credential, {"ident": ident})
    db.execute(_drop_person, {"ident": ident})
    return ended


def open_family(db: Connection, family: Family, families_max: int) -> list[Revocation]:
    if not db.scalar(_stands, {"ident": family.person}):
        raise Refused("sign_in_refused", "the login or the password is wrong", status=401)
    if db.execute(_family, {"handle": family.handle}).first():
        return []
    surplus = db.scalars(_surplus, {"ident": family.person, "kept": families_max - 1}).all()
    db.execute(_add_family, msgspec.structs.asdict(family))
    return [ended for sid in surplus for ended in end_sessions(db, family.person, sid, "", family.made_at)]


def turn_family(
    db: Connection, handle: str, decide: Callable[[Family | None], Turn], now: float
) -> tuple[Turn, Family | None, list[Revocation]]:
    row = db.execute(_family, {"handle": handle}).first()
    family = family_of(row) if row else None
    turn = decide(family)
    if family is None or turn.verdict == "replayed":
        return turn, family, []
    if turn.family is None:
        return turn, family, end_sessions(db, family.person, family.sid, "", now)
    values = msgspec.structs.asdict(turn.family)
    db.execute(_turn, {**values, "of": values.pop("handle")})
    return turn, family, []


def end_sessions(db: Connection, person: str, sid: str | None, spare_sid: str, now: float) -> list[Revocation]:
    """End one session, or all of a person but `spare_sid`."""
    which = {"ident": person, "spare": spare_sid}
    ended = db.scalars(_end_all, which) if sid is None else db.scalars(_end_one, which | {"only": sid})
    return [_revoke(db, person, gone, now) for gone in ended.all()]


def _revoke(db: Connection, person: str, sid: str, now: float) -> Revocation:
    number = next_revocation(db)
    db.execute(_add_revocation, {"no": number, "person": person, "sid": sid, "before_at": now})
    return Revocation(no=number, person=person, sid=sid, before=now)


def claim_login(
    db: Connection, origin: str, company: str, login_hash: str, key_id: str, region: str, now: float
) -> list[LogEntry] | None:
    shared_sql.hold(db, origin)
    standing = shared_sql.find(db, "login", login_hash)
    owner = db.scalar(_owner, {"hash": login_hash})
    if isinstance(standing, Login) and (owner != company or standing.region != region):
        return None
    found = shared_sql.find(db, "company", company)
    regions = found.regions if isinstance(found, CompanyRegions) else ()
    drafts: list[SharedRecord] = [Login(hash=login_hash, key_id=key_id, region=region, version=0)]
    if region not in regions:
        everywhere = tuple(sorted({*regions, region}))
        drafts.insert(0, CompanyRegions(company=company, home=origin, regions=everywhere, version=0))
    db.execute(_own_login, {"login_hash": login_hash, "company": company})
    return shared_sql.append(db, origin, drafts, now)


def release_login(
    db: Connection, origin: str, company: str, login_hash: str, region: str, now: float
) -> list[LogEntry]:
    shared_sql.hold(db, origin)
    standing = shared_sql.find(db, "login", login_hash)
    owner = db.scalar(_owner, {"hash": login_hash})
    if owner != company or not isinstance(standing, Login) or standing.region != region:
        return []
    db.execute(_disown_login, {"hash": login_hash})
    return shared_sql.append(db, origin, [msgspec.structs.replace(standing, gone=True)], now)
