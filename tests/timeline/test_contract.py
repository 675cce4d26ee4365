"""What the timeline expects of every store: batches, answers, snapshots, erasure, and whose it is."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import threading
from typing import Any

import pytest

from moonbow.base.errors import Broken, Refused
from moonbow.base.ids import parse_id
from moonbow.timeline import transactions
from moonbow.timeline.model import ChangeMember, PlaceEntry, Post, RedactEntry, Result, text_body
from moonbow.timeline.ports import Reads, Store, Tx
from support import eventually
from timeline_stores import (
    HOME,
    Adapter,
    Published,
    all_rows,
    dense,
    failing_after_write,
    key,
    make_room,
    new_post,
    person,
    play,
    room,
    rows,
    say,
    texts,
)

ADA, BOB, EVE, FAR = person(1), person(2), person(3), person(1, "apac")
ROOM, OTHER, AWAY = room(1), room(2), room(1, "apac")


# -- batches ---------------------------------------------------------------------------------------------------------


def test_what_is_asked_at_once_is_placed_in_order(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA, BOB)
        answers = await asyncio.gather(*(say(store, ADA, ROOM, n) for n in range(700)))
        assert [answer.seq for answer in answers] == list(range(3, 703))
        assert dense(await rows(store, ROOM))

    play(adapter, go)


def test_each_is_refused_alone(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)
        await say(store, ADA, ROOM, "used")
        answers: list[Any] = await asyncio.gather(
            say(store, ADA, ROOM, "one"),
            say(store, EVE, ROOM, "stranger"),
            say(store, ADA, ROOM, "used", text="something else"),
            say(store, ADA, OTHER, "nowhere"),
            say(store, ADA, ROOM, "two"),
            return_exceptions=True,
        )
        assert [getattr(answer, "state", type(answer).__name__) for answer in answers] == [
            "placed", "refused", "Refused", "refused", "placed",
        ]  # fmt: skip
        assert answers[4].seq == answers[0].seq + 1
        assert answers[2].code == "client_id_reused"

    play(adapter, go)


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [(Refused("no", "refused late"), Refused), (ZeroDivisionError(), Broken), (KeyError("x"), Broken)],
)
def test_what_fails_after_writing_takes_only_itself_back(
    adapter: Adapter, fault: Exception, wanted: type[Exception]
) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)
        heard = Published(store)
        answers: list[Any] = await asyncio.gather(
            *(say(store, ADA, ROOM, n) for n in range(20)),
            store.write(failing_after_write(fault, OTHER)),
            *(say(store, ADA, ROOM, n) for n in range(20, 40)),
            return_exceptions=True,
        )
        assert type(answers[20]) is wanted
        assert [a.seq for n, a in enumerate(answers) if n != 20] == list(range(2, 42))
        assert await store.read(lambda reads: reads.stream(OTHER)) is None
        assert [f.row.seq for f in heard.fresh] == list(range(2, 42)), "each row is published once, in order"

    play(adapter, go)


def test_a_unique_violation_takes_the_batch_back_and_runs_it_again(adapter: Adapter) -> None:
    """Somebody's blind write meets a key that exists: the others of its batch are placed, once."""

    def blindly(tx: Tx) -> None:
        tx.add_post(ADA, key("taken"), b"m" * 16, f"ent_{HOME}_0", ROOM, "placed", 1, None, b"{}")

    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)
        heard = Published(store)
        answers: list[Any] = await asyncio.gather(
            say(store, ADA, ROOM, "taken"),
            say(store, ADA, ROOM, "before"),
            store.write(blindly),
            say(store, ADA, ROOM, "after"),
            return_exceptions=True,
        )
        assert [getattr(a, "seq", type(a)) for a in answers] == [2, 3, Broken, 4]
        assert [f.row.seq for f in heard.fresh] == [2, 3, 4]
        assert dense(await rows(store, ROOM))

    play(adapter, go)


