"""Erasing a person to its end, whatever stops it in between; and what its receipt proves."""

from __future__ import annotations

import asyncio
import inspect
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey

from moonbow.base.base64url import decode64, encode64
from moonbow.base.errors import Refused, Unavailable
from moonbow.directory.model import Family, PersonRow
from moonbow.gateway.erasure import TimelineErasure, take_up, tend
from moonbow.stores.directory_sql import DIRECTORY_TABLES, DirectorySql
from moonbow.stores.erasures_sql import ERASURES, ErasuresSql
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql
from moonbow.stores.timeline_sqlite import SqliteTimeline
from moonbow.timeline import transactions
from moonbow.vault.adapters.signfile import SigningKeyFile
from moonbow.vault.erasing import Erasing, Erasure
from moonbow.vault.receipts import read_receipt
from support import eventually, eventually_async
from timeline_stores import make_room, room, rows, say, texts
from vault_stage import REGION, company, person, rows_in, vault_in

ADA, BOB, LUNAR, ROOM, OTHER = person(1), person(2), company(1), room(1), room(2)
EMEA = HomeRegion(REGION)
CANARY = "a canary of ada's"


class Crash(Exception):
    """The power goes."""


class Power:
    """Goes after a number of steps; None: never."""

    def __init__(self, steps: int | None = None) -> None:
        self.left, self.taken = steps, 0

    def step(self) -> None:
        self.taken += 1
        if self.left is not None and self.taken > self.left:
            raise Crash

    def over(self, thing: Any) -> Any:
        """`thing`, of which every call is a step before and a step after."""
        return _Powered(self, thing)


class _Powered:
    def __init__(self, power: Power, thing: Any) -> None:
        self._power, self._thing = power, thing

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if not inspect.iscoroutinefunction(found) or name == "close":
            return found

        async def call(*args: Any) -> Any:
            self._power.step()
            result = await found(*args)
            self._power.step()
            return result

        return call


class People:
    """What the directory does of an erasure, on its real store."""

    def __init__(self, store: DirectorySql) -> None:
        self.store = store

    async def erase(self, ident: str) -> dict[str, int]:
        return {"profile": 1, "credential": 1, "sessions": len(await self.store.erase_person(ident, 9.0))}


class Region:
    """The stores of a region, opened as a process opens them."""

    def __init__(self, folder: Path, power: Power) -> None:
        self.vault = vault_in(folder)
        self.directory = DirectorySql(Sql.sqlite(folder / "directory.db", EMEA, *DIRECTORY_TABLES))
        self.timeline = SqliteTimeline(folder / "timeline.db", EMEA, self.vault.sealer)
        self.rows = ErasuresSql(Sql.sqlite(folder / "directory.db", EMEA, ERASURES))
        self.signer = SigningKeyFile(folder / "receipt.key", REGION)
        self.erasing = Erasing(REGION, power.over(self.rows), power.over(self.vault), self.signer)
        self.erasing.ask("directory", power.over(People(self.directory)))
        self.erasing.ask("timeline", power.over(TimelineErasure(self.timeline)))

    async def close(self) -> None:
        self.timeline.close()
        await self.directory.close()
        await self.rows.close()
        await self.vault.close()


def play(folder: Path, scenario: Callable[[Region], Awaitable[Any]], power: Power | None = None) -> Any:
    async def go() -> Any:
        region = Region(folder, power or Power())
        try:
            return await scenario(region)
        finally:
            await region.close()

    return asyncio.run(go())


async def live(region: Region) -> None:
    """Ada and Bob talk."""
    for who, name in ((ADA, "Ada Canary"), (BOB, "Bob")):
        await region.vault.provide(who, LUNAR)
        row = PersonRow(id=who, company=LUNAR, name=name, role="member", login=f"{who}@x", login_hash=who, made_at=1.0)
        await region.directory.create_person(row, "$argon2id$" + "x" * 30)
        for no in range(2):
            family = Family(
                handle=f"{who}{no}", sid=f"{who}{no}", person=who, secret="s", previous=None, turned_at=1, made_at=1, expires_at=9e9
            )  # fmt: skip
            await region.directory.open_family(family, 5)
    await make_room(region.timeline, ROOM, ADA, BOB)
    await make_room(region.timeline, OTHER, BOB, ADA)
    for n in range(3):
        await say(region.timeline, ADA, ROOM, f"a{n}", CANARY)
        await say(region.timeline, BOB, ROOM, f"b{n}", "bob's")
    await say(region.timeline, ADA, OTHER, "o", CANARY)


