"""What all tables of `sql.Sql` have in common, on both engines.

Text is compared by code point and to its last blank, as SQLite does: `ada`, `Ada` and `ada ` are three.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Insert, Integer, LargeBinary, insert
from sqlalchemy.dialects.mysql import MEDIUMBLOB
from sqlalchemy.ext.compiler import compiles

# Options of every table: found by its key alone; the transactions and the text of MariaDB that we mean.
KEPT: dict[str, Any] = {
    "sqlite_with_rowid": False,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_nopad_bin",
}
# The same for a table whose first column counts up by itself, and never backwards.
COUNTED: dict[str, Any] = KEPT | {"sqlite_with_rowid": True, "sqlite_autoincrement": True}
# SQLite counts up in no type but INTEGER, which there has 64 bits.
Number = BigInteger().with_variant(Integer, "sqlite")
# Up to 16 MiB; SQLite's has no bound of its own.
Blob = LargeBinary().with_variant(MEDIUMBLOB, "mysql")


class Replace(Insert):
    """`REPLACE INTO`: an INSERT that takes the place of the row with its key.  Both engines know it."""

    inherit_cache = True


@compiles(Replace)
def _replace(statement: Replace, compiler: Any, **options: Any) -> str:
    return str(compiler.visit_insert(statement, **options)).replace("INSERT", "REPLACE", 1)


def insert_missing(table: Any) -> Insert:
    """An INSERT that leaves a row that stands already."""
    return insert(table).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
