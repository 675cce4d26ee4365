"""Laws over what a region's stores did in a drill: files, writes, copies at its sites.  Pure, as `laws`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

from .history import History
from .laws import Verdict, judge


def finally_no_acked_file_is_lost(seen: History) -> Verdict:
    """Every file that was acknowledged comes back as it was sent."""

    def faults() -> Iterator[str]:
        for file in seen.uploaded:
            found = seen.fetched.get(file.id)
            if found != file.digest:
                yield f"{file.name} {file.id} of {file.author} {'came back changed' if found else 'is not there'}"

    return judge("finally_no_acked_file_is_lost", f"{len(seen.uploaded)} files", faults())


def finally_no_file_stands_twice(seen: History) -> Verdict:
    """No file that was sent once is two, though its parts were perhaps sent many times."""

    def faults() -> Iterator[str]:
        for author, names in seen.listed.items():
            yield from (f"{author} has {name} {count} times" for name, count in Counter(names).items() if count > 1)

    return judge("finally_no_file_stands_twice", f"{sum(map(len, seen.listed.values()))} files", faults())


def write_pause_s(
    seen: History, rooms: Collection[str], since: float, until: float, authors: Collection[str] | None = None
) -> float:
    """The longest time between `since` and `until` in which no message (of `authors`) in these rooms was placed."""
    looked_at = {
        sent.client_id for sent in seen.sent if sent.room in rooms and (authors is None or sent.author in authors)
    }
    placed = sorted(
        one.at
        for one in seen.answered
        if one.state == "placed" and since <= one.at <= until and one.client_id in looked_at
    )
    return max(after - before for before, after in pairwise((since, *placed, until)))


def eventually_written_again(pause_s: float, within_s: float, by: str = "everybody") -> Verdict:
    """Nobody waited for longer than `within_s` until messages were placed again; `by` whom."""
    faults = iter([f"nobody of them could write for {pause_s:.2f} s"] if pause_s > within_s else [])
    return judge("eventually_written_again", f"{by}: longest pause {pause_s:.2f} s, {within_s:g} s allowed", faults)


def finally_sites_hold_the_same(copies: Mapping[str, Mapping[str, str]]) -> Verdict:
    """All sites of a region hold the same rows: site -> table -> digest of all its rows."""
    tables = sorted({table for found in copies.values() for table in found})

    def faults() -> Iterator[str]:
        if len(copies) < 2 or not tables:
            yield f"{len(copies)} sites and {len(tables)} tables were looked at: that proves nothing"
        for table in tables:
            if len({found.get(table) for found in copies.values()}) > 1:
                yield f"{table} differs between {' and '.join(copies)}"

    return judge("finally_sites_hold_the_same", f"{len(tables)} tables at {len(copies)} sites", faults())
