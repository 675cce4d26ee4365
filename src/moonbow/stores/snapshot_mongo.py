"""A region's MongoDB for those who only look: every document of its database, as it stood at one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError

from moonbow.base.errors import Unavailable

Document = dict[str, Any]
SELECT_MS, ANSWER_MS = 2_000, 30_000
DOCUMENTS = 2_000  # fetched at a time


class MongoSnapshot:
    """The collections of the region's database.  A document that lacks a field has None there."""

    engine = "MongoDB"
    size_bytes = 0  # its files lie wherever it runs

    def __init__(self, database: Database[Document], session: ClientSession) -> None:
        self._database, self._session = database, session
        self._fields: dict[str, tuple[str, ...]] = {}

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Every collection with the fields that any of its documents has."""
        names = sorted(name for name in self._database.list_collection_names() if not name.startswith("system."))
        self._fields = {name: self._fields_of(name) for name in names}
        return dict(self._fields)

    def _fields_of(self, name: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for document in self._documents(name):
            found.update(dict.fromkeys(document))
        return tuple(found)

    def rows(self, table: str) -> Iterator[Sequence[object]]:
        """Every document, its values in the order of `tables`."""
        fields = self._fields[table]
        for document in self._documents(table):
            yield tuple(document.get(field) for field in fields)

    def _documents(self, name: str) -> Iterator[Document]:
        return self._database[name].find(session=self._session, batch_size=DOCUMENTS)


@contextlib.contextmanager
def look_at_mongo(address: str, region: str) -> Generator[MongoSnapshot]:
    """The database that a region's timeline uses there, see `timeline_mongo`; `Unavailable` if it cannot be had."""
    try:
        with (
            MongoClient[Document](
                address, serverSelectionTimeoutMS=SELECT_MS, connectTimeoutMS=SELECT_MS, socketTimeoutMS=ANSWER_MS,
                appname="moonbow-audit",
            ) as client,
            client.start_session(snapshot=True) as session,
        ):  # fmt: skip
            yield MongoSnapshot(client.get_default_database(f"moonbow_{region}"), session)
    except (PyMongoError, ValueError) as error:
        raise Unavailable("store_unavailable", f"MongoDB does not answer: {str(error)[:200]}") from error
