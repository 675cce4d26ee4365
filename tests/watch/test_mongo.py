"""A region's MongoDB is walked document by document: a server of its protocol, the house's own collections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench.mongo import mongo_server
from pymongo import MongoClient

from moonbow.base.ids import new_id
from moonbow.stores.home import HomeRegion
from moonbow.stores.timeline_mongo import MongoTimeline
from moonbow.timeline import transactions
from moonbow.timeline.model import Post
from moonbow.vault.plain import Plain
from moonbow.watch.book import Book
from moonbow.watch.tables import stores_in, walk_store
from moonbow.world import World, load_world

ROOT = Path(__file__).parents[2]
US, THEM = (new_id("usr", region) for region in ("emea", "apac"))


def world_at(address: str | None) -> World:
    """The default world, whose first region keeps its timeline there."""
    world = load_world(ROOT / "worlds" / "laptop.toml")
    emea = world.regions["emea"]
    data = msgspec.structs.replace(emea.data, documents="mongodb", mongodb=address)
    return msgspec.structs.replace(world, regions={**world.regions, "emea": msgspec.structs.replace(emea, data=data)})


def audited(world: World) -> Book:
    book = Book()
    for store in stores_in(world, Path("/nowhere"), []):
        walk_store(world, store, book)
    return book


async def talk(address: str) -> None:
    """A room with somebody of another region, and another region's room with one of ours."""
    store = MongoTimeline(address, HomeRegion("emea"), Plain())
    room = await store.write(transactions.create_room, new_id("rom", "emea"), US, (THEM,))
    await store.write(transactions.post, Post(US, room, "0198f8a1-0000-7000-8000-000000000001", b"{}"))
    await store.write(transactions.post, Post(US, new_id("rom", "apac"), "0198f8a1-0000-7000-8000-000000000002", b"{}"))
    store.close()


@pytest.mark.slow
def test_documents_are_judged_as_rows_are(tmp_path: Path) -> None:
    with mongo_server(tmp_path) as server:
        address = server.address.format("audited")
        asyncio.run(talk(address))
        world = world_at(address)
        book = audited(world)
        assert not book.findings()
        assert book.rows >= 8
        stray = new_id("rom", "apac")
        with MongoClient[dict[str, Any]](address) as client:
            database = client.get_default_database()
            database.seat.insert_one({"person": THEM, "room": stray, "read": 0, "invited": False})
            database.post.update_one({"author": US}, {"$set": {"note": "x"}})
            database.elsewhere.insert_one({"name": "x"})
        found = {(one.code, one.table) for one in audited(world).findings()}
        assert found == {("foreign_record", "seat"), ("unknown_column", "post"), ("unknown_table", "elsewhere")}
    assert [one.code for one in audited(world).findings()] == ["unreadable"]
