"""The tables of a region's directory."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Double, ForeignKey, Index, MetaData, String, Table, func, select

from .tables import COUNTED, KEPT, Number, Replace

DIRECTORY = MetaData()
Id, Hash, Mark = String(64), String(64), String(255)

company = Table("company", DIRECTORY, Column("id", Id, primary_key=True), Column("name", Mark, nullable=False), **KEPT)
person = Table(
    "person",
    DIRECTORY,
    Column("id", Id, primary_key=True),
    Column("company", Id, nullable=False),
    Column("name", Mark, nullable=False),
    Column("role", String(16), nullable=False),
    Column("login", Mark, nullable=False),
    Column("login_hash", Hash, nullable=False, unique=True),
    Column("made_at", Double, nullable=False),
    Column("sort", String(64), nullable=False),
    **KEPT,
)
Index("person_by_name", person.c.company, person.c.sort, person.c.id)
# On MariaDB the foreign keys make a transaction that adds to a person and one of another node that erases them see
# each other; SQLite, where one follows the other, does not look at them.
credential = Table(
    "credential",
    DIRECTORY,
    Column("login_hash", Hash, primary_key=True),
    Column("person", Id, ForeignKey("person.id"), nullable=False, unique=True),
    Column("password", Mark, nullable=False),
    **KEPT,
)
family = Table(
    "family",
    DIRECTORY,
    Column("handle", Hash, primary_key=True),
    Column("sid", Id, nullable=False, unique=True),
    Column("person", Id, ForeignKey("person.id"), nullable=False),
    Column("secret", Hash, nullable=False),
    Column("previous", Hash),
    Column("turned_at", Double, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    **KEPT,
)
Index("family_by_person", family.c.person, family.c.made_at)
revocation = Table(
    "revocation",
    DIRECTORY,
    Column("no", Number, primary_key=True, autoincrement=False),
    Column("person", Id, nullable=False),
    Column("sid", Id, nullable=False),
    Column("before_at", Double, nullable=False),
    **KEPT,
)
counter = Table(
    "counter",
    DIRECTORY,
    Column("name", String(32), primary_key=True),
    Column("last", Number, nullable=False),
    **KEPT,
)
login_owner = Table(
    "login_owner",
    DIRECTORY,
    Column("login_hash", Hash, primary_key=True),
    Column("company", Id, nullable=False),
    **KEPT,
)
release = Table(
    "release",
    DIRECTORY,
    Column("no", Number, primary_key=True, autoincrement=True),
    Column("login_hash", Hash, nullable=False),
    Column("company", Id, nullable=False),
    **COUNTED,
)
erased = Table(
    "erased", DIRECTORY, Column("person", Id, primary_key=True), Column("at", Double, nullable=False), **KEPT
)

_last = select(counter.c.last).where(counter.c.name == "revocation").with_for_update()
_highest = select(func.max(revocation.c.no))
_keep_last = Replace(counter)


def next_revocation(db: Connection) -> int:
    """The next number, in the order of commits: who has read up to it has read all before it.

    No sequence of the engine's does that: two nodes count each on their own, and the higher may be seen first.
    """
    number = 1 + max(db.scalar(_last) or 0, db.scalar(_highest) or 0)
    db.execute(_keep_last, {"name": "revocation", "last": number})
    return number
