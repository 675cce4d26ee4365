"""The process that takes backups by the clock: what it does, says and survives; and the commands of operators."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from backup_region import BEA, REGION, erase, make_region, tables
from moonbow.backup import policy, process
from moonbow.backup.metrics import Metrics
from moonbow.backup.process import shelf_of
from moonbow.backup.schedule import Backups
from moonbow.base.errors import MoonbowError
from moonbow.cli.app import make_app
from moonbow.world import World, site_address
from support import eventually, eventually_async

SLOT = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "state"
    make_region(folder)
    (folder / "world.toml").write_text(f"slot = {SLOT}\n" + (folder / "world.toml").read_text())
    return folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "state")


@pytest.fixture
def world(state: Path) -> World:
    return process.load_world(state / "world.toml")


def moonbow(state: Path, *words: str) -> tuple[int, str]:
    """The exit code of a command, and what it says; a fault as the command line tells it."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(make_app(), ["backup", *words, "--state", str(state)])
    if isinstance(done.exception, MoonbowError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.slow
def test_the_process_says_what_stands_and_notes_who_is_erased(world: World, state: Path) -> None:
    argv = [sys.executable, "-P", "-m", "moonbow.backup", "--state", str(state), "--region", REGION]
    asyncio.run(erase(world, state, BEA))
    running = subprocess.Popen(argv, stderr=subprocess.PIPE)
    url = f"http://{site_address(world, world.site('paris'))}:5313"
    try:
        eventually(lambda: urllib.request.urlopen(f"{url}/healthz", timeout=1).read() == b"ok\n", 20)
        said = urllib.request.urlopen(f"{url}/metrics", timeout=1).read().decode()
        assert 'moonbow_backup_archives{kind="data",region="emea"} 0.0' in said
        eventually(lambda: shelf_of(world, state, REGION).erased() == [BEA], 20)
    finally:
        running.send_signal(signal.SIGTERM)
        _, log = running.communicate(timeout=10)
    assert running.returncode == 0, log


def test_every_metric_of_the_alerts_is_there() -> None:
    """The rules about backups name only metrics that the process really gives."""
    named = set(re.findall(r"\bmoonbow_backup_[a-z_]+", Path("docs/alerts.yml").read_text()))
    given = generate_latest(Metrics(REGION).registry).decode()
    assert len(named) == 2
    assert [name for name in named if f"# TYPE {name} " not in given] == []


def test_it_takes_one_when_it_is_due_and_counts_failures(
    world: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "FIRST_S", 0.0)
    monkeypatch.setattr(policy, "AGAIN_FIRST_S", 0.1)
    shelf = shelf_of(world, state, REGION)
    metrics = Metrics(REGION)

    async def go() -> None:
        shelf.root.parent.mkdir(parents=True)
        shelf.root.write_text("in the way")
        task = asyncio.create_task(Backups(world, state, REGION, metrics).run())
        await eventually_async(lambda: value("moonbow_backup_failures_total") >= 2, 20)
        shelf.root.unlink()
        await eventually_async(lambda: value("moonbow_backup_last_success_seconds") > 0, 20)
        assert value("moonbow_backup_archive_bytes") > 1000
        task.cancel()

    def value(name: str) -> float:
        return metrics.registry.get_sample_value(name, {"region": REGION}) or 0.0

    asyncio.run(go())
    assert [one.manifest.kind for one in shelf.archives()] == ["data", "keys"]


def test_commands(world: World, state: Path) -> None:
    folder = state / "regions" / REGION
    code, said = moonbow(state, "run", REGION)
    assert (code, "kept at frankfurt" in said) == (0, True), said
    (data, keys) = json.loads(moonbow(state, "list", "--json")[1])
    assert (data["manifest"]["kind"], keys["manifest"]["kind"]) == ("data", "keys")
    ident = data["manifest"]["id"]
    assert "good" in moonbow(state, "list")[1]
    code, said = moonbow(state, "restore", REGION, ident)
    assert code == 2
    assert "not empty" in said
    assert f"mv {folder}" in said
    sealed = shelf_of(world, state, REGION).file(ident, "directory")
    sealed.write_bytes(sealed.read_bytes()[:-20])
    code, said = moonbow(state, "verify", ident)
    assert (code, "cut off" in said) == (1, True), said
    assert "damaged" in moonbow(state, "list")[1]
    assert moonbow(state, "verify", "nonsense")[0] == 2


def test_restore_by_command(state: Path) -> None:
    assert moonbow(state, "run", REGION)[0] == 0
    (data, _) = json.loads(moonbow(state, "list", REGION, "--json")[1])
    ident, folder, key = data["manifest"]["id"], state / "regions" / REGION, state / "copy.key"
    people = tables(folder)["directory", "person"]
    key.write_bytes((folder / "keys" / "backup.key").read_bytes())
    shutil.rmtree(folder)
    code, said = moonbow(state, "restore", REGION, ident, "--key", str(key), "--without", "apac")
    assert code == 0, said
    assert tables(folder)["directory", "person"] == people
