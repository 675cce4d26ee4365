"""A world's maps on disk: swapped at once or not at all, whenever the writer dies; gone back to, and back again."""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.errors import ConfigError
from moonbow.director.addresses import encode, make_ranges
from moonbow.director.ledger import (
    ENTRIES_MAX,
    KEPT_MAX,
    Entry,
    Ledger,
    add_entry,
    choose_entry,
    choose_rollback,
    kept_digests,
    parse_ledger,
    render_ledger,
)
from moonbow.director.shelf import Shelf

pytestmark = pytest.mark.slow

WRITER = Path(__file__).with_name("map_writer.py")
BASE = make_ranges("base", [(0, "DE")])
OTHER = make_ranges("other", [(0, "FR")])
NEW = make_ranges("new", [(n << 20, ("JP", "US")[n % 2]) for n in range(4_000)])
ME = Entry(number=0, digest="", source="", at="2026-01-01T00:00:00Z", who="me", why="because")


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "addresses.bin"
    path.write_bytes(encode(BASE))
    monkeypatch.setenv("MOONBOW_ADDRESSES", str(path))
    return path


def test_the_installations_map_is_used_until_another_is_chosen(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "state")
    assert shelf.current() == (None, BASE)
    assert not shelf.folder.exists(), "looking writes nothing"
    entry = shelf.install(OTHER, ME)
    assert shelf.current() == (entry, OTHER)
    assert (entry.number, entry.source, entry.who, entry.why, entry.how) == (2, "other", "me", "because", "built")
    first = shelf.read().entries[0]
    assert (first.number, first.source, first.who, first.how) == (1, "base", "installation", "found")


def test_going_back_and_back_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with pytest.raises(ConfigError, match="nothing to go back to"):
        shelf.roll_back(None, ME)
    shelf.install(OTHER, ME)
    shelf.install(NEW, ME)
    back = shelf.roll_back(None, ME)
    assert shelf.current() == (back, OTHER)
    assert (back.number, back.how, back.why) == (4, "rolled back", "back to 2: because")
    assert shelf.current()[1] == OTHER
    shelf.roll_back(None, ME)
    assert shelf.current()[1] == NEW, "going back from going back"
    shelf.roll_back(1, ME)
    assert shelf.current()[1] == BASE
    assert [entry.source for entry in shelf.read().entries] == ["base", "other", "new", "other", "new", "base"]
    with pytest.raises(ConfigError, match="there is no map 99; known: 1, 2, 3, 4, 5, 6"):
        shelf.roll_back(99, ME)


