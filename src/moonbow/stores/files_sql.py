"""`files.ports.Catalogue` on the region's SQL database: what is known of its people's files.

Whatever is decided over several rows of one person (quota, unfinished uploads) is decided while holding that person's
row of `keeper`, so that two sites do not both say yes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import asdict, replace
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    select,
    update,
)  # fmt: skip

from moonbow.base.errors import Refused
from moonbow.files.model import Avatar, ContentRange, Facts, File, Part, Share, Usage
from moonbow.files.policy import check_room_for, decide_part

from .sql import Sql
from .tables import KEPT

T = TypeVar("T")
SHARES_MAX = 100  # entries that carry one file
NAME_BYTES_MAX = 2_048  # sealed
FILES_TABLES = MetaData()
FILE = Table(
    "file", FILES_TABLES,
    Column("id", String(64), primary_key=True), Column("owner", String(64), nullable=False),
    Column("name", LargeBinary(NAME_BYTES_MAX), nullable=False), Column("size", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False), Column("state", String(16), nullable=False),
    Column("type", String(128), nullable=False), Column("made_at", Double, nullable=False),
    Column("expires_at", Double), Column("parts", Integer, nullable=False), Column("reason", String(64)),
    Column("width", Integer), Column("height", Integer), Column("thumbnail", Boolean, nullable=False),
    Column("tries", Integer, nullable=False), Column("due_at", Double), Column("gone", Boolean, nullable=False),
    Column("client_id", String(36)),
    Index("file_by_owner", "owner", "id"), Index("file_by_client", "owner", "client_id"),
    Index("file_by_due", "due_at"),
    **KEPT,
)  # fmt: skip
PART = Table(
    "file_part", FILES_TABLES,
    Column("file", String(64), primary_key=True), Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False), Column("attempt", String(16), nullable=False),
    **KEPT,
)  # fmt: skip
SHARE = Table(
    "file_share", FILES_TABLES,
    Column("file", String(64), primary_key=True), Column("client_id", String(36), primary_key=True),
    Column("room", String(64), nullable=False),
    **KEPT,
)  # fmt: skip
AVATAR = Table(
    "avatar", FILES_TABLES,
    Column("person", String(64), primary_key=True), Column("tag", String(32), nullable=False),
    Column("type", String(64), nullable=False), Column("size", Integer, nullable=False),
    Column("made_at", Double, nullable=False),
    **KEPT,
)  # fmt: skip
KEEPER = Table(
    "file_keeper", FILES_TABLES,
    Column("person", String(64), primary_key=True), Column("turns", BigInteger, nullable=False),
    **KEPT,
)  # fmt: skip
_UNREADY = ("uploading", "checking", "ready")  # states whose bytes count


class SqlFiles:
    """The catalogue of one region."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def close(self) -> None:
        await self._sql.close()

    async def _see(self, work: Callable[[Connection], T], fresh: bool) -> T:
        """A read, or a transaction that changes nothing and so sees whatever any site has acknowledged."""
        return await (self._sql.write(work) if fresh else self._sql.read(work))

    async def create(self, file: File) -> File:
        return await self._sql.write(lambda db: _create(db, file))

    async def file(self, ident: str, *, fresh: bool = False) -> File | None:
        return await self._see(lambda db: _file(db, ident), fresh)

    async def files(self, idents: Sequence[str], *, fresh: bool = False) -> list[File]:
        wanted = select(FILE).where(FILE.c.id.in_(idents), FILE.c.gone.is_(False))
        return await self._see(lambda db: [_file_of(row) for row in db.execute(wanted).mappings().all()], fresh)

    async def parts(self, ident: str) -> list[Part]:
        wanted = select(PART.c.start, PART.c.size, PART.c.attempt).where(PART.c.file == ident).order_by(PART.c.start)
        return await self._sql.read(lambda db: [Part(*row) for row in db.execute(wanted).all()])

    async def add_part(self, ident: str, said: ContentRange, attempt: str, check_at: float) -> tuple[File, bool]:
        return await self._sql.write(lambda db: _add_part(db, ident, said, attempt, check_at))

    async def page(self, owner: str, before: str | None, limit: int) -> list[File]:
        wanted = select(FILE).where(FILE.c.owner == owner, FILE.c.gone.is_(False))
        if before is not None:
            wanted = wanted.where(FILE.c.id < before)
        wanted = wanted.order_by(FILE.c.id.desc()).limit(limit)
        return await self._sql.read(lambda db: [_file_of(row) for row in db.execute(wanted).mappings().all()])

    async def usage(self, owner: str) -> Usage:
        return await self._sql.read(lambda db: _usage(db, owner))

    async def put_off(self, ident: str, tries: int, due_at: float) -> bool:
        change = (
            update(FILE).where(FILE.c.id == ident, FILE.c.tries == tries).values(tries=tries + 1, due_at=due_at)
        )  # fmt: skip
        ours = select(FILE.c.id).where(FILE.c.id == ident, FILE.c.tries == tries + 1, FILE.c.due_at == due_at)

        def work(db: Connection) -> bool:
            return bool(db.execute(change).rowcount) or db.execute(ours).first() is not None

        return await self._sql.write(work)

    async def settle(self, ident: str, facts: Facts, due_at: float | None) -> File | None:
        return await self._sql.write(lambda db: _settle(db, ident, facts, due_at))

    async def delete(self, ident: str, due_at: float) -> bool:
        return await self._sql.write(lambda db: _delete(db, [ident], due_at)["files"] > 0)

    async def due(self, now: float, limit: int) -> list[File]:
        wanted = select(FILE).where(FILE.c.due_at <= now).order_by(FILE.c.due_at).limit(limit)
        return await self._sql.read(lambda db: [_file_of(row) for row in db.execute(wanted).mappings().all()])

    async def forget(self, ident: str) -> None:
        def work(db: Connection) -> None:
            db.execute(delete(PART).where(PART.c.file == ident))
            db.execute(delete(FILE).where(FILE.c.id == ident, FILE.c.gone.is_(True)))

        await self._sql.write(work)

    async def share(self, idents: Sequence[str], share: Share) -> None:
        await self._sql.write(lambda db: _share(db, idents, share))

    async def shares(self, ident: str, *, fresh: bool = False) -> list[Share]:
        wanted = select(SHARE.c.room, SHARE.c.client_id).where(SHARE.c.file == ident).limit(SHARES_MAX)
        return await self._see(lambda db: [Share(*row) for row in db.execute(wanted).all()], fresh)

    async def avatar(self, person: str) -> Avatar | None:
        return await self._sql.read(lambda db: _avatar(db, person))

    async def avatars(self, people: Sequence[str]) -> dict[str, str]:
        wanted = select(AVATAR.c.person, AVATAR.c.tag).where(AVATAR.c.person.in_(people))
        return await self._sql.read(lambda db: {person: tag for person, tag in db.execute(wanted).all()})

    async def set_avatar(self, person: str, avatar: Avatar | None) -> Avatar | None:
        return await self._sql.write(lambda db: _set_avatar(db, person, avatar))

    async def erase(self, person: str, due_at: float) -> dict[str, int]:
        def work(db: Connection) -> dict[str, int]:
            mine = db.scalars(select(FILE.c.id).where(FILE.c.owner == person, FILE.c.gone.is_(False))).all()
            found = _delete(db, mine, due_at)
            found["avatars"] = db.execute(delete(AVATAR).where(AVATAR.c.person == person)).rowcount
            db.execute(delete(KEEPER).where(KEEPER.c.person == person))
            return found

        return await self._sql.write(work)

    async def scrub(self) -> None:
        """Empty the log of what was erased: apart from `erase`, whose counts are noted before this may fail."""
        await self._sql.scrub()


