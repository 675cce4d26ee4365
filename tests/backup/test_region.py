"""A region is copied, checked and put back: every row and object, and nobody who was erased."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from backup_region import (
    ADA,
    BEA,
    REGION,
    ROOM,
    back_up,
    erase,
    keys_destroyed,
    make_region,
    objects,
    read_texts,
    say,
    tables,
    write_object,
)
from moonbow.backup import process
from moonbow.backup.process import check_backup, restore_region, shelf_of
from moonbow.backup.take import scratch, take
from moonbow.base.errors import Broken, ConfigError
from moonbow.world import World

ROWS_THAT_CHANGE = {("timeline", "meta"), ("timeline", "applied"), ("directory", "family")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "state"
    make_region(folder)
    return folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "state")


@pytest.fixture
def world(state: Path) -> World:
    return process.load_world(state / "world.toml")


def check(world: World, state: Path, ident: str) -> tuple[str, ...]:
    return asyncio.run(check_backup(world, state, REGION, ident, None)).faults


def wipe(state: Path) -> Path:
    """Lose the region's folder; a copy of the backup key was kept elsewhere."""
    folder = state / "regions" / REGION
    key = state / "kept-elsewhere.key"
    shutil.copy(folder / "keys" / "backup.key", key)
    shutil.rmtree(folder)
    return key


def test_every_row_and_object_comes_back(world: World, state: Path) -> None:
    folder = state / "regions" / REGION
    before, before_objects = tables(folder), objects(folder)
    wrapping = (folder / "keys" / "region.key").read_bytes()
    ident, keys = back_up(world, state)
    asyncio.run(say(world, state, ADA, 3))
    key = wipe(state)
    restored = asyncio.run(restore_region(world, state, state, REGION, ident, key))
    after = tables(folder)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= ROWS_THAT_CHANGE
    assert after["timeline", "meta"][0][0] >= time.time() - 60  # type: ignore[operator]
    assert after["directory", "family"] == []
    assert objects(folder) == before_objects
    assert (folder / "keys" / "region.key").read_bytes() == wrapping
    assert not (folder / "keys" / "key_old.json").exists(), "what signs tokens is made anew"
    assert restored.keys is not None
    assert restored.keys.id == keys
    everything = [folder, *folder.rglob("*"), *(state / "sites").rglob("*")]
    assert {oct(path.stat().st_mode & 0o077) for path in everything} == {"0o0"}
    assert sorted(path.name for path in (state / "regions").iterdir()) == [REGION]
    assert check(world, state, ident) == (), "and it goes on with the same key"


def test_who_was_erased_stays_erased(world: World, state: Path) -> None:
    old, _ = back_up(world, state)
    asyncio.run(erase(world, state, ADA))
    time.sleep(1.0 - time.time() % 1)  # backups are named by the second
    back_up(world, state)
    asyncio.run(restore_region(world, state, state, REGION, old, wipe(state)))
    found = tables(state / "regions" / REGION)
    assert ADA not in repr(found["directory", "person"])
    assert {row[0] for row in found["directory", "erased"]} == {ADA}
    assert not [row for row in found["timeline", "post"] if row[1] == ADA and row[3]], "no mark of what she wrote"
    texts = [row for row in found["timeline", "post"] if row[1] == BEA and row[9] is not None]
    assert len(texts) == 20
    assert asyncio.run(read_texts(world, state, ADA)) == [None] * 20
    assert None not in asyncio.run(read_texts(world, state, BEA))
    assert asyncio.run(keys_destroyed(world, state)) == 1


def test_an_erasure_younger_than_every_backup_is_known_beside_them(world: World, state: Path) -> None:
    ident, _ = back_up(world, state)
    asyncio.run(erase(world, state, BEA))
    shelf_of(world, state, REGION).note_erased(asyncio.run(process.erased_people(world, state, REGION)))
    restored = asyncio.run(restore_region(world, state, state, REGION, ident, wipe(state)))
    assert restored.erased == (BEA,)
    assert BEA not in repr(tables(state / "regions" / REGION)["directory", "person"])


