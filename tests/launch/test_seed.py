"""When the demo company is made: once for each place where a region's people rest."""

from __future__ import annotations

from pathlib import Path

from moonbow.base.files import write_private
from moonbow.launch import seed
from moonbow.world import World, load_world

LAPTOP, ENGINES = (load_world(Path(f"worlds/{name}.toml")) for name in ("laptop", "laptop-engines"))


def settle(world: World, state: Path) -> None:
    """As after a seeding that came to its end."""
    for region in world.regions:
        (state / "regions" / region).mkdir(parents=True, exist_ok=True)
        (state / "regions" / region / "directory.db").touch()
    (state / "world").mkdir(exist_ok=True)
    write_private(seed._mark(state), seed._engines(world).encode())


def test_a_region_that_is_moved_to_another_engine_is_seeded_again(tmp_path: Path) -> None:
    assert seed.needs_seed(LAPTOP, tmp_path)
    settle(LAPTOP, tmp_path)
    assert not seed.needs_seed(LAPTOP, tmp_path)
    assert seed.needs_seed(ENGINES, tmp_path), "the cluster knows nobody"
    settle(ENGINES, tmp_path)
    assert not seed.needs_seed(ENGINES, tmp_path)
    (tmp_path / "regions" / "apac" / "directory.db").unlink()
    assert seed.needs_seed(LAPTOP, tmp_path)


def test_the_mark_of_an_older_release_counts(tmp_path: Path) -> None:
    settle(LAPTOP, tmp_path)
    seed._mark(tmp_path).write_bytes(b"")
    assert not seed.needs_seed(LAPTOP, tmp_path)
    assert seed.needs_seed(ENGINES, tmp_path)
