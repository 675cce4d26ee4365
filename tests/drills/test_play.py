"""Drills as people play them: through the command line, on a private world, with every law held."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from moonbow.drills.cli import app
from moonbow.drills.report import Report
from moonbow.drills.scripts import DRILLS
from moonbow.drills.stage import Stage

ROOT = Path(__file__).parents[2]
SLOT = "7"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_list_names_every_drill() -> None:
    code, said = run("list")
    assert code == 0
    assert all(name in said for name in DRILLS)


def test_unknown_drill_and_missing_world_are_said_plainly(tmp_path: Path) -> None:
    code, said = run("run", "nonsense")
    assert code == 2
    assert "there is no drill" in said
    code, said = run("run", "site-loss", "--state", str(tmp_path))
    assert code == 2
    assert "world.toml" in said.replace("\n", "")


def test_drill_that_needs_more_of_a_world_says_so(tmp_path: Path) -> None:
    world = ROOT / "worlds" / "solo.toml"
    (tmp_path / "world.toml").write_text(world.read_text())
    lacking = {name for name, entry in DRILLS.items() if entry.lacks(Stage(tmp_path))}
    assert lacking == {"site-loss", "region-cut", "roaming", "residency", "drain", "backup-restore"}


def play(name: str, tmp_path: Path) -> Report:
    """The report of one fast drill on the shipped laptop world."""
    world = str(ROOT / "worlds" / "laptop.toml")
    code, said = run(
        "run", name, "--world", world, "--slot", SLOT, "--fast", "--seed", "11", "--reports", str(tmp_path)
    )
    assert code == 0, said
    (path,) = tmp_path.glob("drill-*.json")
    return msgspec.json.decode(path.read_bytes(), type=Report)


@pytest.mark.engines
def test_site_loss(tmp_path: Path) -> None:
    report = play("site-loss", tmp_path)
    assert report.numbers["messages sent"] >= 300  # type: ignore[operator]
    assert report.numbers["connections lost"] >= 1  # type: ignore[operator]


@pytest.mark.engines
@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(DRILLS) - {"site-loss"}))
def test_every_other_drill(name: str, tmp_path: Path) -> None:
    assert play(name, tmp_path).held