def test_keys_end_and_then_nothing_brings_them_back(world: World, state: Path) -> None:
    ident, keys = back_up(world, state)
    shelf = shelf_of(world, state, REGION)
    late = time.time() + 31 * 86_400
    from moonbow.backup import policy

    assert policy.plan_pruning(world.backup, shelf.archives(), late) == {keys: "keys are kept for 30 days"}
    key = wipe(state)
    shelf.remove(keys)
    restored = asyncio.run(restore_region(world, state, state, REGION, ident, key))
    assert restored.keys is None
    assert asyncio.run(read_texts(world, state, ADA)) == [None] * 20, "what was written can be read no more"


def test_nothing_private_is_readable_on_the_shelf(world: World, state: Path) -> None:
    (text,) = asyncio.run(say(world, state, ADA, 1))
    folder = state / "regions" / REGION
    wrapping = (folder / "keys" / "region.key").read_bytes()
    assert ADA.encode() in b"".join(path.read_bytes() for path in folder.glob("timeline.db*")), "the control"
    back_up(world, state)
    shelf = shelf_of(world, state, REGION)
    kept = b"".join(path.read_bytes() for path in shelf.root.rglob("*") if path.is_file())
    for secret in (text.encode(), b"p0@x", wrapping, bytes([3]) * 1000, ADA.encode()):
        assert secret not in kept
    assert not (folder / ".backup").exists()
    assert {path.stat().st_mode & 0o077 for path in shelf.root.rglob("*")} == {0}


def test_objects_are_sealed_once_and_let_go_with_the_last_backup_that_names_them(world: World, state: Path) -> None:
    back_up(world, state)
    shelf = shelf_of(world, state, REGION)
    first = {path.name: path.stat().st_ino for path in shelf.blobs.iterdir()}
    assert len(first) == 5
    write_object(state, "0/fil_0", b"other content")
    write_object(state, "9/fil_9", bytes([1]) * 300_000)  # as another one
    time.sleep(1.0 - time.time() % 1)
    back_up(world, state)
    second = {path.name: path.stat().st_ino for path in shelf.blobs.iterdir()}
    assert first.items() <= second.items()
    assert len(second) == 6
    short = msgspec.structs.replace(world.backup, keep_days=1, keep_weeks=0)
    job = replace(process.open_job(world, state, REGION), settings=short, clock=lambda: time.time() + 3 * 86_400)
    data, _ = take(job, [])
    assert {one.manifest.id for one in shelf.archives() if one.manifest.kind == "data"} == {data.id}
    assert len(list(shelf.blobs.iterdir())) == 5
    assert not check(world, state, data.id)


@pytest.mark.parametrize("what", ["timeline.sealed", "manifest.json", "objects.sealed", "blob", "gone"])
def test_damage_is_found_and_not_restored(world: World, state: Path, what: str) -> None:
    ident, _ = back_up(world, state)
    shelf = shelf_of(world, state, REGION)
    path = next(shelf.blobs.iterdir()) if what in ("blob", "gone") else shelf.root / ident / what
    if what == "gone":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    listed = {one.manifest.id for one in shelf.archives()}
    if ident in listed:
        assert check(world, state, ident)
        assert not next(one for one in shelf.archives() if one.manifest.id == ident).good
    key = wipe(state)
    with pytest.raises((Broken, ConfigError)):
        asyncio.run(restore_region(world, state, state, REGION, ident, key))
    assert not (state / "regions" / REGION).exists(), "nothing half restored stands"


