"""The timeline's collections in MongoDB, and what is read and written in them.

Everything that one transaction touches lies in one database: streams, order rows, times of membership, posts with their
bodies, seats, outboxes and results.  A transaction locks a stream by counting up its `turn`, so of two that want the
same one the server lets one go on and tells the other to begin anew (WriteConflict).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database

from moonbow.timeline.model import (
    AnyEffect,
    Fresh,
    Known,
    Outgoing,
    Post,
    Result,
    Row,
    Span,
    Stored,
    Stream,
    decode_effect,
    encode_effect,
)
from moonbow.vault.ports import Sealer

Document = dict[str, Any]
LAYOUT = 1
AMONG_MAX = 100
INDEXES: dict[str, list[tuple[list[str], dict[str, Any]]]] = {
    "stream": [(["pair"], {"unique": True, "partialFilterExpression": {"pair": {"$type": "string"}}})],
    "order_row": [
        (["stream", "seq"], {"unique": True}),
        (["entry"], {"unique": True, "partialFilterExpression": {"kind": "entry"}}),
        (["stream", "author"], {}),
    ],
    "span": [(["stream", "person", "joined"], {"unique": True})],
    "post": [(["author", "client_id"], {"unique": True})],
    "seat": [(["person", "room"], {"unique": True}), (["room"], {})],
    "outbox": [(["dest", "stream", "out_no"], {"unique": True})],
    "out_no": [(["dest", "stream"], {"unique": True})],
    "applied": [(["source", "epoch", "stream", "out_no"], {"unique": True})],
    "gone": [],
    "meta": [],
}


def prepare(database: Database[Document]) -> None:
    """Make what is missing of collections and indexes; a transaction must not make them."""
    standing = set(database.list_collection_names())
    for name, indexes in INDEXES.items():
        if name not in standing:
            database.create_collection(name)
        for fields, options in indexes:
            database[name].create_index([(field, ASCENDING) for field in fields], **options)


class MongoReads:
    """`timeline.ports.Reads` in one session, whose snapshot is one moment."""

    def __init__(
        self, database: Database[Document], session: ClientSession | None, region: str, sealer: Sealer
    ) -> None:
        self.region = region
        self._db = database
        self._session = session
        self._sealer = sealer

    def expect(
        self, ident: str, person: str, limit: int, *, after: int | None = None, before: int | None = None
    ) -> None:
        """Nothing is asked in advance."""

    def stream(self, ident: str) -> Stream | None:
        return _stream(self._at("stream").find_one({"_id": ident}, session=self._session))

    def row(self, stream: Stream, seq: int) -> Row | None:
        found = self._at("order_row").find_one({"stream": stream.ident, "seq": seq}, session=self._session)
        return _row(found) if found else None

    def rows_after(self, stream: Stream, after: int, limit: int) -> list[Row]:
        found = self._find("order_row", {"stream": stream.ident, "seq": {"$gt": after}})
        return [_row(document) for document in found.sort("seq", ASCENDING).limit(limit)]

    def rows_before(self, stream: Stream, before: int, limit: int) -> list[Row]:
        found = self._find("order_row", {"stream": stream.ident, "seq": {"$lt": min(before, 2**62)}})
        return [_row(document) for document in found.sort("seq", DESCENDING).limit(limit)][::-1]

    def find_entry(self, entry: str) -> Row | None:
        found = self._at("order_row").find_one({"entry": entry, "kind": "entry"}, session=self._session)
        return _row(found) if found else None

    def entries_of(self, stream: Stream, author: str) -> list[Row]:
        found = self._find("order_row", {"stream": stream.ident, "author": author, "kind": "entry"})
        return [_row(document) for document in found.sort("seq", ASCENDING)]

    def own_messages_after(self, stream: Stream, author: str, after: int) -> int:
        wanted = {"stream": stream.ident, "author": author, "kind": "entry", "target": None, "seq": {"$gt": after}}
        return self._at("order_row").count_documents(wanted, session=self._session)

    def spans(self, stream: Stream, person: str) -> list[Span]:
        found = self._find("span", {"stream": stream.ident, "person": person}).sort("joined", ASCENDING)
        return [Span(document["joined"], document["left"]) for document in found]

    def members(self, stream: Stream) -> list[tuple[str, int]]:
        found = self._find("span", {"stream": stream.ident, "left": None}).sort("joined", ASCENDING)
        return [(document["person"], document["joined"]) for document in found]

    def region_sees(self, stream: Stream, region: str, seq: int) -> bool:
        wanted = {
            "stream": stream.ident,
            "person": {"$gte": f"usr_{region}_", "$lt": f"usr_{region}`"},
            "joined": {"$lte": seq},
            "$or": [{"left": None}, {"left": {"$gte": seq}}],
        }
        return self._at("span").find_one(wanted, session=self._session) is not None

    def post(self, author: str, client_id: str) -> Known | None:
        found = self._at("post").find_one({"author": author, "client_id": client_id}, session=self._session)
        return _known(found) if found else None

    def bodies(self, entries: Sequence[str]) -> dict[str, Stored]:
        return {
            post["_id"]: Stored(post["author"], post["room"], self._opened(post["author"], post["_id"], post["body"]))
            for post in self._among("post", "_id", entries)
        }

    def _opened(self, author: str, entry: str, body: bytes | None) -> bytes | None:
        return None if body is None else self._sealer.open(author, entry, body)

    def seats(self, person: str) -> list[str]:
        return [document["room"] for document in self._find("seat", {"person": person})]

    def seat(self, person: str, room: str) -> tuple[int, bool]:
        found = self._at("seat").find_one({"person": person, "room": room}, session=self._session)
        return (found["read"], found["invited"]) if found else (0, False)

    def direct_room(self, pair: str) -> str | None:
        found = self._at("stream").find_one({"pair": pair}, session=self._session)
        return found["_id"] if found else None

    def heads(self, streams: Sequence[str]) -> dict[str, int]:
        return {document["_id"]: document["head"] for document in self._among("stream", "_id", streams)}

    def copies(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Rooms homed elsewhere, with the head of our copy, by id beyond `after`."""
        away = {"$gt": after, "$not": {"$regex": f"^..._{self.region}_"}}
        rooms: list[str] = []
        for document in self._find("seat", {"room": away}).sort("room", ASCENDING):
            if document["room"] not in rooms[-1:]:
                rooms.append(document["room"])
            if len(rooms) == limit:
                break
        heads = self.heads(rooms)
        return [(room, heads.get(room, 0)) for room in rooms]

    def outbox_heads(self, dest: str, after: str, limit: int) -> list[str]:
        """Queues to a region that are not empty, by stream, beyond `after`."""
        steps: list[Mapping[str, Any]] = [
            {"$match": {"dest": dest, "stream": {"$gt": after}}},
            {"$group": {"_id": "$stream"}},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
        ]
        return [document["_id"] for document in self._at("outbox").aggregate(steps, session=self._session)]

    def outgoing(self, dest: str, stream: str, limit: int) -> list[Outgoing]:
        found = self._find("outbox", {"dest": dest, "stream": stream}).sort("out_no", ASCENDING).limit(limit)
        return [Outgoing(dest, stream, one["out_no"], decode_effect(one["effect"])) for one in found]

    def applied(self, source: str, epoch: int, stream: str, out_no: int) -> Result | None:
        key = {"source": source, "epoch": epoch, "stream": stream, "out_no": out_no}
        found = self._at("applied").find_one(key, session=self._session)
        return Result(found["state"], found["seq"], found["code"]) if found else None

    def applied_last(self, source: str, epoch: int, stream: str) -> int:
        found = self._find("applied", {"source": source, "epoch": epoch, "stream": stream})
        return max((document["out_no"] for document in found.sort("out_no", DESCENDING).limit(1)), default=0)

    def is_gone(self, person: str) -> bool:
        return self._at("gone").find_one({"_id": person}, session=self._session) is not None

    def epoch(self) -> int:
        found = self._at("meta").find_one({"_id": "epoch"}, session=self._session)
        return int(found["value"]) if found else 1

    def _at(self, collection: str) -> Collection[Document]:
        return self._db[collection]

    def _among(self, collection: str, field: str, values: Sequence[str], **more: str) -> Iterator[Document]:
        """The documents whose field has one of these values, asked for in parts."""
        for start in range(0, len(values), AMONG_MAX):
            yield from self._find(collection, {**more, field: {"$in": list(values[start : start + AMONG_MAX])}})

    def _find(self, collection: str, wanted: Document) -> Any:
        return self._at(collection).find(wanted, session=self._session)


