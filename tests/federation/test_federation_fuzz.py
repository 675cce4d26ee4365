"""Whatever another region's bytes are: they are taken, refused or ignored, and what passes can be stored and shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_pair import Side
from moonbow.base.errors import Refused, Unavailable
from moonbow.federation import model
from moonbow.federation.model import Live, LiveBody, LiveRow, Signal, pack
from moonbow.gateway.frames import encode_body, encode_row
from moonbow.timeline import policy
from moonbow.timeline.model import (
    Applied,
    BodyAnswer,
    ChangeMember,
    ErasePerson,
    Notice,
    PlaceEntry,
    RedactEntry,
    Result,
    Row,
    text_body,
)
from timeline_stores import make_room, person, quick_folder, room, rows

ADA, FAR = person(1), person(1, "apac")
HERE, THERE = room(1), room(1, "apac")
ENTRY = "ent_apac_" + "0" * 26

ROWS = [
    Row(THERE, 1, "join", None, FAR, FAR, 0, 1),
    Row(THERE, 2, "join", None, FAR, ADA, 0, 2),
    Row(THERE, 3, "entry", ENTRY, FAR, None, 1, 3),
    Row(THERE, 4, "redaction", None, FAR, ENTRY, 1, 4),
    Row(THERE, 5, "erasure", None, FAR, FAR, 1, 5),
    Row(THERE, 6, "leave", None, FAR, ADA, 1, 6),
]
LIVE = Live(
    "gwy_apac",
    [LiveRow(row) for row in ROWS],
    [LiveBody(THERE, ENTRY, FAR, text_body("hi"), 5)],
    [Signal("typing", THERE, FAR, 1), Signal("read", THERE, FAR, 1, ADA)],
)
EFFECTS = [
    PlaceEntry(ENTRY, FAR, False),
    RedactEntry(ENTRY, FAR),
    ChangeMember(FAR, ADA, True),
    ErasePerson(FAR),
    Notice(THERE, True),
]
REQUESTS = [
    ("timeline.apply", model.ApplyRequest(1, HERE, list(enumerate(EFFECTS, 1)))),
    ("timeline.apply", model.ApplyRequest(1, "inb" + ADA[3:], [(1, Notice(THERE, True))])),
    ("timeline.tail", model.TailRequest({HERE: 0, THERE: 3})),
    ("timeline.bodies", model.BodiesRequest(HERE, [ENTRY], 3)),
    ("timeline.direct", model.DirectRequest(FAR, ADA)),
]
ANSWERS = [
    model.ApplyAnswer([Applied(1, Result("placed", 3)), Applied(2, Result("refused", None, "x")), Applied(3, None, 7)]),
    model.TailAnswer(ROWS, False),
    model.BodiesAnswer([BodyAnswer(ENTRY, "ok", text_body("hi")), BodyAnswer(ENTRY, "erased")]),
    model.RoomAnswer("dir_apac_" + "0" * 26),
]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 6, 7, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63)]),
    st.text(max_size=8),
    st.sampled_from([ADA, FAR, HERE, THERE, ENTRY, "inb" + ADA[3:], "usr_mars_0", "usr", "rom__", "a" * 70_000, "entry", "join"]),
    st.binary(max_size=8),
    st.sampled_from([b'{"a":', b'[1]', b'{"kind":"text","text":"\xff"}', b'{}', b'{"kind":1}', b'{} ,"x":1', b'"' * 20_000]),
    st.just([]), st.just({}), st.floats(),
)  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value of lists and dicts."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, part in inner for p in paths(part, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    if isinstance(value, dict):
        return {k: replaced(part, path[1:], by) if k == path[0] else part for k, part in value.items()}
    return [replaced(part, path[1:], by) if no == path[0] else part for no, part in enumerate(value)]


def mutated(message: Any) -> st.SearchStrategy[bytes]:
    """The message with some values replaced, or with some bytes replaced, or cut short, or any bytes at all."""
    whole = pack(message)
    plain = msgspec.msgpack.decode(whole)

    @st.composite
    def values(draw: st.DrawFn) -> bytes:
        value = plain
        for _ in range(draw(st.integers(1, 3))):
            value = replaced(value, draw(st.sampled_from(paths(value))), draw(leaves))
        return msgspec.msgpack.encode(value)

    @st.composite
    def flipped(draw: st.DrawFn) -> bytes:
        found = bytearray(whole)
        for _ in range(draw(st.integers(1, 4))):
            found[draw(st.integers(0, len(found) - 1))] = draw(st.integers(0, 255))
        return bytes(found[: draw(st.sampled_from([len(found), len(found) // 2, 1]))])

    deep = whole[:1] + bytes([0x91]) * 60_000
    return st.one_of(
        values(), values(), flipped(), st.binary(max_size=40), st.just(whole), st.just(whole + deep), st.just(deep)
    )


@asynccontextmanager
async def region(folder: Path) -> AsyncIterator[Side]:
    side = Side("emea", folder, {})
    try:
        if not await rows(side.store, HERE):
            await make_room(side.store, HERE, ADA, FAR)
        yield side
    finally:
        side.store.close()


def check_frames(side: Side, found: list[Row]) -> None:
    """What was stored or shown makes whole frames."""
    for row in found:
        assert json.loads(encode_row(row, None, None))["seq"] == row.seq
    for live in side.shown:
        assert not live.rows
        for body in live.bodies:
            assert json.loads(encode_body(body.room, body.entry, "ok", body.body))["t"] == "body"


def fuzz(examples: int) -> Callable[[Any], Any]:
    return settings(max_examples=examples, deadline=None)


def run_heard(messages: list[bytes]) -> None:
    async def go(folder: Path) -> None:
        async with region(folder) as side:
            for message in messages:
                await side.federation.heard("private.apac.to.emea.live", message)
            found = await rows(side.store, THERE)
            assert [row.seq for row in found] == list(range(1, len(found) + 1))
            check_frames(side, found)
            for reader in (ADA, FAR):
                await side.store.read(policy.visible, reader, THERE, 0, 100)
                await side.store.read(policy.room_view, reader, THERE)

    with quick_folder() as folder:
        asyncio.run(go(folder))


@fuzz(40)
@given(messages=st.lists(mutated(LIVE), min_size=1, max_size=12))
def test_heard_takes_anything(messages: list[bytes]) -> None:
    run_heard(messages)


def test_the_message_that_is_mutated_is_a_good_one(tmp_path: Path) -> None:
    async def go() -> None:
        async with region(tmp_path) as side:
            side.federation.clock = lambda: 1.0
            await side.federation.heard("private.apac.to.emea.live", pack(LIVE))
            assert [row.kind for row in await rows(side.store, THERE)] == [row.kind for row in ROWS]
            assert [len(live.bodies) + len(live.signals) for live in side.shown] == [2], "a far cursor is nobody's here"
            await side.federation.heard("private.na.to.emea.live", pack(LIVE))
            assert len(side.shown) == 1, "a region speaks for itself only"

    asyncio.run(go())


@fuzz(80)
@given(
    asked=st.lists(st.one_of([st.tuples(st.just(op), mutated(ask)) for op, ask in REQUESTS]), min_size=1, max_size=12)
)
def test_serve_answers_or_refuses(asked: list[tuple[str, bytes]]) -> None:
    async def go(folder: Path) -> None:
        async with region(folder) as side:
            for op, payload in asked:
                with contextlib.suppress(Refused):
                    msgspec.msgpack.decode(await side.federation.serve("apac", op, payload))
            found = await rows(side.store, HERE)
            assert [row.seq for row in found] == list(range(1, len(found) + 1))
            check_frames(side, found)

    with quick_folder() as folder:
        asyncio.run(go(folder))


@fuzz(80)
@given(answers=st.lists(st.one_of([mutated(answer) for answer in ANSWERS]), min_size=1, max_size=6))
def test_nonsense_answers_are_as_no_answer(answers: list[bytes]) -> None:
    async def go(folder: Path) -> None:
        async with region(folder) as side:
            federation = side.federation
            for answer in answers:
                side.line.answer = lambda there, op, payload, answer=answer: answer  # type: ignore[misc]
                for ask in (federation.bodies("apac", THERE, [ENTRY], 3), federation.direct_room(ADA, FAR)):
                    try:
                        given = await ask
                    except Unavailable:
                        continue
                    if isinstance(given, list):
                        for one in given:
                            json.loads(encode_body(THERE, one.entry, one.state, one.body))
                await federation._tail_home("apac", {THERE: 0})
                federation._shipping["apac"]["inb" + FAR[3:]] = asyncio.Event()
                await asyncio.wait_for(federation._ship("apac", "inb" + FAR[3:]), 5)
            check_frames(side, await rows(side.store, THERE))

    with quick_folder() as folder:
        asyncio.run(go(folder))


def test_nonsense_that_chance_seldom_finds(tmp_path: Path) -> None:
    async def go() -> None:
        async with region(tmp_path) as side:
            for head in (-1, 2**63, 2**64 - 1):
                with pytest.raises(Refused, match="malformed"):
                    await side.federation.serve("apac", "timeline.tail", pack(model.TailRequest({HERE: head})))
            side.line.answer = lambda there, op, payload: pack(model.RoomAnswer("dir_na_" + "0" * 26))
            smaller, larger = sorted((ADA, FAR))
            with pytest.raises(Unavailable, match="answer_malformed"):
                await side.federation.direct_room(larger, smaller)

    asyncio.run(go())