def test_rows_that_differ_from_the_manifest_are_found(world: World, state: Path) -> None:
    """The engine's own check sees nothing wrong with a database that lacks a row."""
    from moonbow.backup.secret import read_key
    from moonbow.backup.shelf import genuine_manifest, write_manifest

    ident, _ = back_up(world, state)
    folder, key = shelf_of(world, state, REGION).root / ident, read_key(process.key_file(state, REGION))
    manifest = genuine_manifest(folder, key)
    first = manifest.payloads[0]
    more = msgspec.structs.replace(first, rows={**first.rows, "post": first.rows["post"] + 1})
    write_manifest(folder, msgspec.structs.replace(manifest, payloads=(more, *manifest.payloads[1:])), key)
    assert "other rows" in check(world, state, ident)[0]


def test_a_region_that_is_not_empty_is_left_alone(world: World, state: Path) -> None:
    ident, _ = back_up(world, state)
    before = tables(state / "regions" / REGION)
    with pytest.raises(ConfigError, match="not empty"):
        asyncio.run(restore_region(world, state, state, REGION, ident, None))
    assert tables(state / "regions" / REGION) == before


def test_another_key_opens_nothing(world: World, state: Path, tmp_path: Path) -> None:
    ident, _ = back_up(world, state)
    wipe(state)
    (tmp_path / "other.key").write_text("cd" * 32)
    with pytest.raises(ConfigError, match="sealed with key"):
        asyncio.run(restore_region(world, state, state, REGION, ident, tmp_path / "other.key"))
    with pytest.raises(ConfigError, match="--key"):
        asyncio.run(restore_region(world, state, state, REGION, ident, None))


def test_into_another_world(world: World, state: Path, tmp_path: Path) -> None:
    folder = state / "regions" / REGION
    ident, _ = back_up(world, state)
    other = tmp_path / "other"
    asyncio.run(restore_region(world, state, other, REGION, ident, None))
    assert objects(other / "regions" / REGION) == objects(folder)
    assert (other / "secrets" / "login.key").read_text() == "ab" * 32
    (other / "secrets" / "login.key").write_text("cd" * 32)
    shutil.rmtree(other / "regions" / REGION)
    with pytest.raises(ConfigError, match="another secret"):
        asyncio.run(restore_region(world, state, other, REGION, ident, None))


def test_while_others_write(world: World, state: Path) -> None:
    """A copy is one committed state: dense, and with everything that was answered before it began."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(state), ADA, ROOM], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert writer.stdout is not None
        answered = [writer.stdout.readline().strip() for _ in range(50)]
        ident, _ = back_up(world, state)
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.communicate()
    asyncio.run(restore_region(world, state, state, REGION, ident, wipe(state)))
    found = tables(state / "regions" / REGION)
    assert set(answered) <= {str(row[0]) for row in found["timeline", "post"]}
    (stream,) = (row for row in found["timeline", "stream"] if row[1] == ROOM)
    seqs = sorted(row[1] for row in found["timeline", "order_row"] if row[0] == stream[0])
    assert seqs == list(range(1, stream[2] + 1))  # type: ignore[operator]


WRITER = """
import asyncio, sys
from pathlib import Path
from backup_region import HOME, SITE, new_post, open_keys, open_timeline, transactions, load_world
async def main(state, author, room):
    world = load_world(state / "world.toml")
    timeline = open_timeline(world, state, HOME, SITE, open_keys(world, state, HOME).sealer)
    for no in range(100_000):
        answer = await timeline.write(transactions.post, new_post(author, room, f"w{no}", f"w{no}"))
        print(answer.entry, flush=True)
asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def test_one_at_a_time(world: World, state: Path) -> None:
    with scratch(state / "regions" / REGION) as room:
        (room / "timeline").write_text("of the first")
        with pytest.raises(ConfigError, match="already"):
            back_up(world, state)
        assert (room / "timeline").exists()


def test_nothing_to_copy(world: World, state: Path) -> None:
    for path in (state / "regions" / REGION).glob("*.db"):
        path.unlink()
    with pytest.raises(ConfigError, match="nothing to copy"):
        back_up(world, state)
