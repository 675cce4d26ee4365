"""Drills as people play them: through the command line, on a private world, with every law held."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from moonbow.drills.cli import app
from moonbow.drills.private import PrivateStage
from moonbow.drills.report import Report
from moonbow.drills.scripts import DRILLS
from moonbow.drills.stage import Stage

ROOT = Path(__file__).parents[2]
SLOT = "7"
ON_ENGINES = {name for name, entry in DRILLS.items() if entry.cluster}


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
    small = {"site-loss", "region-cut", "roaming", "read-at-sister", "residency", "drain", "backup-restore"}
    assert lacking == small | ON_ENGINES


def test_drill_on_a_cluster_says_which_world_has_one(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text((ROOT / "worlds" / "laptop.toml").read_text())
    code, said = run("run", "nodes-lost", "--state", str(tmp_path))
    assert code == 2
    assert "laptop-engines.toml" in said.replace("\n", "")


def test_what_backups_do_not_know_is_not_drilled(tmp_path: Path) -> None:
    world = (
        (ROOT / "worlds" / "laptop-engines.toml")
        .read_text()
        .replace('documents = "sql"', 'documents = "mongodb", mongodb = "mongodb://127.0.0.1/m"')
    )
    (tmp_path / "world.toml").write_text(world)
    stage = PrivateStage(tmp_path, tmp_path / "world.toml", None)  # type: ignore[arg-type]
    assert "regions.emea.data.documents: backups do not know mongodb" in (DRILLS["backup-restore"].lacks(stage) or "")


def play(name: str, tmp_path: Path, file: str = "laptop") -> Report:
    """The report of one fast drill on a shipped world."""
    world = str(ROOT / "worlds" / f"{file}.toml")
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
@pytest.mark.parametrize("name", sorted(set(DRILLS) - ON_ENGINES - {"site-loss"}))
def test_every_other_drill(name: str, tmp_path: Path) -> None:
    assert play(name, tmp_path).held


@pytest.mark.engines
@pytest.mark.long
@pytest.mark.parametrize("name", sorted(ON_ENGINES | {"site-loss", "read-at-sister"}))
def test_drill_on_a_cluster(name: str, tmp_path: Path) -> None:
    assert play(name, tmp_path, "laptop-engines").held