def _file(db: Connection, ident: str) -> File | None:
    row = db.execute(select(FILE).where(FILE.c.id == ident, FILE.c.gone.is_(False))).mappings().first()
    return _file_of(row) if row is not None else None


def _file_of(row: Any) -> File:
    return File(**row)


def _hold(db: Connection, person: str) -> None:
    """Let nobody else decide about this person's files until we have."""
    if not db.execute(update(KEEPER).where(KEEPER.c.person == person).values(turns=KEEPER.c.turns + 1)).rowcount:
        db.execute(insert(KEEPER).values(person=person, turns=1))


def _usage(db: Connection, owner: str) -> Usage:
    taken = func.sum(case((FILE.c.state.in_(_UNREADY), FILE.c.size), else_=0))
    uploads = func.sum(case((FILE.c.state == "uploading", 1), else_=0))
    asked = select(taken, uploads, func.count()).where(FILE.c.owner == owner, FILE.c.gone.is_(False))
    return Usage(*(int(found or 0) for found in db.execute(asked).one()))


def _create(db: Connection, file: File) -> File:
    if (made := _file(db, file.id)) is not None:
        return made
    _hold(db, file.owner)
    if file.client_id is not None:  # nobody else announces for this person while we hold their row
        wanted = select(FILE).where(FILE.c.owner == file.owner, FILE.c.client_id == file.client_id)
        if (row := db.execute(wanted).mappings().first()) is not None:
            return _file_of(row)
    check_room_for(file.size, _usage(db, file.owner))
    db.execute(insert(FILE).values(**asdict(file)))
    return file


