"""Watched files: read when they change, and the last good value kept when they vanish or break."""

from __future__ import annotations

from pathlib import Path

from moonbow.director.adapters.inputs import Watched, parse_overrides
from moonbow.director.model import Overrides
from moonbow.launch.state import Overrides as Written
from moonbow.launch.state import write_overrides


def test_the_last_good_word_stays(tmp_path: Path) -> None:
    path = tmp_path / "overrides.json"
    watched = Watched(path, parse_overrides, Overrides())
    assert not watched.poll()
    assert not watched.trouble, "a file that never was is no trouble"

    write_overrides(tmp_path, Written(drain=("paris",)))
    assert watched.poll()
    assert watched.value == Overrides(drain=frozenset({"paris"}))
    assert not watched.poll()

    path.write_text("{ not json")
    assert watched.poll()
    assert "cannot be used" in watched.trouble
    assert watched.value.drain == {"paris"}

    path.unlink()
    assert watched.poll()
    assert "vanished" in watched.trouble
    assert not watched.poll(), "said once"
    assert watched.value.drain == {"paris"}

    write_overrides(tmp_path, Written(down=("tokyo",)))
    assert watched.poll()
    assert not watched.trouble
    assert watched.value == Overrides(down=frozenset({"tokyo"}))