def test_the_base_may_be_made_anew_and_the_old_one_is_still_kept(tmp_path: Path, base: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.install(OTHER, ME)
    base.unlink()
    assert shelf.current()[1] == OTHER
    shelf.roll_back(None, ME)
    assert shelf.current()[1] == BASE


def test_without_any_map_the_first_one_is_the_first(tmp_path: Path, base: Path) -> None:
    base.unlink()
    shelf = Shelf(tmp_path)
    assert shelf.install(OTHER, ME).number == 1
    with pytest.raises(ConfigError, match="no other map"):
        shelf.roll_back(None, ME)


def test_building_the_same_again_changes_nothing_but_mends_it(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    entry = shelf.install(OTHER, ME)
    file = shelf.folder / f"{entry.digest}.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="damaged"):
        shelf.current()
    assert shelf.install(OTHER, ME) == entry
    assert shelf.current() == (entry, OTHER)


def test_a_damaged_map_is_not_gone_back_to(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.install(OTHER, ME)
    digest = shelf.read().entries[0].digest
    (shelf.folder / f"{digest}.bin").write_bytes(encode(NEW))
    with pytest.raises(ConfigError, match="wrong digest"):
        shelf.roll_back(None, ME)
    assert shelf.current()[1] == OTHER


def test_old_maps_are_let_go(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for number in range(KEPT_MAX + 4):
        shelf.install(make_ranges(f"n{number}", [(number << 8, "DE")]), ME)
    assert len(list(shelf.folder.glob("*.bin"))) == KEPT_MAX
    with pytest.raises(ConfigError, match="map 2 is no longer kept"):
        shelf.roll_back(2, ME)
    assert shelf.roll_back(8, ME).source == "n6"


def test_only_one_writes_at_a_time(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, wait_s=0.1)
    shelf.install(OTHER, ME)
    with (shelf.folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="somebody else"):
            shelf.install(NEW, ME)
    shelf.install(NEW, ME)


def test_a_damaged_ledger_is_said(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.install(OTHER, ME)
    whole = shelf.path.read_bytes()
    for broken in (whole[:-9], b"", b"[]", whole.replace(b'"digest": "', b'"digest": "../../')):
        shelf.path.write_bytes(broken)
        with pytest.raises(ConfigError, match=r"ledger\.json"):
            shelf.current()


@pytest.mark.parametrize("what", ["build", "rollback"])
def test_a_writer_killed_at_any_step_leaves_the_old_map_or_the_new(tmp_path: Path, what: str) -> None:
    before = Shelf(tmp_path / "before")
    before.install(OTHER, ME)
    after = NEW if what == "build" else BASE
    outcomes, step = [], 0
    while True:
        step += 1
        state = tmp_path / f"at{step}"
        shutil.copytree(tmp_path / "before", state)
        writer = subprocess.run([sys.executable, WRITER, state, str(step), what], capture_output=True, text=True)
        shelf = Shelf(state)
        entry, ranges = shelf.current()
        assert ranges in (OTHER, after)
        outcomes.append(ranges == after)
        assert entry == shelf.read().entries[-1]
        assert len(shelf.read().entries) == (3 if ranges == after else 2)
        shelf.roll_back(None, ME)
        shelf.install(NEW, ME)
        assert shelf.current()[1] == NEW, "the next writer goes on"
        assert not list(shelf.folder.glob("*.part")), "and sweeps up"
        if writer.returncode == 0:
            break
        assert writer.returncode == -9, writer.stderr
    assert step > 8
    assert outcomes == sorted(outcomes), "one step decides"
    assert not outcomes[0]
    assert outcomes[-1]


@pytest.mark.parametrize("what", ["build", "rollback"])
@pytest.mark.parametrize("size", [1, 100, 400, 100_000])
def test_a_writer_killed_within_a_file_leaves_the_old_map(tmp_path: Path, what: str, size: int) -> None:
    shelf = Shelf(tmp_path)
    shelf.install(OTHER, ME)
    writer = subprocess.run([sys.executable, WRITER, tmp_path, str(-size), what], capture_output=True, text=True)
    lives = size == 100_000
    assert writer.returncode == (0 if lives else -signal.SIGXFSZ), writer.stderr
    assert shelf.current()[1] == ({"build": NEW, "rollback": BASE}[what] if lives else OTHER)
    shelf.install(NEW, ME)
    assert shelf.current()[1] == NEW
    assert not list(shelf.folder.glob("*.part"))


def test_a_writer_killed_on_the_very_first_change_leaves_the_installations_map(tmp_path: Path) -> None:
    step = 0
    while True:
        step += 1
        state = tmp_path / f"at{step}"
        writer = subprocess.run([sys.executable, WRITER, state, str(step), "build"], capture_output=True, text=True)
        entry, ranges = Shelf(state).current()
        assert ranges == (NEW if entry else BASE)
        assert entry is None or entry.number == 2
        if writer.returncode == 0:
            break
        assert writer.returncode == -9, writer.stderr
    assert entry


def entry(name: int) -> Entry:
    return Entry(number=0, digest=f"{name:032x}", source=str(name), at="", who="")


@given(st.lists(st.integers(0, 12) | st.just(None), min_size=1, max_size=60))
def test_laws_of_the_ledger(changes: list[int | None]) -> None:
    """A number builds that map; None goes back."""
    ledger, shown = add_entry(Ledger(), entry(99)), [99]
    for change in changes:
        if change is not None:
            ledger = add_entry(ledger, entry(change))
        elif len(set(shown)) > 1:
            was = ledger.current
            ledger = add_entry(ledger, choose_rollback(ledger))
            assert ledger.current.digest != was.digest
            twice = add_entry(ledger, choose_rollback(ledger))
            assert twice.current.digest == was.digest, "going back from going back is where one was"
        shown.append(int(ledger.current.source))
    numbers = [found.number for found in ledger.entries]
    assert numbers == sorted(set(numbers))
    kept = kept_digests(ledger)
    assert kept[0] == ledger.current.digest
    assert len(kept) <= KEPT_MAX
    for found in ledger.entries:
        if found.digest in kept:
            assert choose_entry(ledger, found.number) == found
    assert parse_ledger(render_ledger(ledger)) == ledger


def test_the_ledger_does_not_grow_without_end() -> None:
    ledger = Ledger()
    for name in range(ENTRIES_MAX + 20):
        ledger = add_entry(ledger, entry(name % 3))
    assert len(ledger.entries) == ENTRIES_MAX
    assert ledger.current.number == ENTRIES_MAX + 20
