"""The search finds planted words in every spelling, in databases and their logs, and across its own chunks."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from moonbow.drills import search as search_module
from moonbow.drills.search import search

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
