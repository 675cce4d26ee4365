"""The shared plane's log and its present state, as tables of a region's directory.

`shared_log` holds every origin's log, `shared` the latest record of each key and origin, `shared_head` how far each
log reaches.  A key that two origins wrote is decided when read (`federation.shared.newer`).  Every change of a log
writes its head, so that of two at once, on whatever nodes, one is run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import msgspec
from sqlalchemy import BindParameter, Column, Connection, MetaData, String, Table, bindparam, delete, insert, select

from moonbow.federation.shared import NOTHING, Head, decide_entry, key_of, newer
from moonbow.wire.shared import CompanyRegions, LogEntry, Login, PublicKey, SharedRecord

from .sql import Sql
from .tables import KEPT, Blob, Number, Replace

SHARED = MetaData()
head_table = Table(
    "shared_head",
    SHARED,
    Column("origin", String(16), primary_key=True),
    Column("epoch", Number, nullable=False),
    Column("seq", Number, nullable=False),
    **KEPT,
)
log_table = Table(
    "shared_log",
    SHARED,
    Column("origin", String(16), primary_key=True),
    Column("epoch", Number, primary_key=True, autoincrement=False),
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("record", Blob, nullable=False),
    **KEPT,
)
shared = Table(
    "shared",
    SHARED,
    Column("kind", String(16), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("origin", String(16), primary_key=True),
    Column("record", Blob, nullable=False),
    **KEPT,
)
_origin: BindParameter[str] = bindparam("origin")
_standing = select(shared.c.origin, shared.c.record).where(
    shared.c.kind == bindparam("kind"), shared.c.key == bindparam("key")
)
_head_of = select(head_table.c.epoch, head_table.c.seq).where(head_table.c.origin == _origin)
_hold_head = _head_of.with_for_update()
_add_entry, _keep_record, _keep_head = insert(log_table), Replace(shared), Replace(head_table)
_forget_all = [delete(table).where(table.c.origin == _origin) for table in (shared, log_table, head_table)]
_records = select(shared.c.record).where(shared.c.origin == _origin).order_by(shared.c.kind, shared.c.key)
_heads = select(head_table.c.origin, head_table.c.epoch, head_table.c.seq)
_tail = (
    select(log_table.c.seq, log_table.c.record)
    .where(log_table.c.origin == _origin, log_table.c.epoch == bindparam("epoch"), log_table.c.seq > bindparam("after"))
    .order_by(log_table.c.seq)
    .limit(bindparam("limit"))
)
_keys = select(shared.c.record).where(shared.c.kind == "key").order_by(shared.c.key)
_encode = msgspec.msgpack.Encoder().encode
_record: msgspec.msgpack.Decoder[SharedRecord] = msgspec.msgpack.Decoder(SharedRecord)


def find(db: Connection, kind: str, key: str) -> SharedRecord | None:
    """The record that counts for a key; None if there is none or it is gone."""
    rows = db.execute(_standing, {"kind": kind, "key": key}).all()
    if not rows:
        return None
    found = reduce(newer, (_record.decode(row.record) for row in rows))
    return None if found.gone else found


def hold(db: Connection, origin: str, default: Head = NOTHING) -> Head:
    """How far a log reaches.  Until this transaction ends, no other one of this node changes it."""
    row = db.execute(_hold_head, {"origin": origin}).first()
    return Head(*row) if row else default


def append(db: Connection, origin: str, drafts: Sequence[SharedRecord], now: float) -> list[LogEntry]:
    """Add records to the own log, inside a transaction of the caller; unchanged ones are left out."""
    added: list[LogEntry] = []
    head = hold(db, origin, Head(1, 0))
    for draft in drafts:
        kind, key = key_of(draft)
        rows = db.execute(_standing, {"kind": kind, "key": key}).all()
        standing = {row.origin: _record.decode(row.record) for row in rows}
        mine = standing.get(origin)
        if mine is not None and msgspec.structs.replace(draft, version=mine.version) == mine:
            continue
        highest = max((record.version for record in standing.values()), default=draft.version)
        record = msgspec.structs.replace(draft, version=max(highest + 1, int(now * 1000)))
        head = Head(head.epoch, head.seq + 1)
        _write(db, LogEntry(origin, head.epoch, head.seq, record))
        added.append(LogEntry(origin, head.epoch, head.seq, record))
    return added


def _write(db: Connection, entry: LogEntry) -> None:
    kind, key = key_of(entry.record)
    place = {"origin": entry.origin, "epoch": entry.epoch, "seq": entry.seq}
    blob = _encode(entry.record)
    db.execute(_add_entry, {**place, "record": blob})
    db.execute(_keep_record, {"kind": kind, "key": key, "origin": entry.origin, "record": blob})
    db.execute(_keep_head, place)


def _forget(db: Connection, origin: str) -> None:
    for statement in _forget_all:
        db.execute(statement, {"origin": origin})


class SharedSql:
    """`federation.shared.SharedLog` in a region's directory."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._region = sql.home.name

    async def append(self, drafts: Sequence[SharedRecord], now: float) -> list[LogEntry]:
        return await self._sql.write(lambda db: append(db, self._region, drafts, now))

    async def apply(self, origin: str, entries: Sequence[LogEntry]) -> Head:
        head = await self._sql.read(lambda db: _head(db, origin))
        if all(decide_entry(head, entry) == "known" for entry in entries):
            return head
        return await self._sql.write(lambda db: self._apply(db, origin, entries))

    def _apply(self, db: Connection, origin: str, entries: Sequence[LogEntry]) -> Head:
        assert origin != self._region, "nobody else writes the own log"
        head = hold(db, origin)
        for entry in entries:
            verdict = decide_entry(head, entry)
            if verdict == "restart":
                _forget(db, origin)
            if verdict in ("apply", "restart"):
                _write(db, entry)
                head = Head(entry.epoch, entry.seq)
        return head

    async def begin_epoch(self, beyond: Head, now: float) -> list[LogEntry]:
        return await self._sql.write(lambda db: self._begin_epoch(db, beyond, now))

    def _begin_epoch(self, db: Connection, beyond: Head, now: float) -> list[LogEntry]:
        head = hold(db, self._region)
        if head >= beyond:
            return []
        records = [_record.decode(blob) for blob in db.scalars(_records, {"origin": self._region}).all()]
        _forget(db, self._region)
        db.execute(_keep_head, {"origin": self._region, "epoch": max(beyond.epoch, head.epoch) + 1, "seq": 0})
        return append(db, self._region, records, now)

    async def heads(self) -> dict[str, Head]:
        rows = await self._sql.read(lambda db: db.execute(_heads).all())
        return {row.origin: Head(row.epoch, row.seq) for row in rows}

    async def tail(self, origin: str, epoch: int, after: int, limit: int) -> list[LogEntry]:
        def rows(db: Connection) -> list[LogEntry]:
            head = _head(db, origin)
            beyond = after if epoch == head.epoch else 0
            found = db.execute(_tail, {"origin": origin, "epoch": head.epoch, "after": beyond, "limit": limit}).all()
            return [LogEntry(origin, head.epoch, row.seq, _record.decode(row.record)) for row in found]

        return await self._sql.write(rows)  # changes nothing, and so sees what any site has just acknowledged

    async def login(self, login_hash: str) -> Login | None:
        found = await self._sql.read(lambda db: find(db, "login", login_hash))
        return found if isinstance(found, Login) else None

    async def company(self, ident: str) -> CompanyRegions | None:
        found = await self._sql.read(lambda db: find(db, "company", ident))
        return found if isinstance(found, CompanyRegions) else None

    async def keys(self) -> list[PublicKey]:
        blobs = await self._sql.read(lambda db: db.scalars(_keys).all())
        found = [_record.decode(blob) for blob in blobs]
        return [key for key in found if isinstance(key, PublicKey) and not key.gone]


def _head(db: Connection, origin: str) -> Head:
    row = db.execute(_head_of, {"origin": origin}).first()
    return Head(*row) if row else NOTHING