async def erase(region: Region) -> str | None:
    held = {"profile": 1, "credential": 1, "sessions": await region.directory.sessions(ADA)}
    await region.erasing.begin(ADA, LUNAR, {"directory": held})
    return (await region.erasing.finish(ADA)).receipt


def judge(folder: Path, receipt: str) -> None:
    """Everything is gone, everything else stands, and the receipt says so and no more."""

    async def look(region: Region) -> None:
        said = read_receipt(receipt, [region.erasing.public])
        assert said.person == ADA
        assert said.key is not None
        assert [(found.store, found.kind, found.count) for found in said.touched] == [
            ("directory", "credential", 1), ("directory", "profile", 1), ("directory", "sessions", 2),
            ("timeline", "entries", 4), ("timeline", "rooms", 2), ("vault", "key", 1),
        ]  # fmt: skip
        for secret in (LUNAR, "Canary", f"{ADA}@x"):
            assert secret not in decode64(receipt.split(".")[1]).decode(), "it names the person's id only"
        assert await region.directory.person(ADA) is None
        assert (await say(region.timeline, ADA, ROOM, "more")).code == "person_erased"
        found = await rows(region.timeline, ROOM)
        assert [row.seq for row in found] == list(range(1, len(found) + 1))
        assert [row.kind for row in found].count("erasure") == 1
        entries = [row.entry or "" for row in found if row.kind == "entry"]
        assert await texts(region.timeline, entries) == [None, "bob's"] * 3
        assert (await region.erasing.finish(ADA)).receipt == receipt, "asked again, it is the same"

    play(folder, look)


def test_a_person_is_erased_whatever_stops_it(tmp_path: Path) -> None:
    """The power goes before and after every step; the next start finishes, with one receipt and exact counts."""
    steps, went = 0, True
    while went:
        folder = tmp_path / str(steps)
        folder.mkdir()
        play(folder, live)
        secrets = resting_secrets(folder)
        assert all(found in resting(folder) for found in secrets), "the trial: they rest here before"
        try:
            receipt = play(folder, erase, Power(steps))
            went = False
        except Crash:
            receipt = None

        async def again(region: Region) -> str | None:
            await region.erasing.again(await region.directory.erased(), [])
            await take_up(region.erasing)
            found = await region.erasing.find(ADA)
            return found.receipt if found else None

        finished = play(folder, again)
        if finished is None:
            assert steps <= 1, "only what was never begun is not finished"
        else:
            assert receipt in (None, finished)
            judge(folder, finished)
            eventually(lambda folder=folder, secrets=secrets: not [s for s in secrets if s in resting(folder)])
        steps += 1
    assert steps > 12


