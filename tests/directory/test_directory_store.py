"""The contract of `directory.ports.Store`, held by every adapter on its real engine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from directory_stores import EMEA, Backing, OnSqlite, open_directory_at
from moonbow.base.errors import Broken, ConfigError, Refused, Unavailable
from moonbow.base.ids import new_id
from moonbow.directory.model import CompanyRow, Family, PersonChange, PersonRow
from moonbow.directory.ports import Store
from moonbow.stores.home import HomeRegion
from moonbow.wire.shared import LogEntry
from moonbow.world import load_world
from support import eventually_async

WORLDS = Path(__file__).parents[2] / "worlds"
ORG = "org_emea_0000000000000000000000000a"
NOW = 1_800_000_000.0


def play(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def person(name: str, company: str = ORG) -> PersonRow:
    login = f"{name.replace(' ', '.')}@{company}"
    return PersonRow(
        id=new_id("usr", "emea"), company=company, name=name, role="member", login=login,
        login_hash=f"{abs(hash(login)):064x}"[:64], made_at=NOW,
    )  # fmt: skip


def family(of: str, no: int, made_at: float = NOW) -> Family:
    return Family(
        handle=f"handle{of}{no}", sid=f"fam_emea_{of[-6:]}{no}", person=of, secret="s", previous=None,
        turned_at=made_at, made_at=made_at, expires_at=made_at + 1_000,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory.db"


@pytest.fixture
def file(path: Path) -> OnSqlite:
    return OnSqlite(path)


@pytest.fixture
def store(backing: Backing) -> Store:
    """On each engine."""
    return backing.open()


def test_people_are_found_by_id_and_login_once(store: Store) -> None:
    async def scenario() -> None:
        ada = person("Ada")
        await store.create_person(ada, "$argon2id$one")
        assert await store.person(ada.id) == ada
        found = await store.credential(ada.login_hash)
        assert found is not None
        assert (found.person, found.password) == (ada.id, "$argon2id$one")
        await store.renew_hash(found, "$argon2id$two")
        await store.renew_hash(found, "$argon2id$three")  # made for a hash that no longer stands
        again = await store.credential(ada.login_hash)
        assert again is not None
        assert again.password == "$argon2id$two"
        with pytest.raises(Refused, match="login_taken"):
            await store.create_person(PersonRow(**{**vars_of(ada), "id": new_id("usr", "emea")}), "x")
        assert await store.person("usr_emea_x") is None
        assert await store.persons([ada.id, "usr_emea_x"]) == [ada]
        assert await store.persons([]) == []
        await store.close()

    play(scenario())


def vars_of(row: PersonRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def test_pages_are_sorted_searched_and_dense(store: Store) -> None:
    async def scenario() -> None:
        names = ["Zoë", "zoe", "Ägir", "Mehmet Yıldız", "Ådne", "100%", "a_b"]
        for name in names:
            await store.create_person(person(name), "x")
        await store.create_person(person("Stranger", "org_emea_0000000000000000000000000b"), "x")
        paged, after = [], None
        while page := await store.people(ORG, "", after, 2):
            paged += [row.name for _, row in page]
            after = page[-1][0]
        assert sorted(paged) == sorted(names)
        assert paged.index("Ådne") < paged.index("Ägir") < paged.index("zoe")
        assert {row.name for _, row in await store.people(ORG, "ZOE", None, 10)} == {"Zoë", "zoe"}
        assert [row.name for _, row in await store.people(ORG, "%", None, 10)] == ["100%"]
        assert [row.name for _, row in await store.people(ORG, "_", None, 10)] == ["a_b"]
        await store.close()

    play(scenario())


def test_changes_and_what_they_end(store: Store) -> None:
    async def scenario() -> None:
        ada = person("Ada")
        await store.create_person(ada, "x")
        for no in range(3):
            await store.open_family(family(ada.id, no), 50)
        assert await store.change_person(ada.id, PersonChange(name="Ada O.", role="admin"), "", NOW) == []
        changed = await store.person(ada.id)
        assert changed is not None
        assert (changed.name, changed.role) == ("Ada O.", "admin")
        assert [row.name for _, row in await store.people(ORG, "ada o", None, 5)] == ["Ada O."]
        spared = family(ada.id, 1).sid
        ended = await store.change_person(ada.id, PersonChange(password="new"), spared, NOW)
        assert {item.sid for item in ended} == {family(ada.id, 0).sid, family(ada.id, 2).sid}
        assert [item.sid for item in await store.end_sessions(ada.id, spared, NOW)] == [spared]
        assert await store.end_sessions(ada.id, spared, NOW) == []
        assert [item.no for item in await store.revocations(1)] == [2, 3]
        await store.prune(NOW + 10_000)
        assert await store.revocations(0) == []
        await store.close()

    play(scenario())


def test_sessions_of_one_person_are_bounded_oldest_first(store: Store) -> None:
    async def scenario() -> None:
        ada = person("Ada")
        await store.create_person(ada, "x")
        ended = [await store.open_family(family(ada.id, no, NOW + no), 3) for no in range(5)]
        assert [[item.sid for item in items] for items in ended] == [
            [], [], [], [family(ada.id, 0).sid], [family(ada.id, 1).sid],
        ]  # fmt: skip
        with pytest.raises(Refused, match="sign_in_refused"):
            await store.open_family(family("usr_emea_nobody", 0), 3)
        await store.close()

    play(scenario())


def test_erasing_takes_all_but_the_id(store: Store) -> None:
    async def scenario() -> None:
        ada = person("Ada")
        await store.create_person(ada, "$argon2id$one")
        await store.open_family(family(ada.id, 0), 50)
        assert [item.sid for item in await store.erase_person(ada.id, NOW)] == [family(ada.id, 0).sid]
        assert await store.erase_person(ada.id, NOW) == []
        assert (await store.person(ada.id), await store.credential(ada.login_hash)) == (None, None)
        assert await store.erased() == [ada.id]
        assert await store.releases() == [(ada.login_hash, ORG)]
        await store.released(ada.login_hash)
        assert await store.releases() == []
        await store.close()

    play(scenario())


def test_erasing_leaves_no_byte_in_the_file(file: OnSqlite, path: Path) -> None:
    async def scenario() -> None:
        store = file.open()
        ada = PersonRow(**{**vars_of(person("Canary Name")), "login": "canary@login"})
        await store.create_person(ada, "$argon2id$canary")
        await store.open_family(family(ada.id, 0), 50)
        held = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert all(word in held for word in (b"Canary Name", b"canary@login", b"$argon2id$canary"))
        await store.erase_person(ada.id, NOW)
        await store.released(ada.login_hash)
        await store._sql.scrub()  # as whoever signs for the erasure does, by the same file
        held = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert not any(word in held for word in (b"anary Name", b"canary@login", b"$argon2id$canary"))
        await store.close()

    play(scenario())


def test_a_login_is_claimed_once_and_released_by_its_owner(store: Store) -> None:
    async def scenario() -> None:
        other = "org_emea_0000000000000000000000000b"
        first = await store.claim_login(ORG, "ab" * 32, "key", "apac", NOW)
        assert first is not None
        assert [entry.seq for entry in first] == [1, 2]
        assert await store.claim_login(ORG, "ab" * 32, "key", "apac", NOW) == []
        assert await store.claim_login(ORG, "ab" * 32, "key", "emea", NOW) is None
        assert await store.claim_login(other, "ab" * 32, "key", "apac", NOW) is None
        assert await store.release_login(other, "ab" * 32, "apac", NOW) == []
        assert await store.release_login(ORG, "ab" * 32, "emea", NOW) == []
        (gone,) = await store.release_login(ORG, "ab" * 32, "apac", NOW)
        assert gone.record.gone
        assert await store.shared.login("ab" * 32) is None
        again = await store.claim_login(other, "ab" * 32, "key", "emea", NOW)
        assert again is not None
        assert again[-1].record.version > gone.record.version
        company = await store.shared.company(ORG)
        assert company is not None
        assert company.regions == ("apac",)
        await store.close()

    play(scenario())


def test_two_gateways_write_one_database(store: Store, backing: Backing) -> None:
    async def scenario() -> None:
        sister = backing.open()
        claims = [(store if no % 2 else sister).claim_login(ORG, f"{no:064x}", "key", "emea", NOW) for no in range(20)]
        await asyncio.gather(*claims)

        async def everything() -> list[LogEntry]:
            log = await sister.shared.tail("emea", 1, 0, 100)
            return log if len(log) == 21 else []

        log = await eventually_async(everything)
        assert [entry.seq for entry in log] == list(range(1, 22))
        await sister.close()
        await store.close()

    play(scenario())


def test_a_database_opens_at_its_own_home_only(store: Store, backing: Backing) -> None:
    with pytest.raises(Broken, match="made for region emea"):
        backing.open(HomeRegion("apac"))
    asyncio.run(store.close())


def test_only_processes_of_sites_with_data_open_a_file(file: OnSqlite, path: Path) -> None:
    asyncio.run(file.open().close())
    world = load_world(WORLDS / "laptop.toml")
    assert HomeRegion.of(world.site("tokyo")) == HomeRegion("apac")
    with pytest.raises(ConfigError, match="no private data"):
        HomeRegion.of(world.site("capetown"))
    assert path.stat().st_mode & 0o077 == 0


def test_a_locked_file_is_unavailable_and_a_damaged_one_stops(file: OnSqlite, path: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = file.open()
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="store_unavailable"):
            await store.put_company(CompanyRow(id=ORG, name="x"))
        assert await store.company(ORG) is None  # reading goes on
        blocker.execute("ROLLBACK")
        blocker.close()
        await store.put_company(CompanyRow(id=ORG, name="x"))
        assert await store.company(ORG) == CompanyRow(id=ORG, name="x")
        await store.close()

    play(scenario())
    (tmp_path / "damaged.db").write_bytes(b"this is no database, not at all" * 100)
    with pytest.raises((Broken, ConfigError)):
        open_directory_at(tmp_path / "damaged.db", EMEA)