def test_two_hands_make_a_direct_room_once(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        again = adapter.open()
        made = await asyncio.gather(
            *(make_room(s, f"dir_{HOME}_{key(n)[:8]}", *pair) for n, (s, pair) in enumerate(
                [(store, (ADA, BOB)), (again, (BOB, ADA)), (store, (BOB, ADA)), (again, (ADA, BOB))]
            ))
        )  # fmt: skip
        again.close()
        assert len(set(made)) == 1
        assert [row.kind for row in await rows(store, made[0])] == ["join", "join"]

    play(adapter, go)


def test_publication_follows_the_commit_and_names_who_may_have_what(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        heard = Published(store)
        await make_room(store, ROOM, ADA, FAR)
        await say(store, ADA, ROOM, "hello")
        told = [f for f in heard.fresh if f.row.stream == ROOM]
        assert [f.row.kind for f in told] == ["join", "join", "entry"]
        assert [f.row_regions for f in told] == [(), ("apac",), ("apac",)]
        assert told[2].body_regions == ("apac",)
        assert heard.queued == 1, "the notice to the far member waits in the outbox"
        await store.write(transactions.change_member, ROOM, ADA, FAR, False)
        await say(store, ADA, ROOM, "alone again")
        assert heard.fresh[-1].row_regions == ("apac",)
        assert heard.fresh[-1].body_regions == ()

    play(adapter, go)


# -- replays ---------------------------------------------------------------------------------------------------------


def test_a_client_id_names_one_entry_for_ever(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA, BOB)
        first = await say(store, ADA, ROOM, "x", text="once")
        again = await asyncio.gather(*(say(store, ADA, ROOM, "x", text="once") for _ in range(5)))
        assert {answer.entry for answer in again} == {first.entry}
        assert {answer.seq for answer in again} == {first.seq}
        assert (await say(store, BOB, ROOM, "x", text="once")).entry != first.entry, "unique per author"
        refused = await say(store, EVE, ROOM, "y")
        await store.write(transactions.change_member, ROOM, ADA, EVE, True)
        assert (await say(store, EVE, ROOM, "y")).state == refused.state == "refused", "a refusal is remembered"
        assert (await say(store, EVE, ROOM, "z")).state == "placed"

    play(adapter, go)


# -- reads -----------------------------------------------------------------------------------------------------------


def test_a_read_sees_one_moment(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)

        def twice(reads: Reads) -> tuple[int, int]:
            before = len(all_rows(reads, ROOM))
            other = threading.Thread(target=lambda: play(adapter, lambda s: say(s, ADA, ROOM, "meanwhile")))
            other.start()
            other.join()
            return before, len(all_rows(reads, ROOM))

        assert await store.read(twice) == (1, 1)
        assert len(await rows(store, ROOM)) == 2, "the next read sees what has been acknowledged elsewhere"

    play(adapter, go)


def test_what_one_process_acknowledged_every_other_reads(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        other = adapter.open()
        await make_room(store, ROOM, ADA)
        for n in range(20):
            writer, reader = (store, other) if n % 2 else (other, store)
            answer = await say(writer, ADA, ROOM, n)
            assert answer.entry is not None
            assert (await rows(reader, ROOM))[-1].entry == answer.entry
            assert await texts(reader, [answer.entry]) == [str(n)]
        other.close()

    play(adapter, go)


def test_pages_and_lookups(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA, BOB, FAR)
        said = [await say(store, ADA if n % 3 else BOB, ROOM, n) for n in range(9)]
        await store.write(transactions.change_member, ROOM, ADA, BOB, False)

        def look(reads: Reads) -> None:
            stream = reads.stream(ROOM)
            assert stream is not None
            assert (stream.head, stream.no, stream.creator, stream.regions) == (13, 9, ADA, (HOME, "apac"))
            assert [r.seq for r in reads.rows_after(stream, 4, 3)] == [5, 6, 7]
            assert [r.seq for r in reads.rows_before(stream, 4, 2)] == [2, 3]
            assert reads.rows_after(stream, 13, 5) == []
            assert reads.row(stream, 14) is None
            found = reads.find_entry(said[4].entry or "")
            assert found is not None
            assert (found.seq, found.no, found.author) == (8, 5, ADA)
            assert reads.find_entry("ent_emea_nothing") is None
            assert [r.seq for r in reads.entries_of(stream, BOB)] == [4, 7, 10]
            assert reads.own_messages_after(stream, BOB, 4) == 2
            assert [(s.joined, s.left) for s in reads.spans(stream, BOB)] == [(2, 13)]
            assert reads.members(stream) == [(ADA, 1), (FAR, 3)]
            assert reads.region_sees(stream, "apac", 3)
            assert not reads.region_sees(stream, "apac", 2)
            assert not reads.region_sees(stream, "apa", 5)
            assert reads.heads([ROOM, OTHER]) == {ROOM: 13}
            assert reads.heads([]) == {}
            assert reads.seats(ADA) == [ROOM]
            assert reads.seat(FAR, ROOM) == (0, False), "the seat of a far member is at its home"
            assert reads.outbox_heads("apac", "", 10) == ["inb" + FAR[3:]]
            assert reads.epoch() == 1

        await store.read(look)

    play(adapter, go)


def test_many_bodies_and_heads_in_one_question(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)
        said = [a.entry or "" for a in await asyncio.gather(*(say(store, ADA, ROOM, n) for n in range(1_200)))]
        assert await texts(store, said) == [str(n) for n in range(1_200)]
        names = [room(n) for n in range(1_200)]
        assert await store.read(lambda reads: reads.heads(names)) == {ROOM: 1_201}

    play(adapter, go)


def test_copies_are_listed_in_pages(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)
        away = sorted(room(n, region) for n in range(5) for region in ("apac", "emeax", "em"))
        for ident in away:
            for who in (ADA, BOB):
                await store.write(lambda tx, i=ident, w=who: tx.set_seat(w, i, invited=True))
        found: list[str] = []
        after = ""
        while page := await store.read(lambda reads, after: reads.copies(after, 4), after):
            after = page[-1][0]
            found += [ident for ident, head in page if head == 0]
        assert found == away

    play(adapter, go)


# -- other regions ---------------------------------------------------------------------------------------------------


def test_the_outbox_is_dense_and_empties_once(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await store.write(lambda tx: tx.set_seat(ADA, AWAY, invited=True))
        kept = [await say(store, ADA, AWAY, n) for n in range(3)]
        assert [a.state for a in kept] == ["kept"] * 3
        sent = await store.read(lambda reads: reads.outgoing("apac", AWAY, 10))
        assert [(out.out_no, out.effect) for out in sent] == [
            (n + 1, PlaceEntry(a.entry or "", ADA, False)) for n, a in enumerate(kept)
        ]
        for _ in range(2):
            await store.write(transactions.settle, "apac", AWAY, 1, Result("placed", 7))
        await store.write(transactions.settle, "apac", AWAY, 2, Result("refused", None, "not_member"))
        inbox = await rows(store, "inb" + ADA[3:])
        assert [(r.kind, r.entry, r.detail) for r in inbox] == [
            *(("kept", a.entry, None) for a in kept),
            ("placed", kept[0].entry, "7"),
            ("refused", kept[1].entry, "not_member"),
        ]
        assert (await say(store, ADA, AWAY, 0)).seq == 7
        assert (await say(store, ADA, AWAY, 1)).code == "not_member"
        assert await texts(store, [kept[1].entry or ""]) == ["1"], "a refused text stays with its author"
        await say(store, ADA, AWAY, "next")
        left = await store.read(lambda reads: reads.outgoing("apac", AWAY, 10))
        assert [out.out_no for out in left] == [3, 4]

    play(adapter, go)


def test_effects_apply_once_and_in_order(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA, FAR)
        far = [PlaceEntry(f"ent_apac_{n:026d}", FAR, False) for n in range(5)]

        async def apply(*numbers: int, epoch: int = 1) -> list[tuple[int, str | None, int]]:
            sent = [(n, far[n - 1]) for n in numbers]
            done = await store.write(transactions.apply, "apac", epoch, ROOM, sent)
            return [(a.out_no, a.result.state if a.result else None, a.expected) for a in done]

        assert await apply(2) == [(2, None, 1)]
        assert await apply(1, 2) == [(1, "placed", 0), (2, "placed", 0)]
        assert await apply(1, 2, 3) == [(1, "placed", 0), (2, "placed", 0), (3, "placed", 0)]
        assert await apply(3, 5) == [(3, "placed", 0), (5, None, 4)]
        assert [r.entry for r in await rows(store, ROOM)][2:] == [e.entry for e in far[:3]]
        forged = [
            (4, PlaceEntry("ent_anz_1", FAR, False)),
            (5, RedactEntry(far[0].entry, ADA)),
            (6, ChangeMember(ADA, EVE, True)),
        ]
        done = await store.write(transactions.apply, "apac", 1, ROOM, forged)
        assert [a.result.code for a in done if a.result] == ["forged"] * 3

    play(adapter, go)


def test_a_new_epoch_begins_with_every_other_region_to_be_heard(adapter: Adapter) -> None:
    others = [f"region{n:09d}" for n in range(30)]

    async def go(store: Store) -> None:
        await store.write(lambda tx: tx.set_seat(ADA, AWAY, invited=True))
        kept = await say(store, ADA, AWAY, "waits")
        assert await store.read(transactions.unheard) == []
        parse_id(transactions.recovery_notes(HOME), "inb")  # the audit takes it for a stream
        assert await store.write(transactions.begin_epoch, 1_800_000_000, others) == 1_800_000_000
        sent = await store.read(lambda reads: reads.outgoing("apac", AWAY, 10))
        assert [(out.out_no, out.effect) for out in sent] == [(1, PlaceEntry(kept.entry or "", ADA, False))]
        assert await store.read_latest(transactions.unheard) == others
        for other in (others[7], others[7], "nobody"):
            await store.write(transactions.heard, other)
        assert await store.read_latest(transactions.unheard) == [*others[:7], *others[8:]]
        for other in others:
            await store.write(transactions.heard, other)
        assert await store.read_latest(transactions.unheard) == []
        assert await store.write(transactions.begin_epoch, 5, ["apac"]) == 1_800_000_001
        assert await store.read_latest(transactions.unheard) == ["apac"]

    play(adapter, go)


def test_an_entry_has_one_place_whatever_its_region_says(adapter: Adapter) -> None:
    """A region restored from a backup sends again what was placed already; a lying one sends it to two rooms."""

    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA, FAR)
        await make_room(store, OTHER, ADA, FAR)
        entry = PlaceEntry("ent_apac_0", FAR, False)
        first = await store.write(transactions.apply, "apac", 1, ROOM, [(1, entry)])
        again = await store.write(transactions.apply, "apac", 2, ROOM, [(1, entry)])
        assert first[0].result == again[0].result == Result("placed", 3)
        elsewhere = await store.write(transactions.apply, "apac", 1, OTHER, [(1, entry)])
        assert elsewhere[0].result == Result("noop", code="forged")
        assert len(await rows(store, ROOM)) == 3
        await store.write(transactions.apply, "apac", 1, ROOM, [(2, ChangeMember(FAR, FAR, False))])
        later = await store.write(transactions.apply, "apac", 3, ROOM, [(1, entry)])
        assert later[0].result == Result("placed", 3), "also when its author has left meanwhile"

    play(adapter, go)


def test_a_room_is_made_once_however_often_it_is_asked_for(adapter: Adapter) -> None:
    """A commit of which nothing was heard is run again."""

    async def go(store: Store) -> None:
        assert await make_room(store, ROOM, ADA, BOB) == await make_room(store, ROOM, ADA, BOB) == ROOM
        assert len(await rows(store, ROOM)) == 2

    play(adapter, go)


# -- erasure ---------------------------------------------------------------------------------------------------------


def test_erased_text_rests_nowhere(adapter: Adapter) -> None:
    """Texts of many sizes, erased one by one and by author, are in no byte of the store; the others are, whole."""
    sizes = [1, 40, 300, 900, 1_100, 3_900, 4_100, 9_000, 16_000]

    def text(n: int) -> str:
        return f"<{n:06d}>" * (sizes[n % len(sizes)] // 8 + 1)

    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA, BOB)
        said = []
        for start in range(0, 900, 90):
            some = range(start, start + 90)
            said += await asyncio.gather(*(say(store, BOB if n % 5 == 0 else ADA, ROOM, n, text(n)) for n in some))
            await asyncio.gather(
                *(store.write(transactions.redact, ADA, ROOM, said[n].entry or "") for n in some if n % 3 == 0)
            )
        await store.write(transactions.erase_person, BOB)
        await asyncio.gather(
            *(store.write(transactions.redact, ADA, ROOM, said[n].entry or "") for n in range(900) if n % 7 == 0)
        )
        gone = {n for n in range(900) if not (n % 3 and n % 5 and n % 7)}

        def resting() -> set[int]:
            return {int(n) for n in re.findall(rb"<(\d{6})>", adapter.resting())}

        eventually(lambda: not gone & resting(), within_s=5)
        assert resting() == (set() if adapter.sealed else set(range(900)) - gone)
        found = await texts(store, [answer.entry or "" for answer in said])
        assert found == [None if n in gone else text(n) for n in range(900)]

    play(adapter, go)


def test_what_an_earlier_process_erased_leaves_the_disk_too(adapter: Adapter) -> None:
    """A process that is killed right after an erasure leaves its log to the next one."""
    if not adapter.erases_late:
        pytest.skip("no log of ours")
    play(adapter, lambda store: make_room(store, ROOM, ADA))
    killed = subprocess.run([*adapter.writer(), "erase", ROOM, ADA, "1"], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    entry = killed.stdout.split()[-1]
    assert (b"erase-0" in adapter.resting()) is not adapter.sealed, "the trial: its log still holds the text"

    async def after(store: Store) -> None:
        assert await texts(store, [entry]) == [None]
        eventually(lambda: b"erase-0" not in adapter.resting(), within_s=5)

    play(adapter, after)


def test_a_reader_of_an_older_state_only_delays_the_erasure(adapter: Adapter) -> None:
    """Somebody reads on while a text is erased; when they are done, it leaves the disk."""
    if not adapter.erases_late:
        pytest.skip("no log of ours")
    begun, go_on = threading.Event(), threading.Event()

    def linger(reads: Reads) -> None:
        all_rows(reads, ROOM)
        begun.set()
        go_on.wait(30)
        all_rows(reads, ROOM)

    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)
        said = await say(store, ADA, ROOM, "k", "canary-of-a-reader")
        reader = threading.Thread(target=lambda: play(adapter, lambda other: other.read(linger)))
        reader.start()
        assert begun.wait(30)
        await store.write(transactions.redact, ADA, ROOM, said.entry or "")
        await asyncio.to_thread(reader.join, 1.0)  # long enough for an attempt, or two, that cannot succeed
        assert (b"canary-of-a-reader" in adapter.resting()) is not adapter.sealed
        go_on.set()
        eventually(lambda: b"canary-of-a-reader" not in adapter.resting(), within_s=5)
        reader.join()

    play(adapter, go)


def test_an_erased_text_leaves_no_mark_to_guess_it_by(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA)
        said = await say(store, ADA, ROOM, "k", "yes")
        known = await store.read(lambda reads: reads.post(ADA, key("k")))
        assert known is not None
        assert len(known.mark) == 16
        await store.write(transactions.redact, ADA, ROOM, said.entry or "")
        known = await store.read(lambda reads: reads.post(ADA, key("k")))
        assert known is not None
        assert (known.mark, known.entry) == (b"", said.entry)

    play(adapter, go)


def test_an_erased_person_writes_no_more_and_a_replay_shows_no_text(adapter: Adapter) -> None:
    async def go(store: Store) -> None:
        await make_room(store, ROOM, ADA, BOB)
        said = await say(store, BOB, ROOM, "mine", text="word")
        heard = Published(store)
        await store.write(transactions.redact, ADA, ROOM, said.entry or "")
        again = await say(store, BOB, ROOM, "mine", text="word")
        assert (again.entry, again.seq) == (said.entry, said.seq)
        assert all(f.body is None for f in heard.fresh)
        assert await store.write(transactions.erase_person, BOB) == 1
        assert (await say(store, BOB, ROOM, "new")).code == "person_erased"
        assert (
            await store.write(transactions.post, Post(BOB, ROOM, key("mine"), text_body("word")))
        ).code == "person_erased"
        assert [r.kind for r in await rows(store, ROOM)] == ["join", "join", "entry", "redaction", "erasure"]

    play(adapter, go)


# -- whose it is -----------------------------------------------------------------------------------------------------


def test_another_regions_store_is_not_opened(adapter: Adapter) -> None:
    play(adapter, lambda store: make_room(store, ROOM, ADA))

    async def intrude() -> None:
        with pytest.raises(Broken, match="emea"):
            adapter.open("apac")

    asyncio.run(intrude())
    assert play(adapter, lambda store: rows(store, ROOM))


def test_a_new_post_is_durable_and_plain(adapter: Adapter) -> None:
    """What is acknowledged is there for the next process, as it was said."""
    said = play(adapter, _open_and_say)
    assert play(adapter, lambda store: texts(store, [said])) == ["Grüße, 世界 🌈"]


async def _open_and_say(store: Store) -> str:
    await make_room(store, ROOM, ADA)
    answer = await store.write(transactions.post, new_post(ADA, ROOM, "k", "Grüße, 世界 🌈"))
    return answer.entry or ""
