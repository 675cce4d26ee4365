"""The search finds planted words in every spelling, in databases and their logs, and across its own chunks."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sqlite3
import zlib
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.ids import ALPHABET, new_id
from moonbow.watch import search as search_module
from moonbow.watch.canaries import make_canary, make_word
from moonbow.watch.search import Searcher, search
from moonbow.watch.spelling import spell

WORDS = {"text": "textcanaryemea42", "emoji": "🪼🫎🪭"}


@pytest.mark.parametrize("spell", [str.encode, lambda w: w.encode("utf-16-le"), lambda w: json.dumps(w).encode(),
                                   lambda w: quote(w).encode()])  # fmt: skip
def test_every_spelling_is_found(tmp_path: Path, spell) -> None:  # type: ignore[no-untyped-def]
    for name, word in WORDS.items():
        (tmp_path / name).write_bytes(b"\0before " + spell(word) + b" after")
    assert search([tmp_path], WORDS) == {name: [tmp_path / name] for name in WORDS}


def test_row_that_only_the_write_ahead_log_has_is_found(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "t.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE t (body TEXT)")
    database.execute("INSERT INTO t VALUES (?)", (json.dumps({"text": WORDS["emoji"]}, ensure_ascii=False),))
    database.commit()
    assert [path.name for path in search([tmp_path], WORDS)["emoji"]] == ["t.db-wal"]
    database.close()


def test_word_across_two_chunks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "CHUNK_BYTES", 64)
    (tmp_path / "file").write_bytes(b"." * 60 + WORDS["text"].encode() + b"." * 60)
    assert search([tmp_path], WORDS)["text"]


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"nothing of interest")
    assert search([tmp_path, tmp_path / "absent"], WORDS) == {"text": [], "emoji": []}


@pytest.mark.parametrize("shift", range(3))
def test_word_inside_base64_is_found_wherever_it_begins(tmp_path: Path, shift: int) -> None:
    (tmp_path / "file").write_bytes(base64.b64encode(b"." * shift + WORDS["text"].encode() + b" and more"))
    assert search([tmp_path], WORDS)["text"]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_word_is_found(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    packed = pack(b"much of the same " * 100 + WORDS["emoji"].encode())
    (tmp_path / "file").write_bytes(b"before" + packed + b"after")
    assert search([tmp_path], WORDS) == {"text": [], "emoji": [tmp_path / "file"]}


def test_bare_bytes_of_an_id_are_found(tmp_path: Path) -> None:
    ident = new_id("usr", "emea")
    value = 0
    for letter in ident.rpartition("_")[2]:
        value = value << 5 | ALPHABET.index(letter)
    (tmp_path / "file").write_bytes(b"row" + value.to_bytes(16) + b"row")
    assert search([tmp_path], {"id": ident, "other": new_id("usr", "emea")}) == {"id": [tmp_path / "file"], "other": []}


def test_marks_find_their_word_and_do_not_tell_it(tmp_path: Path) -> None:
    word = make_word("text")
    canary = make_canary("emea", "text", word)
    (tmp_path / "file").write_bytes(b"." * 70 + word.encode() + b"." + make_word("text").encode())
    searcher = Searcher({"text": canary.needles, "other": make_canary("emea", "text", make_word("text")).needles})
    assert {hit.name for hit in searcher.in_file(tmp_path / "file")} == {"text"}
    written = msgspec.json.encode(canary)
    assert all(spelling.rest not in written for spelling in spell(word))
    (tmp_path / "marks").write_bytes(written)
    assert not searcher.in_file(tmp_path / "marks")


@given(st.text(min_size=2, max_size=40), st.binary(max_size=80), st.integers(min_value=1, max_value=70))
def test_always_found_whatever_the_word_and_wherever_chunks_end(word: str, before: bytes, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "CHUNK_BYTES", chunk)
        found = Searcher({"word": make_canary("emea", "text", word).needles}).in_stream(
            io.BytesIO(before + word.encode())
        )
        assert "word" in {hit.name for _, some in found for hit in some}
