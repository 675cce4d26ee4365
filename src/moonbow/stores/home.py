"""The key to a store of private data: the process's own home region, and nothing else (law L1)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from moonbow.base.errors import Broken, ConfigError
from moonbow.world import SiteRef


@dataclass(frozen=True, slots=True)
class HomeRegion:
    """The region whose private data this process may open.  A process makes one, from its own site."""

    name: str

    @classmethod
    def of(cls, ref: SiteRef) -> HomeRegion:
        """The home region of a process of site `ref`; `ConfigError` where no data may rest (edges, witnesses)."""
        if ref.site.kind != "primary":
            raise ConfigError(f"site {ref.site.name} is of kind {ref.site.kind}: no private data rests there")
        return cls(ref.region)


def bind_file(db: sqlite3.Connection, home: HomeRegion) -> None:
    """Write into a new file whose it is; `Broken` if it was made for another region.  Call inside a transaction."""
    db.execute("CREATE TABLE IF NOT EXISTS made_for (one INTEGER PRIMARY KEY CHECK (one = 1), region TEXT NOT NULL)")
    db.execute("INSERT OR IGNORE INTO made_for VALUES (1, ?)", (home.name,))
    found = db.execute("SELECT region FROM made_for").fetchone()[0]
    if found != home.name:
        raise Broken(f"this store was made for region {found}, and this process is at home in {home.name}")
