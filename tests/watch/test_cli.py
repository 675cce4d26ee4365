"""The audit as operators call it: tables, exit codes, and what is told of what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moonbow.base.errors import ConfigError
from moonbow.cli.audit import app

pytestmark = pytest.mark.engines


def call(state: Path, *words: str) -> tuple[int, str]:
    """Exit code and output; what is raised goes up, as it would to the command line's own handler."""
    result = CliRunner().invoke(app, [*words, "--state", str(state)], env={"COLUMNS": "200"})
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result.exit_code, result.output


def test_audit_show_and_verify(state: Path) -> None:
    code, said = call(state, "residency")
    assert code == 0, said
    assert "everything rests where it may" in said
    path = state / next(word for word in said.split() if word.startswith("regions/emea/attestations/"))
    assert "signed by emea of audited" in call(state, "verify", str(path))[1]
    rows = json.loads(call(state, "show", "--json", "--region", "emea")[1])
    posts = next(row for row in rows if row["what"] == "table post")
    assert {key: posts[key] for key in ("data", "region", "engine", "retention")} == {
        "data": "private", "region": "emea", "engine": "SQLite", "retention": "until it is erased",
    }  # fmt: skip
    assert "table post" in call(state, "show")[1]
    path.write_bytes(path.read_bytes().replace(b"audited", b"Audited"))
    with pytest.raises(ConfigError, match="was changed"):
        call(state, "verify", str(path))


def test_what_is_found_is_said_with_its_place(state: Path) -> None:
    (state / "regions" / "emea" / "export.csv").write_text("a,b\n")
    code, said = call(state, "residency")
    assert code == 1
    assert "regions/emea/export.csv" in said


def test_what_is_missing_is_said_plainly(tmp_path: Path, state: Path) -> None:
    with pytest.raises(ConfigError, match=r"world\.toml"):
        call(tmp_path / "nothing", "residency")
    for path in state.glob("regions/*/attestations/*.json"):
        path.unlink()
    with pytest.raises(ConfigError, match="no audit has been made"):
        call(state, "show")
