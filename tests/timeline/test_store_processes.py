"""Many processes write one store: the order stays dense, and who is killed loses nothing that was acknowledged."""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from moonbow.base.ids import new_id
from support import eventually
from timeline_stores import Adapter, dense, make_room, person, play, room, rows, texts

ROOM = room(1)
PEOPLE = [person(n) for n in range(1, 5)]
COUNT = 400


class Writer:
    """A running `timeline_writer.py`, and what it has said so far."""

    def __init__(self, adapter: Adapter, said: Path, name: str, author: str, *more: str) -> None:
        self.said = said
        with said.open("ab") as out:
            self.process = subprocess.Popen(
                [*adapter.writer(), name, ROOM, author, str(COUNT), *more], stdin=subprocess.PIPE, stdout=out
            )

    def lines(self) -> list[list[str]]:
        """Every whole line about a post; a process that is killed may leave a torn one."""
        said = [line.split() for line in self.said.read_text().rpartition("\n")[0].splitlines()]
        return [words for words in said if len(words) >= 3 and words[0].isdigit() and _is_whole(words)]

    def placed(self) -> dict[int, tuple[int, str]]:
        """Seq and entry of every post that was acknowledged, by its number; each has one for ever."""
        found: dict[int, tuple[int, str]] = {}
        for n, state, *rest in self.lines():
            if state != "error":
                assert state == "placed"
                at = (int(rest[0]), rest[1])
                assert found.setdefault(int(n), at) == at
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


def _is_whole(words: list[str]) -> bool:
    return words[1] == "error" or (len(words) == 4 and len(words[3]) == len(new_id("ent", "emea")))


@pytest.fixture
def writers(adapter: Adapter) -> Iterator[list[Writer]]:
    play(adapter, lambda store: make_room(store, ROOM, *PEOPLE))
    started: list[Writer] = []
    yield started
    for writer in started:
        writer.end()


def check_all(adapter: Adapter, placed: dict[str, dict[int, tuple[int, str]]]) -> None:
    """The store holds exactly one entry for every acknowledged post, where it was said to be, with its text."""
    found = play(adapter, lambda store: rows(store, ROOM))
    assert dense(found)
    entries = {row.entry: row.seq for row in found if row.kind == "entry"}
    assert len(entries) == sum(row.kind == "entry" for row in found)
    stored = dict(zip(entries, play(adapter, lambda store: texts(store, [e or "" for e in entries])), strict=True))
    for name, answers in placed.items():
        for n, (seq, entry) in answers.items():
            assert entries[entry] == seq
            assert stored[entry] == f"{name}-{n} " * 50
    assert max(Counter(stored.values()).values()) == 1, "no text twice"


ENGINES = ["sqlite", pytest.param("mariadb", marks=pytest.mark.slow), pytest.param("mongodb", marks=pytest.mark.long)]
on_every_engine = pytest.mark.parametrize("adapter", ENGINES, indirect=True)


@on_every_engine
def test_several_processes_share_one_dense_order(adapter: Adapter, writers: list[Writer], tmp_path: Path) -> None:
    for n, author in enumerate(PEOPLE):
        writers.append(Writer(adapter, tmp_path / f"{n}.said", f"w{n}", author))
    for writer in writers:
        assert writer.process.wait(60) == 0
    placed = {f"w{n}": writer.placed() for n, writer in enumerate(writers)}
    assert [len(answers) for answers in placed.values()] == [COUNT] * len(PEOPLE)
    check_all(adapter, placed)
    order = sorted((seq, name) for name, answers in placed.items() for seq, _ in answers.values())
    turns = sum(a[1] != b[1] for a, b in itertools.pairwise(order))
    assert turns > len(PEOPLE), "they took turns; nobody waited for the others to end"


@on_every_engine
@pytest.mark.parametrize("after", [1, 40, 150])
def test_killed_in_the_middle(adapter: Adapter, writers: list[Writer], tmp_path: Path, after: int) -> None:
    """One of three is killed by the kernel while it writes; started again, it repeats itself and goes on."""
    for n in range(3):
        writers.append(Writer(adapter, tmp_path / f"{n}.said", f"w{n}", PEOPLE[n]))
    victim = writers[0]
    eventually(lambda: len(victim.lines()) >= after, within_s=30)
    victim.process.send_signal(signal.SIGKILL)
    assert victim.process.wait(10) == -signal.SIGKILL
    assert victim.placed()
    again = Writer(adapter, tmp_path / "0.said", "w0", PEOPLE[0])
    writers.append(again)
    for writer in writers[1:]:
        assert writer.process.wait(60) == 0
    placed = {"w0": again.placed(), "w1": writers[1].placed(), "w2": writers[2].placed()}
    assert [len(answers) for answers in placed.values()] == [COUNT] * 3
    check_all(adapter, placed)


@pytest.mark.parametrize("adapter", ["sqlite"], indirect=True)
def test_a_full_disk_is_said_clearly_and_mended(adapter: Adapter, writers: list[Writer], tmp_path: Path) -> None:
    """No file may grow: what cannot be kept is refused whole, and all goes on when there is room again."""
    limit = len(adapter.resting()) + 200_000
    writer = Writer(adapter, tmp_path / "0.said", "w0", PEOPLE[0], str(limit))
    writers.append(writer)
    eventually(lambda: len(writer.lines()) >= COUNT, within_s=30)
    refused = {int(n) for n, state, *_ in writer.lines() if state == "error"}
    assert {code for _, state, code, *_ in writer.lines() if state == "error"} == {"store_unavailable"}
    kept = writer.placed()
    assert refused
    assert kept
    assert refused.isdisjoint(kept)
    check_all(adapter, {"w0": kept})
    assert len(play(adapter, lambda store: rows(store, ROOM))) == len(PEOPLE) + len(kept), "nothing was half written"
    assert writer.process.stdin is not None
    writer.process.stdin.write(b"\n")
    writer.process.stdin.flush()
    assert writer.process.wait(60) == 0
    assert len(writer.placed()) == COUNT
    check_all(adapter, {"w0": writer.placed()})