def _add_part(db: Connection, ident: str, said: ContentRange, attempt: str, check_at: float) -> tuple[File, bool]:
    file = _file(db, ident)
    if file is None:
        raise Refused("file_unknown", "there is no such file", status=404, place="$path.file")
    if decide_part(file, said) == "stored":  # perhaps by this very attempt, whose outcome was unknown
        ours = select(PART.c.start).where(PART.c.file == ident, PART.c.start == said.first, PART.c.attempt == attempt)
        return file, db.execute(ours).first() is not None
    whole = said.last + 1 == file.size
    grown = replace(file, received=said.last + 1, parts=file.parts + 1, state="checking" if whole else file.state)
    grown = replace(grown, due_at=check_at) if whole else grown
    db.execute(
        update(FILE)
        .where(FILE.c.id == ident, FILE.c.received == file.received)
        .values(received=grown.received, parts=grown.parts, state=grown.state, due_at=grown.due_at)
    )
    db.execute(insert(PART).values(file=ident, start=said.first, size=said.last - said.first + 1, attempt=attempt))
    return grown, True


def _settle(db: Connection, ident: str, facts: Facts, due_at: float | None) -> File | None:
    file = _file(db, ident)
    if file is None or file.state != "checking":
        return file
    values = {
        "state": "refused" if facts.refused else "ready", "reason": facts.refused, "type": facts.type,
        "width": facts.width, "height": facts.height, "thumbnail": facts.thumbnail, "tries": 0, "due_at": due_at,
    }  # fmt: skip
    db.execute(update(FILE).where(FILE.c.id == ident).values(**values))
    return _file(db, ident)


def _delete(db: Connection, idents: Sequence[str], due_at: float) -> dict[str, int]:
    """Mark files as gone, in pieces that a statement can take."""
    files = shares = 0
    for start in range(0, len(idents), 500):
        some = idents[start : start + 500]
        shares += db.execute(delete(SHARE).where(SHARE.c.file.in_(some))).rowcount
        gone = {"gone": True, "name": b"", "reason": None, "tries": 0, "due_at": due_at}
        files += db.execute(update(FILE).where(FILE.c.id.in_(some), FILE.c.gone.is_(False)).values(**gone)).rowcount
    return {"files": files, "shares": shares}


def _share(db: Connection, idents: Sequence[str], share: Share) -> None:
    for ident in idents:
        known = db.scalars(select(SHARE.c.client_id).where(SHARE.c.file == ident)).all()
        if share.client_id in known:
            continue
        if len(known) >= SHARES_MAX:
            raise Refused("shares_too_many", f"a file goes into {SHARES_MAX} entries at most", status=409)
        db.execute(insert(SHARE).values(file=ident, client_id=share.client_id, room=share.room))


def _avatar(db: Connection, person: str) -> Avatar | None:
    row = db.execute(select(AVATAR).where(AVATAR.c.person == person)).mappings().first()
    return Avatar(**row) if row is not None else None


def _set_avatar(db: Connection, person: str, avatar: Avatar | None) -> Avatar | None:
    before = _avatar(db, person)
    db.execute(delete(AVATAR).where(AVATAR.c.person == person))
    if avatar is not None:
        db.execute(insert(AVATAR).values(**asdict(avatar)))
    return before
