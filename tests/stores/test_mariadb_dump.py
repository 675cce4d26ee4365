"""Dumps as text: rows are counted and told apart by lines, and half a dump is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from moonbow.base.errors import Broken, ConfigError, Unavailable
from moonbow.stores import mariadb_dump

WHOLE = b"""/*!40101 SET NAMES utf8mb4 */;
CREATE TABLE `empty` (
  `one` int(11) NOT NULL
);
CREATE TABLE `post` (
  `text` varchar(9)
);
INSERT INTO `post` VALUES ('a\\nINSERT INTO `post` VALUES (1);');
INSERT INTO `post` VALUES ('b VALUES c');
CREATE TABLE `timeline_meta` (
  `one` tinyint(4)
);
INSERT INTO `timeline_meta` VALUES (1,'emea',1,77);

-- Dump completed
"""


@pytest.fixture
def dumped(tmp_path: Path) -> Path:
    path = tmp_path / "sql"
    path.write_bytes(WHOLE)
    return path


def test_rows_are_counted_by_table(dumped: Path) -> None:
    assert mariadb_dump.count(dumped) == {"empty": 0, "post": 2, "timeline_meta": 1}
    assert mariadb_dump.row(dumped, "timeline_meta") == "1,'emea',1,77"
    assert mariadb_dump.row(dumped, "empty") is None


def test_half_a_dump_is_none(dumped: Path) -> None:
    lines = WHOLE.splitlines(keepends=True)
    for count in range(len(lines) - 1):
        dumped.write_bytes(b"".join(lines[:count]))
        with pytest.raises(Broken, match="ends too early"):
            mariadb_dump.count(dumped)


def test_rows_are_told_apart(dumped: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    a, b = (line for line in WHOLE.splitlines(keepends=True) if line.startswith(b"INSERT INTO `post`"))
    other.write_bytes(WHOLE.replace(a + b, b + a))
    assert mariadb_dump.differ(dumped, other) == {}, "their order is nothing"
    other.write_bytes(WHOLE.replace(b"VALUES c", b"VALUES d"))
    assert mariadb_dump.differ(dumped, other) == {"post": (1, 1)}
    other.write_bytes(WHOLE.replace(a, b"").replace(b"1,77", b"1,78"))
    assert mariadb_dump.differ(dumped, other) == {"post": (1, 0), "timeline_meta": (1, 1)}
    other.write_bytes(WHOLE.replace(b"CREATE TABLE `empty`", b"CREATE TABLE `full`\nINSERT INTO `full` VALUES (1);\n"))
    assert mariadb_dump.differ(dumped, other) == {"empty": (0, 0), "full": (0, 1)}


def test_rows_that_travel_together_are_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b"SET a;\n", *(b"INSERT INTO `t` VALUES (%d,' VALUES ');\n" % no for no in range(9)), b"\n", b"-- end\n"]
    joined = b"".join(mariadb_dump._together(lines))
    values = b",".join(b"(%d,' VALUES ')" % no for no in range(9))
    assert joined == b"SET a;\nINSERT INTO `t` VALUES " + values + b";\n\n-- end\n"
    monkeypatch.setattr(mariadb_dump, "STATEMENT_BYTES", 40)
    joined = b"".join(mariadb_dump._together(lines))
    assert joined.count(b"INSERT INTO `t` VALUES ") == 5
    two = [b"INSERT INTO `t` VALUES (1);\n", b"INSERT INTO `u` VALUES (1);\n"]
    assert b"".join(mariadb_dump._together(two)) == b"".join(two)


def test_a_tool_that_fails_or_is_silent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="no such node"):
        list(mariadb_dump._given_by(("sh", "-c", "echo some; echo no such node >&2; exit 2")))
    with pytest.raises(Unavailable, match="it ended with 3"):
        list(mariadb_dump._given_by(("sh", "-c", "exit 3")))
    with pytest.raises(Unavailable):
        mariadb_dump._give(("sh", "-c", "head -c 1; echo refused >&2; exit 1"), [b"x" * 1_000_000] * 3)
    with pytest.raises(Unavailable, match="did not take all"):
        mariadb_dump._give(("head", "-c", "1"), [b"x" * 1_000_000] * 3)
    monkeypatch.setattr(mariadb_dump, "SILENT_S", 0.1)
    with pytest.raises(Unavailable, match="silent"):
        list(mariadb_dump._given_by(("sleep", "20")))
    with pytest.raises(Unavailable, match="silent"):
        mariadb_dump._give(("sleep", "20"), [b"x" * 1_000_000] * 3)


def test_a_missing_tool_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"mariadb-dump is not installed.* mariadb-client"):
        mariadb_dump.find_tools()
