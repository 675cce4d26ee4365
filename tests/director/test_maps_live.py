"""A running director takes a new map within moments, and keeps the last good one when the new one is broken."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from moonbow.director.adapters.maps import DatabaseWatch, WatchedMap
from moonbow.director.addresses import encode, make_ranges, nothing_known
from moonbow.director.ledger import Entry
from moonbow.director.maps import build_map, entry_of
from moonbow.director.shelf import Shelf
from moonbow.launch.state import prepare_state
from moonbow.wire.traffic import decode_status
from moonbow.world import Ports, World, parse_world, site_address
from support import eventually, eventually_async

from .conftest import ROOT
from .test_maps_cli import KNOWN, SIX
from .test_mmdb import Raw, leaf, write

pytestmark = pytest.mark.slow

SLOT = 2  # where no other test runs a director
BASE, OTHER, NEW = (make_ranges(code, [(0, code)]) for code in ("DE", "FR", "JP"))
ME = Entry(number=0, digest="", source="", at="2026-01-01T00:00:00Z", who="me")


def test_the_map_in_use_follows_the_choice_and_survives_its_files(tmp_path: Path) -> None:
    base, state, shelf = tmp_path / "addresses.bin", tmp_path / "state", Shelf(tmp_path / "state")
    watched = WatchedMap(state, base)
    assert not watched.poll()
    assert (watched.value, watched.trouble, watched.path) == (nothing_known(), "", base)

    base.write_bytes(encode(BASE))
    assert watched.poll()
    assert watched.value == BASE

    shelf.install(OTHER, ME)
    assert watched.poll()
    assert (watched.value, watched.path) == (OTHER, shelf.path)
    assert not watched.poll()
    base.write_bytes(b"broken")
    assert not watched.poll(), "the installation's map is out of use"

    entry = shelf.install(NEW, ME)
    file = shelf.folder / f"{entry.digest}.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert watched.poll()
    assert watched.value == OTHER
    assert "wrong digest" in watched.trouble
    shelf.install(NEW, ME)
    assert watched.poll()
    assert (watched.value, watched.trouble) == (NEW, "")

    shelf.path.write_bytes(b"{")
    assert watched.poll()
    assert watched.value == NEW
    assert "ledger of maps is damaged" in watched.trouble
    shelf.path.unlink()
    assert watched.poll()
    assert watched.value == NEW
    assert "vanished" in watched.trouble


def test_a_start_with_a_damaged_choice_uses_the_latest_kept_map(tmp_path: Path) -> None:
    base, shelf = tmp_path / "addresses.bin", Shelf(tmp_path)
    base.write_bytes(encode(BASE))
    shelf.install(OTHER, ME)
    entry = shelf.install(NEW, ME)
    (shelf.folder / f"{entry.digest}.bin").unlink()
    watched = WatchedMap(tmp_path, base)
    assert watched.poll()
    assert watched.value == OTHER
    assert "No such file" in watched.trouble
    shelf.path.write_bytes(b"damaged as well")
    watched = WatchedMap(tmp_path, base)
    assert watched.poll()
    assert watched.value == BASE
    assert "ledger of maps is damaged" in watched.trouble


def world_with(state: Path, database: Path) -> World:
    """A laptop world in `state` that names a database."""
    text = (ROOT / "worlds" / "laptop.toml").read_text()
    text = text.replace('name = "laptop"', f'name = "laptop"\nslot = {SLOT}', 1) + f'\n[geo]\ndatabase = "{database}"\n'
    world = parse_world(text)
    prepare_state(world, text, state)
    return world


class Running:
    """A director process and how to ask it."""

    def __init__(self, world: World, process: subprocess.Popen[bytes]) -> None:
        self.host = site_address(world, world.site("paris"))
        self.process = process

    def page(self, path: str) -> tuple[int, bytes]:
        assert self.process.poll() is None, "the director has ended"
        line = http.client.HTTPConnection(self.host, Ports.DIRECTOR, timeout=2)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def addresses(self) -> str:
        """What the data in use are."""
        return decode_status(self.page("/status")[1]).addresses


def replace(path: Path, data: bytes) -> None:
    part = path.with_suffix(".new")
    part.write_bytes(data)
    part.replace(path)


@pytest.fixture
def installed(tmp_path: Path, ranges, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "addresses.bin"
    path.write_bytes(encode(ranges))
    monkeypatch.setenv("MOONBOW_ADDRESSES", str(path))
    return path


def test_a_new_database_is_compiled_and_a_bad_one_is_not_used(tmp_path: Path, installed: Path) -> None:
    state, own = tmp_path / "state", tmp_path / "own.mmdb"
    world, shelf = world_with(state, own), Shelf(state)
    watch = DatabaseWatch(state, world.geo.database, look_s=0.1)
    good, better = (write(tmp_path / "w", shape, KNOWN, SIX) for shape in ("geoip2", "flat"))

    async def follow() -> None:
        task = asyncio.create_task(watch.run())
        await eventually_async(lambda: "is not there" in watch.trouble, within_s=10)
        replace(own, good)
        await eventually_async(lambda: len(shelf.read().entries) == 2, within_s=20)
        await eventually_async(lambda: not watch.trouble)
        assert shelf.current()[0].who == "director"
        replace(own, good[:-200])
        await eventually_async(lambda: "not_a_database" in watch.trouble, within_s=20)
        replace(own, Raw(leaf(0)).make())
        await eventually_async(lambda: "would change region" in watch.trouble, within_s=20)
        assert len(shelf.read().entries) == 2
        replace(own, better)
        await eventually_async(lambda: len(shelf.read().entries) == 3, within_s=20)
        back = shelf.roll_back(None, ME)
        own.touch()
        assert back.database_digest == shelf.read().entries[1].database_digest
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(follow())
    compile_again(state)
    assert shelf.read().current.how == "rolled back", "what an operator went back from stays away"


def compile_again(state: Path) -> None:
    command = [sys.executable, "-m", "moonbow.director.maps", "--state", str(state)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_directors_that_see_the_same_new_database_compile_it_once(tmp_path: Path, installed: Path) -> None:
    state, own = tmp_path / "state", tmp_path / "own.mmdb"
    world_with(state, own)
    write(own, "flat", KNOWN, SIX)
    command = [sys.executable, "-m", "moonbow.director.maps", "--state", str(state)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    said = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert sorted(map(bool, said)) == [False, False, False, True]
    assert len(Shelf(state).read().entries) == 2


def test_a_world_without_a_database_watches_nothing(tmp_path: Path) -> None:
    asyncio.run(DatabaseWatch(tmp_path, None).run())


@pytest.fixture
def director(tmp_path: Path, installed: Path) -> Iterator[Running]:
    """A director of a world whose database is not there yet; no door of it is open."""
    state = tmp_path / "state"
    world = world_with(state, tmp_path / "own.mmdb")
    with (tmp_path / "director.jsonl").open("wb") as log:
        command = [sys.executable, "-m", "moonbow.director", "--state", str(state), "--site", "paris"]
        process = subprocess.Popen(command, env=os.environ, stderr=log)
        running = Running(world, process)
        try:
            eventually(lambda: running.page("/healthz")[0] == 200, within_s=15)
            yield running
            process.terminate()
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait(5)


def test_a_running_director_follows(director: Running, tmp_path: Path) -> None:
    own, shelf = tmp_path / "own.mmdb", Shelf(tmp_path / "state")

    assert director.addresses() == "test"
    eventually(lambda: b'input_stale{input="database"} 1.0' in director.page("/metrics")[1])
    write(tmp_path / "by-hand.mmdb", "flat", KNOWN, SIX)
    built = build_map(tmp_path / "by-hand.mmdb")
    shelf.install(built.ranges, entry_of(built, "me", ""))
    eventually(lambda: director.addresses().startswith("Test-flat"))

    write(tmp_path / "w", "geoip2", KNOWN | {"12.0.0.0/8": "CA"}, SIX)
    replace(own, (tmp_path / "w").read_bytes())
    eventually(lambda: director.addresses().startswith("Test-geoip2"), within_s=20)
    eventually(lambda: b'input_stale{input="database"} 0.0' in director.page("/metrics")[1])

    shelf.roll_back(None, ME)
    eventually(lambda: director.addresses().startswith("Test-flat"))
    replace(shelf.path, shelf.path.read_bytes()[:-20])
    eventually(lambda: b'input_stale{input="addresses"} 1.0' in director.page("/metrics")[1])
    assert director.addresses().startswith("Test-flat"), "the last good one"
    lines = (tmp_path / "director.jsonl").read_bytes().splitlines()
    assert any(msgspec.json.decode(line).get("file") == "ledger.json" for line in lines)
