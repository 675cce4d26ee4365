"""A backup that is interrupted, anywhere, leaves nothing half made, and what stood before stands."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backup_region import ADA, REGION, back_up, make_region, objects, say, tables, write_object
from moonbow.backup import process
from moonbow.backup.model import Step
from moonbow.backup.process import check_backup, open_job, restore_region, shelf_of
from moonbow.backup.restore import Order, check_empty
from moonbow.backup.take import take
from moonbow.base.errors import Broken, ConfigError
from moonbow.world import World


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A region with one good backup, and news since."""
    folder = tmp_path_factory.mktemp("made") / "state"
    world = make_region(folder)
    job = open_job(world, folder, REGION)
    take(replace(job, clock=lambda: time.time() - 3600), [])
    asyncio.run(say(world, folder, ADA, 5))
    write_object(folder, "7/fil_7", b"new")
    return folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "state")


@pytest.fixture
def world(state: Path) -> World:
    return process.load_world(state / "world.toml")


class Stop(BaseException):
    """What ends a process: nobody handles it."""


def steps(state: Path) -> Iterator[int]:
    """0, 1, 2 … for as long as a run has that many steps."""
    yield from range(0, 200, 3)


def stands(world: World, state: Path, before: set[str]) -> None:
    """The shelf lists what it did before, or a whole archive more; each opens."""
    shelf = shelf_of(world, state, REGION)
    listed = {one.manifest.id for one in shelf.archives()}
    assert before <= listed
    for ident in listed:
        assert asyncio.run(check_backup(world, state, REGION, ident, None)).faults == ()
    assert not (state / "regions" / REGION / ".backup").exists()


def test_stopped_at_every_step(world: World, state: Path) -> None:
    before = {one.manifest.id for one in shelf_of(world, state, REGION).archives()}
    at = int(time.time())
    for stop_at in steps(state):
        left = [stop_at]

        def report(step: Step, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Stop

        job = replace(open_job(world, state, REGION, report), clock=lambda no=stop_at: at + 10.0 * no)
        try:
            take(job, [])
        except Stop:
            listed = {one.manifest.id for one in shelf_of(world, state, REGION).archives()}
            assert before <= listed
            assert len(listed - before) <= 2 * (stop_at // 3 + 1)
            assert not (state / "regions" / REGION / ".backup").exists()
        else:
            assert stop_at > 10
            stands(world, state, before)
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.2, 0.3, 0.45])
def test_killed_at_any_time(world: World, state: Path, after_s: float) -> None:
    """With nobody to clear up: the next run does."""
    before = {one.manifest.id for one in shelf_of(world, state, REGION).archives()}
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, str(state)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "src"}
    )
    assert running.stdout is not None
    running.stdout.readline()
    time.sleep(after_s)  # the moment is the point
    running.send_signal(signal.SIGKILL)
    running.communicate()
    shelf = shelf_of(world, state, REGION)
    assert before <= {one.manifest.id for one in shelf.archives()}
    time.sleep(1.0 - time.time() % 1)
    data, keys = back_up(world, state)
    stands(world, state, before | {data, keys})
    assert not [path for path in shelf.root.rglob("*") if path.name.endswith(".partial")]


RUN = """
import asyncio, sys
from pathlib import Path
from moonbow.backup.process import take_backup
from moonbow.world import load_world
state = Path(sys.argv[1])
world = load_world(state / "world.toml")
print(flush=True)
asyncio.run(take_backup(world, state, "emea"))
"""


def test_a_full_disk_is_said_and_older_backups_stand(world: World, state: Path) -> None:
    write_object(state, "8/fil_8", os.urandom(3_000_000))
    before = {one.manifest.id for one in shelf_of(world, state, REGION).archives()}
    full = subprocess.run(
        [sys.executable, "-c", FULL + RUN, str(state)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": "src"}, timeout=60,
    )  # fmt: skip
    assert full.returncode != 0
    assert "older ones stand" in full.stderr
    assert os.strerror(errno.EFBIG) in full.stderr
    assert {one.manifest.id for one in shelf_of(world, state, REGION).archives()} == before
    stands(world, state, before)


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
"""


def test_a_restore_stopped_at_every_step_leaves_the_region_empty(world: World, state: Path) -> None:
    folder = state / "regions" / REGION
    ident, _ = back_up(world, state)
    rows, files = tables(folder), objects(folder)
    key = state / "elsewhere.key"
    shutil.copy(folder / "keys" / "backup.key", key)
    shutil.rmtree(folder)
    for stop_at in steps(state):
        left = [stop_at]

        def report(step: Step, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Broken("stopped")

        try:
            asyncio.run(restore_region(world, state, state, REGION, ident, key, report))
        except Broken:
            assert not folder.exists()
        else:
            assert stop_at > 3
            break
    assert tables(folder)["timeline", "post"] == rows["timeline", "post"]
    assert objects(folder) == files


def test_a_restore_stopped_between_its_last_two_renames_goes_on(world: World, state: Path) -> None:
    """The empty folder was moved away and the new one had not come: the region is still empty for the next one."""
    ident, _ = back_up(world, state)
    folder = state / "regions" / REGION
    key = state / "elsewhere.key"
    shutil.copy(folder / "keys" / "backup.key", key)
    shutil.rmtree(folder)
    (state / "regions" / f".before.{REGION}" / "keys").mkdir(parents=True)
    (state / "regions" / f".restoring.{REGION}" / "regions" / REGION).mkdir(parents=True)
    asyncio.run(restore_region(world, state, state, REGION, ident, key))
    assert sorted(path.name for path in (state / "regions").iterdir()) == [REGION]


def test_what_a_region_that_never_served_holds_is_no_hindrance(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "regions" / REGION / "keys"
    folder.mkdir(parents=True)
    order = Order(
        settings=world.backup, region=REGION, ident="", shelf=shelf_of(world, tmp_path, REGION), key=b"",
        state=tmp_path, databases=open_databases(tmp_path), now=0.0,
    )  # fmt: skip
    check_empty(order)
    (folder / "backup.key").write_text("")
    check_empty(order)
    (folder / "region.key").write_text("")
    with pytest.raises(ConfigError, match="mv "):
        check_empty(order)


def open_databases(state: Path) -> process.SqliteDatabases:
    return process.SqliteDatabases(state / "regions" / REGION)
