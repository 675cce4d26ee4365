"""The shapes that clients rely on: frames and REST types as golden files, and encoders that write just those shapes.

A change of a golden file is a change of the API: `MOONBOW_BLESS=1 pytest tests/gateway/test_shapes.py` writes them anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.gateway import frames
from moonbow.timeline.model import Row, text_body, title_body
from moonbow.wire import rest, stream, values

GOLDEN = Path(__file__).parents[1] / "golden"


def structs(module: Any, base: type) -> list[type]:
    """The types of a module that leave the process, by name."""
    found = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, base)]
    return sorted({kind for kind in found if kind.__module__ == module.__name__}, key=lambda kind: kind.__name__)


def shapes(kinds: Iterable[type]) -> dict[str, Any]:
    """Every type's fields with their types and bounds, without what is only said about them."""
    _, found = msgspec.json.schema_components(list(kinds))
    return {name: _bare(shape) for name, shape in sorted(found.items())}


def _bare(shape: Any) -> Any:
    if isinstance(shape, dict):
        said = ("title", "description")
        return {k: _bare(v) for k, v in shape.items() if k not in said or not isinstance(v, str)}
    return [_bare(part) for part in shape] if isinstance(shape, list) else shape


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("client_frames", [k for k in structs(stream, stream.FromClient) if k is not stream.FromClient]),
        ("server_frames", [*(k for k in structs(stream, stream.Event) if k is not stream.Event), values.Row, values.Presence]),
        ("rest_types", [k for base in (rest.Request, values.Value) for k in structs(rest, base) if k is not rest.Request]),
        ("values", [k for k in structs(values, values.Value) if k is not values.Value]),
    ],
)  # fmt: skip
def test_shapes_are_as_they_were(name: str, kinds: list[type]) -> None:
    golden = GOLDEN / f"{name}.json"
    text = json.dumps(shapes(kinds), indent=1, sort_keys=True) + "\n"
    if os.environ.get("MOONBOW_BLESS"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_client_frame_is_decoded() -> None:
    """The decoder knows exactly the frames that are defined."""
    known = set(get_args(stream.ClientFrame))
    assert known == {k for k in structs(stream, stream.FromClient) if k is not stream.FromClient}


def test_close_codes_are_as_they_were() -> None:
    codes = {name: code for name, code in vars(stream).items() if name.startswith("CLOSE_")}
    assert codes == {
        "CLOSE_GOING": 1012, "CLOSE_TOKEN": 4001, "CLOSE_BAD_FRAME": 4002, "CLOSE_REVOKED": 4003, "CLOSE_SLOW": 4008,
        "CLOSE_BUSY": 4029,
    }  # fmt: skip


@pytest.mark.parametrize(("frame", "value"), [(frames.RowFrame, values.Row), (frames.BodyFrame, stream.BodyEvent)])
def test_a_quick_frame_has_the_fields_of_its_value(frame: type[msgspec.Struct], value: type[msgspec.Struct]) -> None:
    assert frame.__struct_fields__ == value.__struct_fields__
    assert frame.__struct_defaults__ == tuple(d for d in value.__struct_defaults__ if d is not msgspec.NODEFAULT)
    assert (frame.__struct_config__.tag, frame.__struct_config__.tag_field) == (
        value.__struct_config__.tag, value.__struct_config__.tag_field,
    )  # fmt: skip


ids = st.sampled_from(["usr_emea_1", "ent_apac_2", "rom_emea_3"])
maybe = st.none() | ids
bodies = st.one_of(st.text().map(text_body), st.text().map(title_body))
rows = st.builds(
    Row, ids, st.integers(1, 2**53), st.sampled_from(["entry", "join", "placed"]), maybe, maybe, maybe, st.integers(0, 2**53),
    st.integers(0, 253_402_300_799_999), st.booleans(), st.none() | st.text(),
)  # fmt: skip
states = st.sampled_from(["ok", "held", "erased", "waiting"])


@given(row=rows, body=st.none() | bodies, state=st.none() | states)
def test_a_row_is_encoded_as_its_value(row: Row, body: bytes | None, state: values.State | None) -> None:
    quick = frames.encode_row(row, body, state)
    plain = frames.row_value(row, json.loads(body) if body else None, state)
    assert json.loads(quick) == json.loads(msgspec.json.encode(plain))
    assert msgspec.json.decode(quick, type=values.Row) == plain


@given(entry=ids, state=states, body=st.none() | bodies)
def test_a_body_is_encoded_as_its_value(entry: str, state: values.State, body: bytes | None) -> None:
    quick = frames.encode_body("rom_emea_3", entry, state, body)
    plain = stream.BodyEvent(stream="rom_emea_3", id=entry, state=state, body=json.loads(body) if body else None)
    assert json.loads(quick) == json.loads(msgspec.json.encode(plain))
    assert msgspec.json.decode(quick, type=stream.BodyEvent) == plain


@given(st.integers(0, 7_258_118_400_000))
def test_times_are_rfc_3339_to_the_millisecond(at_ms: int) -> None:
    """Until the year 2200."""
    said = frames.rfc3339(at_ms)
    assert len(said) == 24
    assert said[10] == "T"
    assert said.endswith("Z")
    back = msgspec.json.decode(f'"{said}"'.encode(), type=datetime)
    assert round(back.timestamp() * 1000) == at_ms