class MongoTx(MongoReads):
    """`timeline.ports.Tx`: one transaction; `flush` is its last step before the commit."""

    def __init__(
        self, database: Database[Document], session: ClientSession, region: str, sealer: Sealer, now_ms: int
    ) -> None:
        super().__init__(database, session, region, sealer)
        self.now_ms = now_ms
        self.fresh: list[Fresh] = []
        self.queued = self.erased = False
        self._changes = 0
        self._waiting: dict[str, list[Document]] = {}
        self._streams: dict[str, Stream | None] = {}
        self._spans: dict[tuple[str, str], list[Span]] = {}
        self._posts: dict[tuple[str, str], Known | None] = {}
        self._gone: dict[str, bool] = {}

    def foresee(self, posts: Sequence[Post]) -> None:
        """Look up in one question each what posts will ask: known client ids, erased authors."""
        if not posts:
            return
        keys: dict[str, list[str]] = {}
        for post in posts:
            keys.setdefault(post.author, []).append(post.client_id)
        self._posts = dict.fromkeys((post.author, post.client_id) for post in posts)
        for author, client_ids in keys.items():
            for found in self._among("post", "client_id", client_ids, author=author):
                self._posts[author, found["client_id"]] = _known(found)
        self._gone = dict.fromkeys((post.author for post in posts), False)
        self._gone.update((found["_id"], True) for found in self._among("gone", "_id", list(self._gone)))

    def post(self, author: str, client_id: str) -> Known | None:
        key = (author, client_id)
        return self._posts[key] if key in self._posts else super().post(author, client_id)

    def is_gone(self, person: str) -> bool:
        return self._gone[person] if person in self._gone else super().is_gone(person)

    def spans(self, stream: Stream, person: str) -> list[Span]:
        key = (stream.ident, person)
        if key not in self._spans:
            self._spans[key] = super().spans(stream, person)
        return self._spans[key]

    def writes(self) -> int:
        """How much has been written so far."""
        return self._changes

    def stream(self, ident: str) -> Stream | None:
        if ident not in self._streams:
            found = self._at("stream").find_one_and_update(
                {"_id": ident}, {"$inc": {"turn": 1}}, return_document=ReturnDocument.AFTER, session=self._session
            )
            self._streams[ident] = _stream(found)
        return self._streams[ident]

    def create_stream(self, ident: str, creator: str, pair: str | None) -> Stream:
        made = {"_id": ident, "head": 0, "no": 0, "creator": creator, "card": None, "regions": "", "pair": pair}
        self._insert("stream", {**made, "turn": 0})
        self._streams[ident] = stream = Stream(ident, 0, 0, 0, creator, None, "", pair)
        return stream

    def add_row(self, stream: Stream, row: Row) -> None:
        names = Row.__struct_fields__
        self._insert("order_row", {name: getattr(row, name) for name in names})

    def mark_gone(self, stream: Stream, seq: int) -> None:
        self._set("order_row", {"stream": stream.ident, "seq": seq}, {"gone": True})

    def open_span(self, stream: Stream, person: str, seq: int) -> None:
        self._spans.pop((stream.ident, person), None)
        self._insert("span", {"stream": stream.ident, "person": person, "joined": seq, "left": None})

    def close_span(self, stream: Stream, person: str, seq: int) -> None:
        self._spans.pop((stream.ident, person), None)
        self._set("span", {"stream": stream.ident, "person": person, "left": None}, {"left": seq})

    def mark(self, author: str, text: bytes) -> bytes:
        return self._sealer.mark(author, text)

    def add_post(
        self, author: str, client_id: str, mark: bytes, entry: str, room: str, state: str,
        seq: int | None, code: str | None, body: bytes | None,
    ) -> None:  # fmt: skip
        sealed = None if body is None else self._sealer.seal(author, entry, body)
        fate = {"state": state, "seq": seq, "code": code, "early": state == "refused"}
        named = {"_id": entry, "author": author, "client_id": client_id, "mark": mark, "room": room}
        self._insert("post", {**named, **fate, "body": sealed})
        self._posts[author, client_id] = Known(mark, entry, state, seq, code, state == "refused")

    def set_fate(self, entry: str, state: str, seq: int | None, code: str | None) -> None:
        self._posts.clear()
        self._set("post", {"_id": entry}, {"state": state, "seq": seq, "code": code})

    def erase_body(self, entry: str) -> None:
        self._erase({"_id": entry})

    def erase_author(self, author: str) -> list[str]:
        found = self._find("post", {"author": author, "state": {"$ne": "refused"}})
        rooms = sorted({document["room"] for document in found})
        self._erase({"author": author})
        return rooms

    def _erase(self, which: Document) -> None:
        self._posts.clear()
        done = self._set("post", {**which, "mark": {"$ne": b""}}, {"body": None, "mark": b""})
        self.erased |= done > 0

    def set_seat(self, person: str, room: str, *, read: int | None = None, invited: bool | None = None) -> None:
        given = {name: value for name, value in (("read", read), ("invited", invited)) if value is not None}
        usual = {name: value for name, value in (("read", 0), ("invited", False)) if name not in given}
        change = {step: values for step, values in (("$set", given), ("$setOnInsert", usual)) if values}
        self._at("seat").update_one({"person": person, "room": room}, change, upsert=True, session=self._session)
        self._changes += 1

    def enqueue(self, dest: str, stream: str, effect: AnyEffect) -> None:
        self.queued = True
        counted = self._at("out_no").find_one_and_update(
            {"dest": dest, "stream": stream}, {"$inc": {"last": 1}}, upsert=True,
            return_document=ReturnDocument.AFTER, session=self._session,
        )  # fmt: skip
        assert counted is not None, "it is made where it is missing"
        row = {"dest": dest, "stream": stream, "out_no": counted["last"], "effect": encode_effect(effect)}
        self._insert("outbox", row)

    def dequeue(self, dest: str, stream: str, out_no: int) -> AnyEffect | None:
        key = {"dest": dest, "stream": stream, "out_no": out_no}
        found = self._at("outbox").find_one_and_delete(key, session=self._session)
        self._changes += found is not None
        return decode_effect(found["effect"]) if found else None

    def set_applied(self, source: str, epoch: int, stream: str, out_no: int, result: Result) -> None:
        key = {"source": source, "epoch": epoch, "stream": stream, "out_no": out_no}
        self._insert("applied", {**key, "state": result.state, "seq": result.seq, "code": result.code})

    def trim_applied(self, source: str, epoch: int, stream: str, below: int) -> None:
        wanted = {"source": source, "epoch": epoch, "stream": stream, "out_no": {"$lt": below}}
        self._changes += self._at("applied").delete_many(wanted, session=self._session).deleted_count

    def begin_epoch(self, epoch: int) -> list[Outgoing]:
        order = [("dest", ASCENDING), ("stream", ASCENDING), ("out_no", ASCENDING)]
        found = [
            Outgoing(one["dest"], one["stream"], one["out_no"], decode_effect(one["effect"]))
            for one in self._find("outbox", {}).sort(order)
        ]
        for collection in ("outbox", "out_no", "applied"):
            self._at(collection).delete_many({}, session=self._session)
        self._set("meta", {"_id": "epoch"}, {"value": epoch})
        return found

    def set_gone(self, person: str) -> None:
        self._gone.pop(person, None)
        self._at("gone").update_one({"_id": person}, {"$setOnInsert": {}}, upsert=True, session=self._session)
        self._changes += 1

    def flush(self) -> None:
        """Write back the streams that changed; the last step before the commit."""
        for stream in self._streams.values():
            if stream is not None and stream.changed:
                state = {"head": stream.head, "no": stream.no, "card": stream.card, "regions": ",".join(stream.regions)}
                self._set("stream", {"_id": stream.ident}, state)
        for collection in list(self._waiting):
            self._at(collection)

    def _insert(self, collection: str, document: Document) -> None:
        """What is inserted waits for the next look at its collection, so that a batch needs few round trips."""
        self._waiting.setdefault(collection, []).append(document)
        self._changes += 1

    def _at(self, collection: str) -> Collection[Document]:
        if waiting := self._waiting.pop(collection, None):
            self._db[collection].insert_many(waiting, session=self._session)
        return self._db[collection]

    def _set(self, collection: str, wanted: Document, values: Document) -> int:
        done = self._at(collection).update_many(wanted, {"$set": values}, session=self._session)
        self._changes += done.matched_count
        return done.matched_count


def _stream(found: Document | None) -> Stream | None:
    if found is None:
        return None
    names: Iterable[str] = ("head", "no", "creator", "card", "regions", "pair")
    return Stream(found["_id"], 0, *(found[name] for name in names))


def _known(found: Document) -> Known:
    return Known(*(found[name] for name in ("mark", "_id", "state", "seq", "code", "early")))


def _row(found: Document) -> Row:
    return Row(*(found[name] for name in Row.__struct_fields__))
