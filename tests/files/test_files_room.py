"""Files between people, rooms and regions, on real stores: who may read, what comes of crashes, scans and time."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import new_id
from moonbow.files import reading
from moonbow.files.adapters.command import Command
from moonbow.files.model import Described, Sight
from moonbow.files.process import LATE_S
from moonbow.files.uploads import AGAIN_S, LOOKS_MAX
from moonbow.timeline import transactions
from support import eventually_async

from .room import Place, person, play

ADA, BEN, EVE = person(1), person(2), person(3)
YUI, KEN = person(4, "apac"), person(5, "apac")
MIA = person(6, "na")


async def refused(work: object) -> str:
    with pytest.raises((Refused, Unavailable)) as caught:
        await work  # type: ignore[misc]
    return str(caught.value.code)


def test_a_file_whose_announcement_was_not_heard_is_announced_again_and_stays_one(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        client_id = "0b5a1e3c-8d1e-4a51-9c55-0f6c4d0e7a11"
        file = await emea.files.uploads.create(ADA, "a.bin", 5, None, client_id)
        await emea.send(file, b"hello", 0, 5)
        again = await emea.files.uploads.create(ADA, "a.bin", 5, None, client_id)
        assert (again.id, again.state) == (file.id, "ready"), "as it is by now"
        for name, size in (("b.bin", 5), ("a.bin", 6)):
            with pytest.raises(Refused, match="client_id_reused"):
                await emea.files.uploads.create(ADA, name, size, None, client_id)

    play(tmp_path, scenario)


def test_only_who_sees_an_entry_reads_its_file(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        content = os.urandom(900_000)
        file = await emea.upload(ADA, content)
        room = await emea.room(ADA, BEN)
        assert await refused(emea.read(BEN, file.id)) == "file_unknown"
        said = await emea.say(ADA, room, file.id)
        assert await emea.read(BEN, file.id) == content
        assert await emea.read(ADA, file.id, (399_990, 20)) == content[399_990:400_010]
        assert await refused(emea.read(EVE, file.id)) == "file_unknown"
        assert await refused(emea.say(BEN, room, file.id)) == "file_unknown", "only its owner shares it"
        await emea.side.store.write(transactions.change_member, room, ADA, EVE, True)
        assert await refused(emea.read(EVE, file.id)) == "file_unknown", "who joins later does not see what was before"
        await emea.side.store.write(transactions.change_member, room, BEN, BEN, False)
        assert await emea.read(BEN, file.id) == content, "who was there still sees what was"
        again = await emea.say(ADA, room, file.id)
        assert await emea.read(EVE, file.id) == content
        await emea.side.store.write(transactions.redact, ADA, room, said.entry or "")
        assert await refused(emea.read(BEN, file.id)) == "file_unknown"
        assert await emea.read(EVE, file.id) == content, "the other entry stands"
        await emea.side.store.write(transactions.redact, ADA, room, again.entry or "")
        assert await refused(emea.read(EVE, file.id)) == "file_unknown"
        assert await emea.read(ADA, file.id) == content

    play(tmp_path, scenario)


def test_a_post_that_was_refused_or_says_something_else_shares_nothing(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        file = await emea.upload(ADA, b"secret")
        foreign = await emea.room(BEN, EVE)
        assert (await emea.say(ADA, foreign, file.id)).state == "refused"
        assert await refused(emea.read(BEN, file.id)) == "file_unknown"
        room = await emea.room(ADA, BEN)
        other = await emea.upload(ADA, b"other")
        said = await emea.say(ADA, room, other.id)
        known = await emea.side.store.read(lambda store: store.bodies([said.entry or ""]))
        assert known
        shares = await emea.files.catalogue.shares(other.id)
        await emea.files.catalogue.share(
            [file.id], shares[0]
        )  # a post that never came to be, under a client id that is used
        assert await emea.read(BEN, other.id) == b"other"
        assert await refused(emea.read(BEN, file.id)) == "file_unknown"

    play(tmp_path, scenario)


def test_other_regions_read_live_what_their_people_see(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea, apac, na = places["emea"], places["apac"], places["na"]
        content = os.urandom(1_300_000)
        file = await emea.upload(ADA, content)
        room = await apac.room(YUI, ADA)  # homed in neither the reader's nor, later, the author's region alone

        async def kept() -> bool:
            return (await emea.say(ADA, room, file.id)).state == "kept"

        assert await eventually_async(kept)

        async def far() -> bool:
            try:
                return await apac.read(YUI, file.id) == content
            except Refused:
                return False

        assert await eventually_async(far)
        assert await apac.read(YUI, file.id, (262_140, 10)) == content[262_140:262_150]
        assert await refused(apac.read(KEN, file.id)) == "file_unknown"
        assert await refused(na.read(MIA, file.id)) == "file_unknown"
        assert apac.resting() == na.resting() == []
        apac.wire.cut.add("emea")
        assert await refused(apac.read(YUI, file.id)) == "file_held"

    play(tmp_path, scenario, *("emea", "apac", "na"))


def test_a_region_is_told_nothing_that_its_people_may_not_see(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea, na = places["emea"], places["na"]
        file = await emea.upload(ADA, b"for apac only")
        room = await emea.room(ADA, BEN, YUI)
        said = await emea.say(ADA, room, file.id)
        sight = Sight(room, said.entry or "", said.seq or 0)
        opened = await emea.files.serve("apac", reading.OPEN_OP, reading.pack(reading.OpenAsk(file.id, YUI)))
        assert b"for" not in opened
        assert sight.entry.encode() in opened
        nothing = reading.pack(reading.Opened(None, []))
        assert await na.wire.request("emea", reading.OPEN_OP, reading.pack(reading.OpenAsk(file.id, MIA))) == nothing
        for caller, ask in (
            ("na", reading.OpenAsk(file.id, YUI)),  # speaks for another region's person
            ("na", reading.OpenAsk(file.id, ADA)),
            ("apac", reading.OpenAsk("fil_apac_" + file.id[9:], YUI)),
            ("apac", reading.OpenAsk("../../x", YUI)),
        ):
            assert await refused(emea.files.serve(caller, reading.OPEN_OP, reading.pack(ask))) == "forbidden"
        for caller, ask in (
            ("na", reading.ReadAsk(file.id, MIA, sight, 0, 4)),
            ("apac", reading.ReadAsk(file.id, KEN, sight, 0, 4)),
            ("apac", reading.ReadAsk(file.id, YUI, Sight(room, "ent_emea_x", 1), 0, 4)),
        ):
            assert await refused(emea.files.serve(caller, reading.READ_OP, reading.pack(ask))) == "file_unknown"
        for start, size in ((0, 0), (-1, 3), (0, 99), (13, 1), (0, reading.CHUNK_BYTES + 1), (2**60, 1)):
            ask = reading.ReadAsk(file.id, YUI, sight, start, size)
            assert await refused(emea.files.serve("apac", reading.READ_OP, reading.pack(ask))) == "malformed"
        for junk in (b"", b"\xc1", b"\x93\x01\x02\x03", os.urandom(50)):
            assert await refused(emea.files.serve("apac", reading.READ_OP, junk)) == "malformed"

    play(tmp_path, scenario, "emea", "apac", "na")


def test_what_another_region_says_is_not_believed(tmp_path: Path) -> None:
    """A region that lies about a file cannot show it to whom our own copy does not let see it, nor break a header."""

    async def scenario(places: dict[str, Place]) -> None:
        apac = places["apac"]
        ident, room = new_id("fil", "emea"), await apac.room(YUI)
        said = await apac.side.store.read(lambda store: store.stream(room))
        assert said is not None
        honest = Described(ident, "a.png", "image/png", 10)
        lies = [
            (honest, [Sight(room, "ent_emea_" + ident[9:], 1)], "file_unknown"),
            (Described(new_id("fil", "emea"), "a", "image/png", 10), [], "answer_malformed"),
            (Described(ident, "a\r\nSet-Cookie: x", "image/png", 10), [], "answer_malformed"),
            (Described(ident, "a", "image/png\r\n", 10), [], "answer_malformed"),
            (Described(ident, "a", "image/png", 2**60), [], "answer_malformed"),
        ]
        for about, sights, code in lies:
            places["emea"].files._served[reading.OPEN_OP] = _answering(reading.Opened(about, sights))
            assert await refused(apac.read(YUI, ident)) == code

    play(tmp_path, scenario, "emea", "apac")


def _answering(answer: reading.Opened) -> object:
    async def serve(_caller: str, _payload: bytes) -> bytes:
        return reading.pack(answer)

    return serve


def test_an_upload_goes_on_after_any_crash(tmp_path: Path) -> None:
    """The object is there and its row is not; the row is there and the answer was lost; the last look never came."""

    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        content = os.urandom(1_000_000)
        file = await emea.files.uploads.create(ADA, "a.bin", len(content), None)
        real = emea.files.catalogue.add_part

        async def crash(*_: object) -> None:
            raise Unavailable("store_unavailable", "crashed before the row")

        emea.files.catalogue.add_part = crash  # type: ignore[method-assign,assignment]
        assert await refused(emea.send(file, content, 0, 400_000)) == "store_unavailable"
        emea.files.catalogue.add_part = real  # type: ignore[method-assign]
        assert (await emea.files.uploads.own(ADA, file.id)).received == 0
        assert len(emea.resting()) == 1
        await emea.send(file, content, 0, 300_000)  # another cut than the attempt that was lost
        await emea.send(file, content, 0, 300_000)
        assert await refused(emea.send(file, content, 100_000, 400_000)) == "part_out_of_order"
        emea.files.uploads.look = crash  # type: ignore[method-assign,assignment]
        assert await refused(emea.send(file, content, 300_000, 1_000_000)) == "store_unavailable"
        del emea.files.uploads.look  # type: ignore[attr-defined]
        assert (await emea.files.uploads.own(ADA, file.id)).state == "checking"
        emea.now += AGAIN_S + 1
        assert await emea.files.sweep() == 1
        assert await emea.read(ADA, file.id) == content

    play(tmp_path, scenario)


def test_what_is_over_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        unfinished = await emea.files.uploads.create(ADA, "u", 1_000, None)
        await emea.files.uploads.add_part(ADA, unfinished.id, "bytes 0-99/1000", b"x" * 100)
        short = await emea.files.uploads.create(ADA, "s", 4, 3600)
        await emea.send(short, b"four", 0, 4)
        deleted = await emea.upload(ADA, b"deleted")
        lasting = await emea.upload(ADA, b"lasting")
        await emea.files.delete(ADA, deleted.id)
        assert await refused(emea.read(ADA, deleted.id)) == "file_unknown"
        assert (await emea.files.catalogue.usage(ADA)).used_bytes == 1_000 + 4 + 7
        await emea.files.sweep()
        assert len(emea.resting()) == 3, "the deleted one's objects went at once"
        await emea.objects.put(f"{deleted.id}/late", b"of an attempt that was under way")
        emea.now += limits.UPLOAD_S + LATE_S + 1
        for _ in range(4):
            await emea.files.sweep()
            emea.now += LATE_S + 1
        assert [path.parent.name for path in emea.resting()] == [lasting.id]
        assert await emea.files.catalogue.due(emea.now + 10 * limits.UPLOAD_S, 10) == []
        assert [file.id for file in await emea.files.catalogue.page(ADA, None, 10)] == [lasting.id]
        assert (await emea.files.catalogue.usage(ADA)) == (7, 0, 1)

    play(tmp_path, scenario)


def test_erasing_a_person_leaves_nothing_of_theirs(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        files = [await emea.upload(ADA, f"canary-{no}".encode(), f"canary-name-{no}") for no in range(3)]
        other = await emea.upload(BEN, b"stays")
        room = await emea.room(ADA, BEN)
        await emea.say(ADA, room, files[0].id)
        assert await emea.files.erase(ADA) == {"files": 3, "shares": 1, "avatars": 0}
        assert await emea.files.erase(ADA) == {"files": 0, "shares": 0, "avatars": 0}
        assert await refused(emea.read(BEN, files[0].id)) == "file_unknown"
        await emea.files.sweep()
        assert [path.parent.name for path in emea.resting()] == [other.id]
        await emea.files.catalogue.scrub()  # as whoever signs for the erasure does
        assert not any(b"canary-" in path.read_bytes() for path in emea.folder.glob("files.db*"))

    play(tmp_path, scenario)


def scanner(folder: Path, script: str, timeout_s: float = 20.0) -> Command:
    file = folder / "scan"
    file.write_text(f"#!{sys.executable}\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return Command([str(file)], timeout_s)


FINDS = "import sys\nraise SystemExit(1 if b'EICAR' in sys.stdin.buffer.read() else 0)"


def test_an_infected_file_is_read_by_nobody(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        clean = await emea.upload(ADA, b"\x00" * 500_000 + b"clean")
        bad = await emea.upload(ADA, b"\x00" * 500_000 + b"EICAR")
        assert (clean.state, bad.state, bad.reason) == ("ready", "refused", "infected")
        assert await refused(emea.read(ADA, bad.id)) == "file_unknown"
        assert await refused(emea.say(ADA, await emea.room(ADA), bad.id)) == "file_not_ready"
        assert {path.parent.name for path in emea.resting()} == {clean.id}
        script = await emea.upload(ADA, b"#!/bin/sh\n")
        assert (script.state, script.reason) == ("refused", "type_not_allowed")

    play(tmp_path, scenario, scanner=scanner(tmp_path, FINDS))


def test_what_was_looked_at_is_not_replaced_by_a_late_part(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        contents = [b"clean", b"EICAR", b"other"]
        file = await emea.files.uploads.create(ADA, "a", 5, None)
        await asyncio.gather(*(emea.send(file, content, 0, 5) for content in contents))
        found = await emea.files.uploads.own(ADA, file.id)
        if found.state == "ready":
            assert await emea.read(ADA, file.id) in (b"clean", b"other")
            assert len(emea.resting()) == 1, "what lost is removed"
        else:
            assert (found.reason, emea.resting()) == ("infected", [])

    play(tmp_path, scenario, scanner=scanner(tmp_path, FINDS))


def test_a_part_that_came_too_late_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        file = await emea.files.uploads.create(ADA, "a", 5, None)
        store = emea.objects._put
        came = asyncio.Event()

        async def slowly(key: str, content: bytes) -> None:
            if content == b"EICAR":
                await came.wait()
            await store(key, content)

        monkeypatch.setattr(emea.objects, "_put", slowly)
        late = asyncio.create_task(emea.send(file, b"EICAR", 0, 5))
        await asyncio.sleep(0.05)
        assert (await emea.send(file, b"clean", 0, 5)).state == "ready"
        came.set()
        assert (await late).state == "ready"
        assert await emea.read(ADA, file.id) == b"clean"
        emea.files.shelf._kept.clear()
        assert await emea.read(ADA, file.id) == b"clean"
        assert len(emea.resting()) == 1

    play(tmp_path, scenario, scanner=scanner(tmp_path, FINDS))


def test_a_scanner_that_does_not_answer_lets_nothing_through(tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    script = f"import os, sys\nif not os.path.exists({str(mended)!r}): raise SystemExit(2)\n{FINDS}"

    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        file = await emea.upload(ADA, b"wait for it")
        assert file.state == "checking"
        assert await refused(emea.read(ADA, file.id)) == "file_unknown"
        emea.now += AGAIN_S + 1
        await emea.files.sweep()
        assert (await emea.files.uploads.own(ADA, file.id)).state == "checking"
        mended.touch()
        emea.now += 10 * AGAIN_S
        await emea.files.sweep()
        assert await emea.read(ADA, file.id) == b"wait for it"
        mended.unlink()
        never = await emea.upload(ADA, b"never")
        for _ in range(LOOKS_MAX):
            emea.now += AGAIN_S * 2**LOOKS_MAX
            await emea.files.sweep()
        never = await emea.files.uploads.own(ADA, never.id)
        assert (never.state, never.reason) == ("refused", "check_failed")

    play(tmp_path, scenario, scanner=scanner(tmp_path, script))


def test_a_scanner_that_hangs_is_ended(tmp_path: Path) -> None:
    async def content() -> object:
        for _ in range(50):
            yield b"x" * 100_000

    with pytest.raises(Unavailable):
        asyncio.run(scanner(tmp_path, "import time\ntime.sleep(60)", 0.5).infected(content()))  # type: ignore[arg-type]
    early = scanner(tmp_path, "raise SystemExit(1)")
    assert asyncio.run(early.infected(content()))  # type: ignore[arg-type]
