"""A region whose objects rest in SeaweedFS is copied while it serves, and comes back on empty disks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_region import ADA, REGION, back_up, furnish, objects, read_texts, write_object
from files.weeds import ALL, Weeds
from galera_cluster import SITES, WITNESS, running
from moonbow.backup.model import Object, Step
from moonbow.backup.objects import copy_objects, read_object
from moonbow.backup.ports import Found
from moonbow.backup.process import check_backup, open_copied, restore_region, shelf_of
from moonbow.base.errors import ConfigError
from moonbow.files.process import objects_folder, open_objects
from moonbow.files.restored import Restored
from moonbow.launch.state import prepare_state

pytestmark = pytest.mark.engines
KEY = bytes(32)


def silent(step: Step) -> None:
    """Nobody listens."""


class Counted:
    """A region's objects, and which of them were read."""

    def __init__(self, weeds: Weeds) -> None:
        self.real = open_copied(weeds.world, weeds.state, REGION)
        self.read_names: set[str] = set()

    def list(self) -> Iterator[Found]:
        return self.real.list()

    def read(self, name: str) -> Iterator[bytes]:
        self.read_names.add(name)
        return self.real.read(name)


def copied(weeds: Weeds, blobs: Path, before: dict[str, Object]) -> tuple[dict[str, Object], set[str]]:
    counted = Counted(weeds)
    found = list(copy_objects(counted, blobs, KEY, before, silent))
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}, counted.read_names


def test_objects_are_copied_once_wherever_they_rest_and_again_when_they_change(weeds: Weeds, tmp_path: Path) -> None:
    contents = {f"fil_copied/{no}": os.urandom(5_000 + no) for no in range(12)}
    left = {"fil_left/0": os.urandom(7_000), "fil_copied/11": contents["fil_copied/11"]}
    store, folder = weeds.open(SITES[0]), objects_folder(weeds.state, REGION)

    async def put(wanted: dict[str, bytes]) -> None:
        for key, content in wanted.items():
            await store.put(key, content)

    asyncio.run(put(contents))
    try:
        for name, content in left.items():  # of a restore; one was being brought in
            write_object(weeds.state, name, content)
        found, read = copied(weeds, tmp_path, {})
        assert read == found.keys() >= contents.keys() | left.keys()
        for name, content in (contents | left).items():
            assert b"".join(read_object(tmp_path, found[name], KEY)) == content
        assert copied(weeds, tmp_path, found) == (found, set())
        restored = open_objects(weeds.world, weeds.state, REGION, SITES[1])
        assert isinstance(restored, Restored)
        assert asyncio.run(restored.bring_in()) == len(left)
        changed = {"fil_copied/3": os.urandom(5_003)}
        asyncio.run(put(changed))
        asyncio.run(store.delete(["fil_copied/5"]))
        again, read = copied(weeds, tmp_path, found)
        assert read == changed.keys() | left.keys(), "what has moved is read again, and sealed where it was"
        assert {name: one.blob for name, one in again.items()} == {
            name: one.blob for name, one in found.items() if name != "fil_copied/5"
        } | {"fil_copied/3": again["fil_copied/3"].blob}
        assert b"".join(read_object(tmp_path, again["fil_copied/3"], KEY)) == changed["fil_copied/3"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        asyncio.run(store.delete([*contents, *left]))


@contextlib.contextmanager
def serving(state: Path) -> Iterator[Weeds]:
    """A whole region, its cluster and its SeaweedFS."""
    with running(state) as cluster:
        cluster.until_redundant()
        weeds = Weeds(cluster)
        try:
            weeds.until_ready()
            yield weeds
        finally:
            weeds.close()
            cluster.stop(WITNESS, *reversed(SITES))


@pytest.mark.long
def test_everything_is_lost_but_the_backup_and_its_key(tmp_path: Path) -> None:
    state, kept = tmp_path / "state", tmp_path / "kept.key"
    with serving(state) as weeds:
        world = furnish(state)  # its files lie as a restore leaves them
        contents = objects(state / "regions" / REGION)
        store = open_objects(world, state, REGION)
        assert isinstance(store, Restored)
        assert asyncio.run(store.bring_in()) == len(contents) == 5
        said = asyncio.run(read_texts(world, state, ADA))
        ident, _ = back_up(world, state)
        text = (state / "world.toml").read_text()
    shutil.copyfile(state / "regions" / REGION / "keys" / "backup.key", kept)
    shutil.rmtree(state / "regions" / REGION)
    for site in SITES:
        shutil.rmtree(weeds.cluster.folder(site))
    with pytest.raises(ConfigError, match="volumes"):
        asyncio.run(restore_region(world, state, state, REGION, ident, kept))
    for site in ALL:
        shutil.rmtree(weeds.folder(site))
    restored = asyncio.run(restore_region(world, state, state, REGION, ident, kept))
    assert restored.data.objects == len(contents)
    assert objects(state / "regions" / REGION) == contents
    prepare_state(world, text, state)
    with serving(state) as weeds:
        store = open_objects(world, state, REGION)
        assert isinstance(store, Restored)

        async def read() -> dict[str, bytes]:
            return {name: await store.get(name) for name in contents}

        assert asyncio.run(read()) == contents
        assert asyncio.run(store.bring_in()) == len(contents)
        assert not objects_folder(state, REGION).exists()
        assert asyncio.run(read()) == contents
        assert asyncio.run(read_texts(world, state, ADA)) == said
        time.sleep(1.0 - time.time() % 1)  # backups are named by the second
        for again in back_up(world, state):
            assert asyncio.run(check_backup(world, state, REGION, again, None)).faults == ()
        assert len(list(shelf_of(world, state, REGION).blobs.iterdir())) == len(contents), "each is sealed once"
