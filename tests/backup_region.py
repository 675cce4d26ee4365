"""A small real region: stores with people, rooms, messages and objects, in a state folder of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from moonbow.backup.process import take_backup
from moonbow.base.errors import Unavailable
from moonbow.base.ids import new_id
from moonbow.directory.model import CompanyRow, Family, PersonRow
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_directory, open_keys, open_timeline, open_vault
from moonbow.timeline import transactions
from moonbow.world import World, load_world
from timeline_stores import new_post, texts
from timeline_stores import rows as all_rows

REGION, SITE = "emea", "paris"
HOME = HomeRegion(REGION)
ORG = "org_emea_0000000000000000000000000a"
ADA, BEA = (new_id("usr", REGION) for _ in range(2))
ROOM = new_id("rom", REGION)


def make_region(state: Path) -> World:
    """A state folder in which the region has run once."""
    (state / "secrets").mkdir(parents=True)
    (state / "regions" / REGION / "keys").mkdir(parents=True)
    (state / "world.toml").write_text(Path("worlds/laptop.toml").read_text())
    (state / "secrets" / "login.key").write_text("ab" * 32)
    return furnish(state)


def furnish(state: Path) -> World:
    """Give the region of a world's folder people, messages and files."""
    (state / "regions" / REGION / "keys" / "key_old.json").write_text("signs tokens")
    for no in range(5):
        write_object(state, f"{no}/fil_{no}", bytes([no]) * 300_000)
    world = load_world(state / "world.toml")
    asyncio.run(_fill(world, state))
    return world


def write_object(state: Path, name: str, content: bytes) -> None:
    path = state / "regions" / REGION / "objects" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def _fill(world: World, state: Path) -> None:
    directory = open_directory(world, state, HOME)
    await directory.put_company(CompanyRow(id=ORG, name="Lunar"))
    for no, ident in enumerate((ADA, BEA)):
        row = PersonRow(
            id=ident, company=ORG, name=f"P {no}", role="member", login=f"p{no}@x", login_hash=f"{no:064x}", made_at=1.0
        )
        await directory.create_person(row, "hash")
        await directory.open_family(
            Family(
                handle=f"h{no}", sid=f"s{no}", person=ident, secret="s", previous=None, turned_at=1.0, made_at=1.0,
                expires_at=time.time() + 1000,
            ), 5,
        )  # fmt: skip
    await directory.close()
    keys = open_keys(world, state, HOME)
    await keys.provide_all(ORG, [ADA, BEA])
    timeline = open_timeline(world, state, HOME, SITE, keys.sealer)
    await timeline.write(transactions.create_room, ROOM, ADA, (BEA,))
    timeline.close()
    await keys.close()
    await say(world, state, ADA, 20)
    await say(world, state, BEA, 20)


async def say(world: World, state: Path, author: str, count: int) -> list[str]:
    """Messages of somebody in the room; their texts."""
    keys = open_keys(world, state, HOME)
    timeline = open_timeline(world, state, HOME, SITE, keys.sealer)
    texts = [f"said {no} at {time.monotonic_ns()}" for no in range(count)]
    for text in texts:
        await timeline.write(transactions.post, new_post(author, ROOM, text, text))
    timeline.close()
    await keys.close()
    return texts


async def erase(world: World, state: Path, person: str) -> None:
    """As a gateway does."""
    directory, keys = open_directory(world, state, HOME), open_keys(world, state, HOME)
    timeline = open_timeline(world, state, HOME, SITE, keys.sealer)
    await directory.erase_person(person, time.time())
    await keys.destroy(person)
    await timeline.write(transactions.erase_person, person)
    timeline.close()
    await directory.close()
    await keys.close()


async def keys_destroyed(world: World, state: Path) -> int:
    """How many people's keys have been destroyed."""
    vault = open_vault(world, state, HOME)
    found = await vault.status()
    await vault.close()
    return sum(company.destroyed for company in found)


async def read_texts(world: World, state: Path, author: str) -> list[str | None]:
    """What can be read of somebody's messages; None where nothing can."""
    keys = open_keys(world, state, HOME)
    timeline = open_timeline(world, state, HOME, SITE, keys.sealer)
    said = [row.entry or "" for row in await all_rows(timeline, ROOM) if row.author == author and row.entry]
    try:
        return await texts(timeline, said)
    except Unavailable:
        return [None] * len(said)
    finally:
        timeline.close()
        await keys.close()


def tables(folder: Path) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    """Every row of every table of every database of a region."""
    found: dict[tuple[str, str], list[tuple[object, ...]]] = {}
    for path in sorted(folder.glob("*.db")):
        db = sqlite3.connect(path)
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"):
            found[path.stem, name] = sorted(db.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
        db.close()
    return found


def objects(folder: Path) -> dict[str, bytes]:
    """Every object of a region."""
    root = folder / "objects"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def back_up(world: World, state: Path) -> tuple[str, str]:
    """Take a backup; the ids of its data and of its keys."""
    data, keys = asyncio.run(take_backup(world, state, REGION))
    return data.id, keys.id