def resting(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def resting_secrets(folder: Path) -> list[bytes]:
    """The wrapped key of Ada, and what is sealed with it."""

    async def look(region: Region) -> list[bytes]:
        table = rows_in(folder)
        found = table.find(ADA)
        await table.close()
        assert found is not None
        assert found[0].wrapped is not None
        db = region.timeline._reader
        sealed = db.execute("SELECT text FROM body JOIN post ON post.body = body.key WHERE author = ?", (ADA,))
        return [found[0].wrapped, *(text for (text,) in sealed), b"Ada Canary"]

    found: list[bytes] = play(folder, look)
    assert len(found) == 6
    return found


class Slow:
    """A room of which the first answer is late, or a refusal."""

    def __init__(self, first: Exception | None = None) -> None:
        self.asked, self.goes_on, self.first = 0, asyncio.Event(), first

    async def erase(self, ident: str) -> dict[str, int]:
        self.asked += 1
        if self.asked == 1 and self.first is not None:
            raise self.first
        await self.goes_on.wait()
        return {"things": 3 if self.asked == 1 else 0}


def test_whoever_asked_may_go_and_the_erasure_goes_on(tmp_path: Path) -> None:
    """The bus cancels a handler after some seconds, and a door asks again meanwhile."""

    async def scenario(region: Region) -> str | None:
        await live(region)
        slow = Slow()
        region.erasing.ask("slow", slow)
        asked = asyncio.create_task(erase(region))
        await eventually_async(lambda: slow.asked == 1)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        again = asyncio.create_task(erase(region))
        await asyncio.sleep(0)
        slow.goes_on.set()
        receipt = await again
        assert slow.asked == 1, "one erasure, not two"
        return receipt

    said = play(tmp_path, scenario)
    with_key = play(tmp_path, lambda region: answer(read_receipt(said, [region.erasing.public])))
    assert [found.count for found in with_key.touched if found.store == "slow"] == [3]


def test_what_was_cut_short_is_taken_up_by_the_gateway_that_leads(tmp_path: Path) -> None:
    async def scenario(region: Region) -> None:
        await live(region)
        slow = Slow(Unavailable("store_unavailable", "away"))
        slow.goes_on.set()
        region.erasing.ask("slow", slow)
        with pytest.raises(Unavailable):
            await erase(region)
        assert await region.erasing.unfinished() == [ADA]
        leads = [False]
        tending = asyncio.create_task(tend(region.erasing, lambda: leads[0], every_s=0.02))
        await asyncio.sleep(0.1)
        assert slow.asked == 1, "another gateway leads"
        leads[0] = True

        async def finished() -> bool:
            return await region.erasing.unfinished() == []

        await eventually_async(finished)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        found = await region.erasing.find(ADA)
        assert found
        assert found.receipt

    play(tmp_path, scenario)


def test_one_that_cannot_be_finished_holds_up_no_other(tmp_path: Path) -> None:
    async def scenario(region: Region) -> None:
        await live(region)
        slow = Slow(Unavailable("store_unavailable", "away"))
        slow.goes_on.set()
        region.erasing.ask("slow", slow)
        for who in (ADA, BOB):
            await region.erasing.begin(who, LUNAR, {})
        await take_up(region.erasing)
        assert await region.erasing.unfinished() == [ADA]

    play(tmp_path, scenario)


def test_nothing_is_signed_before_the_logs_are_empty_and_no_count_is_lost(tmp_path: Path) -> None:
    """A backup reads while somebody is erased; a room that counts once is asked again."""

    async def scenario(region: Region) -> str | None:
        await live(region)
        slow = Slow()
        slow.goes_on.set()
        emptied: list[int] = []

        async def scrub() -> None:
            emptied.append(1)
            if len(emptied) == 1:
                raise Unavailable("store_unavailable", "its log cannot be emptied now")

        region.erasing.ask("slow", slow, scrub)
        with closing(sqlite3.connect(tmp_path / "directory.db", isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT count(*) FROM person").fetchone()
            with pytest.raises(Unavailable):
                await erase(region)
            await take_up(region.erasing)
            assert await region.erasing.unfinished() == [ADA], "ada's login still lies in the log"
        await take_up(region.erasing)
        assert await region.erasing.unfinished() == [ADA], "and something in the room's"
        await take_up(region.erasing)
        assert (tmp_path / "directory.db-wal").stat().st_size < 20_000, "emptied before the receipt was kept"
        found = await region.erasing.find(ADA)
        return found.receipt if found else None

    receipt: str = play(tmp_path, scenario)
    said = play(tmp_path, lambda region: answer(read_receipt(receipt, [region.erasing.public])))
    counts = {(found.store, found.kind): found.count for found in said.touched}
    assert (counts["slow", "things"], counts["directory", "sessions"]) == (3, 2)


def test_a_start_asks_little_about_those_erased_long_ago(tmp_path: Path) -> None:
    """However many were ever erased: no step for each, and one emptying of the log."""
    play(tmp_path, live)
    play(tmp_path, erase)
    long_gone = [ADA, *(person(number) for number in range(1_000, 1_700))]
    power = Power()

    async def start(region: Region) -> int:
        for each in long_gone:
            await region.rows.begin(Erasure(each, LUNAR, 1.0, {}, None))
            await region.rows.finish(each, "a receipt")
        power.taken = 0
        await region.erasing.again(long_gone, [])
        await take_up(region.erasing)
        return power.taken

    assert play(tmp_path, start, power) < 20


def test_an_erasure_that_is_not_noted_is_not_carried_out(tmp_path: Path) -> None:
    async def scenario(region: Region) -> None:
        await live(region)
        with pytest.raises(Unavailable, match="not noted here yet"):
            await region.erasing.finish(ADA)
        assert await region.directory.person(ADA)

    play(tmp_path, scenario)


async def answer(value: Any) -> Any:
    return value


def test_who_comes_back_with_a_backup_is_erased_again(tmp_path: Path) -> None:
    """Keys and timeline of yesterday, and the directory of today, which knows."""
    play(tmp_path, live)
    backup = {name: (tmp_path / name).read_bytes() for name in ("keys.db", "timeline.db")}
    receipt = play(tmp_path, erase)
    for name, content in backup.items():
        for path in tmp_path.glob(f"{name}*"):
            path.unlink()
        (tmp_path / name).write_bytes(content)

    async def again(region: Region) -> None:
        erased = await region.directory.erased()
        assert erased == [ADA]
        assert not await region.timeline.read(lambda reads: reads.is_gone(ADA)), "the trial: she is back"
        await region.erasing.again(erased, erased)

    play(tmp_path, again)
    judge(tmp_path, receipt)


def test_a_changed_receipt_is_found_out_and_any_jose_library_reads_it(tmp_path: Path) -> None:
    play(tmp_path, live)
    receipt: str = play(tmp_path, erase)
    key, other = (
        SigningKeyFile(tmp_path / "receipt.key", REGION).public,
        SigningKeyFile(tmp_path / "o.key", REGION).public,
    )
    head, body, signature = receipt.split(".")
    said = json.loads(decode64(body))
    forged = encode64(json.dumps({**said, "touched": []}).encode())
    nobody = encode64(json.dumps({**json.loads(decode64(head)), "alg": "none"}).encode())
    for wrong in (
        f"{head}.{forged}.{signature}", f"{nobody}.{body}.", f"{head}.{body}", "", "x" * 20_000,
        f"{head}.{body}.{encode64(bytes(64))}", receipt + "A",
    ):  # fmt: skip
        with pytest.raises(Refused, match="receipt_invalid"):
            read_receipt(wrong, [key])
    with pytest.raises(Refused, match="none of the keys"):
        read_receipt(receipt, [other])
    theirs = OKPKey.import_key({"kty": key.kty, "crv": key.crv, "x": key.x, "kid": key.kid})
    with pytest.warns(SecurityWarning, match="RFC 9864"):  # most libraries do not know its newer name yet
        assert json.loads(jws.deserialize_compact(receipt, theirs, algorithms=["EdDSA"]).payload) == said


def test_an_unsealed_region_gives_receipts_too(tmp_path: Path) -> None:
    from moonbow.vault.plain import NoKeys

    async def go() -> None:
        rows_ = ErasuresSql(Sql.sqlite(tmp_path / "directory.db", EMEA, ERASURES))
        keys = NoKeys()
        timeline = SqliteTimeline(tmp_path / "timeline.db", EMEA, keys.sealer)
        erasing = Erasing(REGION, rows_, keys, SigningKeyFile(tmp_path / "receipt.key", REGION))
        erasing.ask("timeline", TimelineErasure(timeline))
        await make_room(timeline, ROOM, ADA)
        await timeline.write(transactions.create_room, OTHER, BOB, ())
        await say(timeline, ADA, ROOM, "x", CANARY)
        await erasing.begin(ADA, LUNAR, {})
        done = await erasing.finish(ADA)
        said = read_receipt(done.receipt or "", [erasing.public])
        assert (said.key, [(t.kind, t.count) for t in said.touched]) == (None, [("entries", 1), ("rooms", 1)])
        timeline.close()
        await rows_.close()

    asyncio.run(go())
