"""Changes the map of a world, and dies half-way, if it gets that far.

`python map_writer.py STATE N build|rollback`: by SIGKILL at the n-th step that touches a file; where N is negative, by
SIGXFSZ when any file would grow beyond -N bytes, with so much of it written.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from moonbow.director.addresses import make_ranges
from moonbow.director.ledger import Entry
from moonbow.director.shelf import Shelf

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "os.scandir", "fcntl.flock")


def main(state: Path, last: int, what: str) -> None:
    shelf, steps = Shelf(state), 0
    who = Entry(number=0, digest="", source="", at="2026-01-01T00:00:00Z", who="tester")

    def count(event: str, given: tuple[object, ...]) -> None:
        nonlocal steps
        if event in STEPS:
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)

    if last < 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (-last, -last))
    sys.addaudithook(count)
    if what == "build":
        shelf.install(make_ranges("new", [(n << 20, ("JP", "US")[n % 2]) for n in range(4_000)]), who)
    else:
        shelf.roll_back(None, who)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
