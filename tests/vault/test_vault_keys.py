"""Keys on a real table: who may write and read, a revocation in time, a rotation that nobody notices, a destroyed key."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moonbow.base.errors import Broken, ConfigError, Refused, Unavailable
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_keys, open_vault
from moonbow.stores.timeline_sqlite import SqliteTimeline
from moonbow.stores.vault_sql import VaultSql
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Post, read_body, text_body
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.plain import Plain
from moonbow.vault.ports import Sealer
from moonbow.vault.process import RETIRED_KEEP_S, Vault
from moonbow.vault.ring import KEYS_S, LOOK_S, PEOPLE_MAX, Ring
from moonbow.world import parse_world
from vault_stage import REGION, Clock, company, person, rows_in, vault_in

ADA, BOB, EVE = person(1), person(2), person(3)
LUNAR, SOLAR = company(1), company(2)
TEXT = b'{"kind":"text","text":"hello"}'
WORLD = """
name = "one"
domain = "moonbow.localhost"
[regions.emea]
title = "Europe"
sites = [{ name = "paris", city = "Paris", at = [48.9, 2.4] }]
[traffic]
default = "emea"
"""


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = vault_in(tmp_path)
    made.make_key(ADA, LUNAR)
    made.make_key(BOB, SOLAR)
    yield made
    asyncio.run(made.close())


@pytest.fixture
def rows(tmp_path: Path, vault: Vault) -> Iterator[VaultSql]:
    """The table as another process has it."""
    made = rows_in(tmp_path)
    yield made
    asyncio.run(made.close())


class Away:
    """A table that does not answer while it is `away`."""

    def __init__(self, rows: VaultSql) -> None:
        self.away = False
        self.asked = 0
        self._rows = rows

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*args: Any) -> Any:
            self.asked += 1
            if self.away:
                raise Unavailable("store_unavailable", "away")
            return getattr(self._rows, name)(*args)

        return ask


def test_each_person_has_a_key_of_their_own(vault: Vault) -> None:
    sealed = vault.sealer.seal(ADA, "ent_1", TEXT)
    assert vault.sealer.open(ADA, "ent_1", sealed) == TEXT
    assert vault.sealer.seal(ADA, "ent_1", TEXT) != sealed, "a nonce is used once"
    for author, place in ((BOB, "ent_1"), (ADA, "ent_2")):
        with pytest.raises(Broken):
            vault.sealer.open(author, place, sealed)
    assert vault.sealer.mark(ADA, TEXT) == vault.sealer.mark(ADA, TEXT) != vault.sealer.mark(BOB, TEXT)


def test_who_has_no_key_yet_can_write_as_soon_as_they_have(vault: Vault) -> None:
    for use in (vault.sealer.seal, vault.sealer.open):
        with pytest.raises(Unavailable, match="key_unavailable"):
            use(EVE, "x", TEXT)
    vault.make_key(EVE, LUNAR)
    assert vault.sealer.open(EVE, "x", vault.sealer.seal(EVE, "x", TEXT)) == TEXT


def test_a_key_is_made_once_by_however_many(tmp_path: Path, vault: Vault) -> None:
    """Many at once, of a company that has no key yet: all end with the same keys."""
    others = [vault_in(tmp_path) for _ in range(4)]
    people = [person(n, REGION) for n in range(10, 20)]

    def make(one: Vault) -> None:
        for each in people:
            one.make_key(each, company(9))

    threads = [threading.Thread(target=make, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in people:
        sealed = others[0].sealer.seal(each, "x", TEXT)
        assert {one.sealer.open(each, "x", sealed) for one in (*others, vault)} == {TEXT}
    assert asyncio.run(vault.provide_all(company(9), [*people, person(20)])) == 1
    for one in others:
        asyncio.run(one.close())


def test_a_revocation_is_in_force_elsewhere_in_time_and_can_be_taken_back(
    tmp_path: Path, vault: Vault, rows: VaultSql
) -> None:
    clock = Clock()
    ring = Ring(rows, RegionKeyFile(tmp_path / "region.key", REGION), clock)
    sealed = ring.seal(ADA, "x", TEXT)
    theirs = ring.seal(BOB, "x", TEXT)
    asyncio.run(vault.revoke(LUNAR))
    clock.at += LOOK_S / 2
    assert ring.open(ADA, "x", sealed) == TEXT, "the trial: it is still remembered here"
    clock.at += LOOK_S / 2
    assert ring.open(ADA, "x", sealed) is None
    for use in (lambda: ring.seal(ADA, "y", TEXT), lambda: ring.mark(ADA, TEXT)):
        with pytest.raises(Refused, match="company_key_revoked") as refused:
            use()
        assert refused.value.status == 403
    assert ring.open(BOB, "x", theirs) == TEXT, "another company"
    vault.make_key(EVE, LUNAR)
    assert ring.open(EVE, "x", sealed) is None, "who is made meanwhile is of a revoked company"
    asyncio.run(vault.restore(LUNAR))
    clock.at += LOOK_S
    assert ring.open(ADA, "x", sealed) == TEXT
    with pytest.raises(Refused, match="company_unknown"):
        asyncio.run(vault.revoke(company(7)))


def test_what_cannot_be_asked_any_more_is_forgotten(tmp_path: Path, rows: VaultSql) -> None:
    """A process that is cut off from the table, and so from revocations, does not go on reading."""
    clock, table = Clock(), Away(rows)
    ring = Ring(table, RegionKeyFile(tmp_path / "region.key", REGION), clock)  # type: ignore[arg-type]
    sealed = ring.seal(ADA, "x", TEXT)
    table.away = True
    clock.at += KEYS_S - 0.1
    assert ring.open(ADA, "x", sealed) == TEXT
    clock.at += 0.1
    with pytest.raises(Unavailable):
        ring.open(ADA, "x", sealed)
    table.away = False
    assert ring.open(ADA, "x", sealed) == TEXT


def test_a_company_key_that_is_remembered_makes_no_person_key_last_longer(tmp_path: Path, vault: Vault) -> None:
    """A key switched off where the region's key rests: 30 s later nothing opens, whenever a person's was opened."""
    vault.make_key(EVE, LUNAR)
    clock, table = Clock(), Away(rows_in(tmp_path))
    file = RegionKeyFile(tmp_path / "region.key", REGION)
    ring = Ring(table, file, clock)  # type: ignore[arg-type]
    ring.seal(ADA, "x", TEXT)
    clock.at += KEYS_S - 1
    sealed = ring.seal(EVE, "x", TEXT)  # by the company's key of 29 s ago
    (tmp_path / "region.key").rename(tmp_path / "switched off")
    file._file = type(file._file)("", {})
    assert ring.open(EVE, "x", sealed) == TEXT, "the trial: it is still remembered"
    clock.at += 1
    with pytest.raises(Unavailable, match="key_unavailable"):
        ring.open(EVE, "x", sealed)
    asyncio.run(table._rows.close())


def test_a_remembered_key_asks_nobody_and_memory_is_bounded(tmp_path: Path, vault: Vault, rows: VaultSql) -> None:
    clock, table = Clock(), Away(rows)
    ring = Ring(table, RegionKeyFile(tmp_path / "region.key", REGION), clock)  # type: ignore[arg-type]
    ring.seal(ADA, "x", TEXT)
    asked = table.asked
    for _ in range(100):
        ring.seal(ADA, "x", TEXT)
    assert table.asked == asked
    known = ring._people[ADA]
    ring._people.update({str(n): known for n in range(PEOPLE_MAX)})
    ring.seal(BOB, "x", TEXT)
    assert len(ring._people) <= PEOPLE_MAX + 1
    assert BOB in ring._people


def test_a_rotation_wraps_anew_and_nobody_notices(tmp_path: Path, vault: Vault, rows: VaultSql) -> None:
    now = Clock()
    file = RegionKeyFile(tmp_path / "region.key", REGION, now)
    ring = Ring(rows, file)
    sealed = ring.seal(ADA, "x", TEXT)
    before = {row.company: row for row in rows.companies()}
    turning = Vault(REGION, rows, file, now)
    done = asyncio.run(turning.rotate())
    assert (done.rewrapped, done.dropped) == (2, ())
    after = {row.company: row for row in rows.companies()}
    assert {row.region_key for row in after.values()} == {done.key}
    assert all(after[name].key == before[name].key and after[name].wrapped != before[name].wrapped for name in after)
    vault.make_key(EVE, LUNAR)  # a process that knew only the key before
    for reader in (ring, vault.sealer, Ring(rows, RegionKeyFile(tmp_path / "region.key", REGION))):
        assert reader.open(ADA, "x", sealed) == TEXT
    now.at += RETIRED_KEEP_S + 1
    first = next(info.key for info in file.infos() if info.retired_at is not None)
    assert first in asyncio.run(turning.rotate()).dropped
    assert first.encode() not in (tmp_path / "region.key").read_bytes()
    assert Ring(rows, RegionKeyFile(tmp_path / "region.key", REGION)).open(ADA, "x", sealed) == TEXT


def test_a_destroyed_key_is_on_no_disk_and_never_made_again(tmp_path: Path, vault: Vault, rows: VaultSql) -> None:
    people = [person(n) for n in range(100, 400)]
    for each in people:
        vault.make_key(each, LUNAR)
    wrapped = {each: found[0].wrapped or b"" for each in people if (found := rows.find(each))}
    sealed = {each: vault.sealer.seal(each, "x", TEXT) for each in people}
    gone = people[::3]
    keys = {each: asyncio.run(vault.destroy(each)) for each in gone}
    assert all(keys.values())
    resting = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [each for each in people if wrapped[each] in resting] == [each for each in people if each not in gone]
    clock = Clock()
    ring = Ring(rows, RegionKeyFile(tmp_path / "region.key", REGION), clock)
    vault.make_key(gone[0], LUNAR)
    assert asyncio.run(vault.destroy(gone[0])) == keys[gone[0]], "asked again, it says the same"
    for each in people:
        assert ring.open(each, "x", sealed[each]) == (None if each in gone else TEXT)
    with pytest.raises(Refused, match="person_erased"):
        ring.seal(gone[0], "y", TEXT)
    assert asyncio.run(vault.destroy(person(999))) is None
    assert [(s.people, s.destroyed) for s in asyncio.run(vault.status()) if s.company == LUNAR] == [(201, 100)]


def test_key_files_are_private_and_a_changed_key_is_noticed(tmp_path: Path, vault: Vault, rows: VaultSql) -> None:
    assert (tmp_path / "region.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys.db").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "region.key").read_text()
    secret = text.split('"secret": "')[1][:64]
    (tmp_path / "region.key").write_text(text.replace(secret, secret[::-1]))
    with pytest.raises(Broken):
        Ring(rows, RegionKeyFile(tmp_path / "region.key", REGION)).seal(ADA, "x", TEXT)
    (tmp_path / "region.key").write_text("{}")
    with pytest.raises(ConfigError, match=r"region\.key"):
        RegionKeyFile(tmp_path / "region.key", REGION)


def test_a_region_opens_with_its_own_key_only(tmp_path: Path) -> None:
    world, folder = parse_world(WORLD), tmp_path / "regions" / "emea"
    folder.mkdir(parents=True)
    emea = HomeRegion("emea")

    async def go() -> None:
        keys = open_vault(world, tmp_path, emea)
        await keys.provide(ADA, LUNAR)
        await keys.close()
        plain = parse_world(WORLD.replace("[traffic]", "[regions.emea.data]\nencrypted = false\n[traffic]"))
        for opener in (open_keys, open_vault):
            with pytest.raises(ConfigError, match="encrypted"):
                opener(plain, tmp_path, emea)
        (folder / "keys" / "region.key").rename(folder / "elsewhere")
        with pytest.raises(ConfigError, match="bring it back"):
            open_keys(world, tmp_path, emea)
        with pytest.raises(Broken, match="made for region emea"):
            rows_in(folder, "apac")

    asyncio.run(go())


def test_bodies_from_before_are_read_as_they_are(tmp_path: Path, vault: Vault) -> None:
    """A store that was kept without sealing goes on: old texts stay as they are, new ones are sealed."""
    room = f"rom_{REGION}_1"

    async def go(sealer: Sealer, text: str) -> dict[str, str]:
        store = SqliteTimeline(tmp_path / "timeline.db", HomeRegion(REGION), sealer)
        if await store.read(lambda reads: reads.stream(room)) is None:
            await store.write(transactions.create_room, room, ADA, ())
        await store.write(transactions.post, Post(ADA, room, str(uuid.uuid4()), text_body(text)))
        found = await store.read(lambda reads: [item for item in policy.open_view(reads, ADA, room, 0, 10)[0]])
        store.close()
        return {row.entry or "": read_body(body)["text"] for row, body in found if body is not None}

    before = asyncio.run(go(Plain(), "old words"))
    after = asyncio.run(go(vault.sealer, "new words"))
    assert sorted(after.values()) == ["new words", "old words"]
    assert before.items() <= after.items()
    resting = b"".join(path.read_bytes() for path in tmp_path.glob("timeline.*"))
    assert (b"old words" in resting, b"new words" in resting) == (True, False)
