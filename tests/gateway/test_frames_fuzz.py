"""Whatever a client's frames are: each is done, or answered by a problem, or closes that socket with a code of ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest_gateway import Raw, Scene, hello, new_id
from moonbow.base.errors import Refused
from moonbow.base.ids import KINDS, base32, home, is_uuid, parse_id
from moonbow.base.ids import new_id as new_ident
from moonbow.wire import stream as wire
from support import eventually_async

decode = msgspec.json.Decoder(wire.ClientFrame).decode
REGION = "emea"


# -- ids -------------------------------------------------------------------------------------------------------------


@given(st.one_of(st.text(), st.from_regex(r"[a-z]{3}_[a-z0-9]{0,18}_[0-9a-z]{20,30}"), st.binary().map(repr)))
def test_an_id_is_parsed_or_refused(text: str) -> None:
    try:
        assert parse_id(text) == text
    except Refused as refused:
        assert (refused.code, refused.status, refused.place) == ("id_malformed", 400, "id")  # noqa: PT017
    else:
        assert text.split("_")[0] in KINDS
        assert home(text).isalnum()


@given(st.sampled_from(sorted(KINDS)), st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True))
def test_every_new_id_parses_and_knows_its_home(kind: str, region: str) -> None:
    made = new_ident(kind, region)
    assert parse_id(made, kind) == made
    assert home(made) == region
    with pytest.raises(Refused):
        parse_id(made.upper(), kind)
    with pytest.raises(Refused):
        parse_id(made, *(KINDS - {kind}))


@given(st.integers(0, 2**130 - 1), st.integers(0, 2**130 - 1))
def test_ids_sort_as_their_numbers(one: int, other: int) -> None:
    assert (base32(one) < base32(other)) == (one < other)


@given(st.uuids(), st.text())
def test_a_uuid_is_lower_case_and_whole(ident: Any, text: str) -> None:
    assert is_uuid(str(ident))
    assert not is_uuid(str(ident).upper()) or str(ident).isdigit()
    assert not is_uuid(f"{ident}\n")
    assert not is_uuid(text) or len(text) == 36


# -- frames ----------------------------------------------------------------------------------------------------------


def frames(room: str, entry: str, person: str) -> list[dict[str, Any]]:
    """One good frame of every kind."""
    return [
        {"t": "post", "room": room, "client_id": new_id(), "text": "good"},
        {"t": "redact", "room": room, "entry": entry},
        {"t": "read", "room": room, "seq": 1},
        {"t": "typing", "room": room, "on": True},
        {"t": "state", "state": "away"},
        {"t": "watch", "people": [person]},
        {"t": "ping", "n": 1},
        {"t": "hello"},
        {"t": "resume", "cursors": {room: 1}, "missing": [entry]},
        {"t": "renew", "access_token": "a.b.c"},
    ]


VALUES: list[Any] = [
    None, True, -1, 0, 2**53, 2**64, 10**400, 1.5, 1e308, "", "x" * 70, "x" * 20_000, "\u0000", "\ud7ff", "😀" * 30, [], {}, [[]],
    [None] * 600, {"a": 1}, {str(n): n for n in range(2_000)}, "rom_mars_01k00000000000000000000000000", "__proto__", "0" * 36,
]  # fmt: skip


def mutated(frame: dict[str, Any], chance: random.Random) -> bytes:
    """The frame with a field changed, dropped or added, or with some of its bytes changed."""
    some = dict(frame)
    for _ in range(chance.randint(1, 2)):
        name = chance.choice([*some, "t", "extra"]) if some else "t"
        if chance.random() < 0.2:
            some.pop(name, None)
        else:
            some[name] = chance.choice(VALUES)
    data = bytearray(json.dumps(some, ensure_ascii=chance.random() < 0.5).encode())
    if chance.random() < 0.4:
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.choice(b'{}[]":,\\0\x00\x7f')
    return bytes(data[: chance.choice([len(data), len(data), len(data) // 2])])


@settings(max_examples=300)
@given(
    st.one_of(st.binary(), st.randoms(use_true_random=False).map(lambda r: mutated(r.choice(frames("r", "e", "p")), r)))
)
def test_a_frame_is_decoded_or_named_as_bad(data: bytes) -> None:
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        assert isinstance(decode(data), wire.FromClient)


NESTED = [b'{"a":' * 13_000, b"[" * 60_000, b'{"t":"ping","n":' + b"[" * 60_000]


@pytest.fixture(scope="module")
def ada(scene: Scene) -> dict[str, Any]:
    return scene.sign_in("paris", scene.person(REGION, 0))


@pytest.fixture(scope="module")
def good(scene: Scene, ada: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    with scene.rest("paris", ada["access_token"]) as client:
        room = client.post("/v1/rooms", json={"title": "Fuzz"}).json()["id"]
        entry = client.post(f"/v1/rooms/{room}/entries", json={"client_id": new_id(), "text": "first"}).json()["id"]
        yield frames(room, entry, ada["person"]["id"])


async def settled(raw: Raw) -> bool:
    """Whether the socket answers a last `ping`; False once it has been closed."""
    mark = random.getrandbits(50)
    if raw.transport is not None and not raw.gone.is_set():
        raw.send({"t": "ping", "n": mark})
    await eventually_async(lambda: raw.gone.is_set() or any(f["t"] == "pong" and f["n"] == mark for f in raw.frames))
    return not raw.gone.is_set()


CODES = {1007, 1009, wire.CLOSE_BAD_FRAME, wire.CLOSE_BUSY}


def play(scene: Scene, token: str, bad: list[bytes], batch: int, codes: set[int] = CODES) -> None:
    """Send bad frames over one socket after another; no answer is lost, no close is our mistake."""

    async def go() -> None:
        raw, _ = await hello(scene, "paris", token)
        left = list(bad)
        while left:
            some, left = left[:batch], left[batch:]
            for frame in some:
                if raw.gone.is_set():
                    break
                raw.send(frame)
            if not await settled(raw):
                assert raw.closed is not None, some
                assert raw.closed[0] in codes, (raw.closed, some)
                raw, _ = await hello(scene, "paris", token)
            assert not [f for f in raw.frames if f["t"] == "problem" and f["code"] in ("internal", "broken")], some
            raw.frames.clear()
            await asyncio.sleep(0)
        await raw.leave()

    asyncio.run(go())


@pytest.mark.engines
@pytest.mark.parametrize("seed", range(3))
def test_bad_frames_disturb_nobody(scene: Scene, ada: dict[str, Any], good: list[dict[str, Any]], seed: int) -> None:
    chance = random.Random(seed)
    bad = [mutated(chance.choice(good), chance) for _ in range(300)]
    bad += [chance.randbytes(chance.randint(0, 60)) for _ in range(40)]
    chance.shuffle(bad)
    play(scene, ada["access_token"], bad, batch=20)


@pytest.mark.engines
@pytest.mark.parametrize("number", range(len(NESTED)))
def test_endless_nesting_disturbs_nobody(scene: Scene, ada: dict[str, Any], number: int) -> None:
    """The decoder gives up with an error that is nobody's fault in particular: 1011 for this socket, and no other."""
    play(scene, ada["access_token"], [NESTED[number]], batch=1, codes={*CODES, 1011})
