"""Sealed files open as they were, and in no other case."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.backup import seal as sealing
from moonbow.backup.payload import read_payload, write_payload
from moonbow.backup.seal import open_sealed, seal
from moonbow.base.errors import Broken

KEY = bytes(range(32))
CHUNK = 64  # small, so that every case has several
WHOLE = CHUNK + sealing.TAG_BYTES
HEADER = len(sealing.MAGIC) + sealing.CHANCE_BYTES
contents = st.lists(st.binary(max_size=150), max_size=4)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "CHUNK_BYTES", CHUNK)


def sealed(content: list[bytes], purpose: str = "one") -> bytes:
    return b"".join(seal(KEY, purpose, content))


def opened(file: bytes, purpose: str = "one", key: bytes = KEY) -> bytes:
    return b"".join(open_sealed(key, purpose, io.BytesIO(file)))


@given(contents)
def test_what_was_sealed_opens_however_it_came(content: list[bytes]) -> None:
    assert opened(sealed(content)) == b"".join(content)


@given(contents, st.data())
def test_a_file_cut_off_anywhere_does_not_open(content: list[bytes], data: st.DataObject) -> None:
    file = sealed(content)
    with pytest.raises(Broken):
        opened(file[: data.draw(st.integers(0, len(file) - 1))])


@given(contents, st.data())
def test_a_file_with_one_bit_changed_does_not_open(content: list[bytes], data: st.DataObject) -> None:
    file = bytearray(sealed(content))
    file[data.draw(st.integers(0, len(file) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Broken):
        opened(bytes(file))


@given(st.binary(min_size=3 * CHUNK, max_size=5 * CHUNK), st.data())
def test_chunks_exchanged_doubled_or_left_out_do_not_open(content: bytes, data: st.DataObject) -> None:
    file = sealed([content])
    chunks = [file[at : at + WHOLE] for at in range(HEADER, len(file), WHOLE)]
    order = data.draw(st.lists(st.sampled_from(range(len(chunks))), max_size=len(chunks) + 2))
    changed = [chunks[no] for no in order]
    if changed != chunks:
        with pytest.raises(Broken):
            opened(file[:HEADER] + b"".join(changed))


@given(contents, st.binary(min_size=1, max_size=2 * WHOLE))
def test_nothing_can_be_added(content: list[bytes], more: bytes) -> None:
    with pytest.raises(Broken):
        opened(sealed(content) + more)


def test_chunks_of_another_file_another_purpose_and_another_key_do_not_open() -> None:
    one, other = sealed([b"x" * 200]), sealed([b"y" * 200])
    with pytest.raises(Broken):
        opened(one[: HEADER + WHOLE] + other[HEADER + WHOLE :])
    with pytest.raises(Broken):
        opened(one, purpose="two")
    with pytest.raises(Broken):
        opened(one, key=bytes(32))


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=2_000) | st.integers(1, 400_000).map(bytes), max_size=4))
def test_payloads_come_back_whole_and_packed(tmp_path_factory: pytest.TempPathFactory, content: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("payload") / "one"
    payload = write_payload(path, "one", "a/one", KEY, content)
    assert payload.plain_bytes == len(b"".join(content))
    assert b"".join(read_payload(path, payload, "a/one", KEY)) == b"".join(content)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_payload_that_unpacks_to_more_or_less_than_was_said_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("payload") / "one"
    payload = write_payload(path, "one", "a/one", KEY, [bytes(1_000_000)])
    import msgspec

    for wrong in ({"plain_bytes": 999_999}, {"plain_bytes": 1_000_001}, {"plain_sha256": "0"}, {"sealed_sha256": "0"}):
        with pytest.raises(Broken):
            list(read_payload(path, msgspec.structs.replace(payload, **wrong), "a/one", KEY))
