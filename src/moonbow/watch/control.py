"""The scan's own control: words laid down in every form at home, to show that the scan would have seen them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from moonbow.base.files import write_private

from .canaries import make_word
from .search import Needle, Searcher, whole
from .spelling import spell

FILL = b"\0nothing of interest\n" * 50


class Laid(NamedTuple):
    """What lies there while an audit runs: how to look for it, and in which forms each region's must be seen."""

    searcher: Searcher
    wanted: dict[str, frozenset[str]]


@contextmanager
def lay_controls(state: Path, regions: list[str]) -> Generator[Laid]:
    """Lay a control into each region's folder while the block runs."""
    paths: list[Path] = []
    needles: dict[str, list[Needle]] = {}
    wanted: dict[str, frozenset[str]] = {}
    try:
        for region in regions:
            spellings = [*spell(make_word("text")), *spell(make_word("emoji"))]
            needles[region] = [whole(each) for each in spellings]
            packed = gzip.compress(FILL + spellings[0].head + spellings[0].rest)
            wanted[region] = frozenset({*(each.form for each in spellings), "packed utf-8"})
            paths.append(_path(state, region))
            paths[-1].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(paths[-1], FILL.join([each.head + each.rest for each in spellings] + [packed]))
        yield Laid(Searcher(needles), wanted)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _path(state: Path, region: str) -> Path:
    return state / "regions" / region / "audit" / f"control-{os.getpid()}"
