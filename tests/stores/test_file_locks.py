"""Who opens a region's file a second time must not let go of what the first opening holds (fcntl(2): closing any
descriptor of a file gives up all locks of the process on it): else the next one to close deletes the log of the others.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from moonbow.directory.model import CompanyRow
from moonbow.stores import erasures_sql
from moonbow.stores.directory_sql import DIRECTORY_TABLES, DirectorySql
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql

LOOK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM company").fetchone()[0])
db.close()
"""


def look(path: Path) -> int:
    """What another process sees, which opens the file and closes it."""
    return int(subprocess.run([sys.executable, "-c", LOOK, str(path)], capture_output=True, text=True).stdout)


def test_what_is_written_after_others_came_and_went_is_seen(tmp_path: Path) -> None:
    path, home = tmp_path / "directory.db", HomeRegion("emea")

    async def go() -> None:
        first = DirectorySql(Sql.sqlite(path, home, *DIRECTORY_TABLES))
        beside = Sql.sqlite(path, home, erasures_sql.ERASURES)
        third = DirectorySql(Sql.sqlite(path, home, *DIRECTORY_TABLES))
        for no in range(1, 4):
            await first.put_company(CompanyRow(id=f"org_emea_{no}", name="Lunar"))
            assert look(path) == no
        await third.close()
        await beside.close()
        await first.put_company(CompanyRow(id="org_emea_4", name="Lunar"))
        assert look(path) == 4
        await first.close()

    asyncio.run(go())
