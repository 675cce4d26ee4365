"""What may come in from another region, case by case."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.base.ids import base32
from moonbow.federation import border
from moonbow.federation.model import ApplyRequest, Live, LiveBody, LiveRow, Signal
from moonbow.timeline.model import (
    Applied,
    BodyAnswer,
    ChangeMember,
    ErasePerson,
    Notice,
    PlaceEntry,
    Result,
    Row,
    text_body,
)

FAR, ADA = f"usr_apac_{base32(1)}", f"usr_emea_{base32(1)}"
THERE, HERE = f"rom_apac_{base32(1)}", f"rom_emea_{base32(1)}"
ENTRY = f"ent_apac_{base32(1)}"
FILE: dict[str, Any] = {
    "id": f"fil_apac_{base32(1)}",
    "name": "a.png",
    "type": "image/png",
    "size": 5,
    "thumbnail": True,
}
GOOD = Row(THERE, 3, "entry", ENTRY, FAR, None, 1, 1_763_000_000_000)
BODY = LiveBody(THERE, ENTRY, FAR, text_body("hi"), 1_000)
NOW_MS = 1_000


@pytest.mark.parametrize(
    "changed",
    [
        {"stream": "rom_apac"}, {"stream": HERE}, {"stream": "inb_apac_1"}, {"stream": "rom_APAC_1"}, {"stream": "x" * 80},
        {"seq": 0}, {"seq": -1}, {"seq": 2**53}, {"seq": 2**63}, {"no": -1}, {"no": 4}, {"at": -1}, {"at": 2**53},
        {"kind": "kept"}, {"kind": "sing"}, {"entry": None}, {"entry": FAR}, {"author": None}, {"author": "ada"},
        {"target": FAR}, {"target": HERE}, {"detail": "words"},
        {"kind": "join"}, {"kind": "join", "entry": None}, {"kind": "join", "entry": None, "target": ENTRY},
        {"kind": "redaction", "entry": None, "target": FAR}, {"kind": "erasure", "entry": None, "target": THERE},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_is_none(changed: dict[str, Any]) -> None:
    assert border.admit_rows([msgspec.structs.replace(GOOD, **changed)], "apac") == []


@pytest.mark.parametrize(
    "changed",
    [
        {}, {"target": THERE}, {"seq": 2**53 - 1}, {"gone": True}, {"entry": ENTRY.replace("apac", "na")},
        {"kind": "join", "entry": None, "target": ADA}, {"kind": "leave", "entry": None, "target": ADA},
        {"kind": "redaction", "entry": None, "target": ENTRY}, {"kind": "erasure", "entry": None, "target": FAR},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_is_one(changed: dict[str, Any]) -> None:
    row = msgspec.structs.replace(GOOD, **changed)
    assert border.admit_rows([row], "apac") == [row]


@pytest.mark.parametrize(
    "changed",
    [
        {"entry": ENTRY.replace("apac", "emea")}, {"author": ADA}, {"author": "ada"}, {"room": "room"}, {"read_ms": -1},
        {"read_ms": NOW_MS + int(limits.CLOCK_SKEW_S * 1000) + 1}, {"body": b""}, {"body": b"[1]"}, {"body": b'{"a":1}}'},
        {"body": b'{"a":"\xff"}'}, {"body": text_body("x" * (limits.BODY_BYTES_MAX + 65))}, {"body": b'{"a":' * 3_000},
    ],
    ids=lambda changed: str(changed)[:60],
)  # fmt: skip
def test_a_body_that_is_none(changed: dict[str, Any]) -> None:
    live = Live("g", [], [msgspec.structs.replace(BODY, **changed)])
    assert border.admit_live(live, "apac", NOW_MS) == ([], [], [])


@pytest.mark.parametrize(
    "said",
    [
        {"files": "x"}, {"files": None}, {"files": [None]}, {"files": ["x"]}, {"files": [FILE] * 11}, {"files": {"0": FILE}},
        {"files": [{**FILE, "id": "../../me"}]}, {"files": [{**FILE, "id": ENTRY}]}, {"files": [{**FILE, "id": 5}]},
        {"files": [{**FILE, "size": -1}]}, {"files": [{**FILE, "size": "5"}]}, {"files": [{**FILE, "width": "5"}]},
        {"files": [{**FILE, "thumbnail": "yes"}]}, {"files": [{"id": FILE["id"]}]}, {"text": 5}, {"kind": []}, {"title": {}},
    ],
    ids=lambda said: str(said)[:60],
)  # fmt: skip
def test_a_body_that_clients_could_not_show(said: dict[str, Any]) -> None:
    assert not border.is_body(msgspec.json.encode({"kind": "text", "text": "", **said}))


def test_a_body_with_files_and_what_a_later_version_says() -> None:
    sides = {**FILE, "width": 4, "height": None, "colour": "red"}
    assert border.is_body(msgspec.json.encode({"kind": "text", "text": "", "files": [sides] * 10, "mood": [1]}))


def test_a_good_batch_passes_whole() -> None:
    typing = Signal("typing", HERE, FAR, 1)
    live = Live("g", [LiveRow(GOOD)], [BODY], [typing])
    assert border.admit_live(live, "apac", NOW_MS) == ([GOOD], [BODY], [typing])
    assert border.admit_live(live, "na", NOW_MS) == ([], [], [])


@pytest.mark.parametrize(
    "signal",
    [
        Signal("typing", HERE, ADA, 1), Signal("read", HERE, FAR, 1), Signal("read", HERE, FAR, 1, ADA),
        Signal("typing", HERE, FAR, 1, ADA), Signal("typing", "here", FAR, 1), Signal("typing", HERE, FAR, 2),
    ],
    ids=str,
)  # fmt: skip
def test_a_signal_that_is_nobodys(signal: Signal) -> None:
    assert border.admit_live(Live("g", [], [], [signal]), "apac", NOW_MS) == ([], [], [])


@pytest.mark.parametrize(
    "ask",
    [
        ApplyRequest(-1, HERE, []), ApplyRequest(2**53, HERE, []), ApplyRequest(1, "here", []), ApplyRequest(1, FAR, []),
        ApplyRequest(1, HERE, [(0, ErasePerson(FAR))]), ApplyRequest(1, HERE, [(2**53, ErasePerson(FAR))]),
        ApplyRequest(1, HERE, [(1, ErasePerson("far"))]), ApplyRequest(1, HERE, [(1, PlaceEntry(FAR, FAR, False))]),
        ApplyRequest(1, HERE, [(1, ChangeMember(FAR, "usr_mars_1", True))]), ApplyRequest(1, HERE, [(1, Notice(FAR, True))]),
    ],
    ids=lambda ask: str(ask)[:90],
)  # fmt: skip
def test_effects_that_are_of_no_world(ask: ApplyRequest) -> None:
    with pytest.raises(Refused, match="malformed"):
        border.check_effects(ask, ("emea", "apac"))


def test_effects_of_this_world() -> None:
    effects = [PlaceEntry(ENTRY, FAR, False), ErasePerson(FAR), ChangeMember(FAR, ADA, True), Notice(THERE, True)]
    border.check_effects(ApplyRequest(1, HERE, list(enumerate(effects, 1))), ("emea", "apac"))


@pytest.mark.parametrize("numbers", [[-1], [0, 2**53], [2**64]])
def test_heads_that_no_stream_has(numbers: list[int]) -> None:
    with pytest.raises(Refused, match="malformed"):
        border.check_numbers(numbers)


def test_only_what_was_sent_is_settled() -> None:
    placed = Applied(1, Result("placed", 3))
    nonsense = [
        Applied(2, None, 7), Applied(9, Result("done")), Applied(2, Result("placed")), Applied(2, Result("placed", 0)),
        Applied(2, Result("placed", 2**63)), Applied(2, Result("sung")),
    ]  # fmt: skip
    assert border.admit_fates([placed, *nonsense], [1, 2]) == [placed]


def test_only_what_was_asked_is_shown() -> None:
    good = [BodyAnswer(ENTRY, "ok", text_body("hi")), BodyAnswer(ENTRY, "erased"), BodyAnswer(ENTRY, "not_yet")]
    nonsense = [
        BodyAnswer("ent_apac_other", "erased"), BodyAnswer(ENTRY, "ok"), BodyAnswer(ENTRY, "ok", b"{"),
        BodyAnswer(ENTRY, "erased", b"{}"),
    ]  # fmt: skip
    assert border.admit_bodies([*good, *nonsense], [ENTRY]) == good
