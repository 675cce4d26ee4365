"""A program that writes into a store without pause: `timeline_writer.py FOLDER NAME ROOM AUTHOR COUNT [FILE_BYTES_MAX]`.

Post n of a writer has a client id of its own, so one that starts again repeats itself.  A line per answer, at once:
`n state seq entry`, or `n error CODE`.  A writer named `erase` redacts its first post at once, and then ends as if
killed.  With FILE_BYTES_MAX no file may grow beyond it, as on a full disk, until a line arrives on standard input; then
it says all again.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

from moonbow.base.errors import Unavailable
from moonbow.timeline import transactions
from moonbow.timeline.ports import Store
from timeline_stores import adapter_in, new_post

AT_ONCE = 8


def tell(*words: object) -> None:
    print(*words, flush=True)


async def post(store: Store, name: str, place: str, author: str, n: int) -> None:
    try:
        answer = await store.write(transactions.post, new_post(author, place, f"{name}-{n}", f"{name}-{n} " * 50))
    except Unavailable as error:
        tell(n, "error", error.code)
    else:
        if name == "erase":
            await store.write(transactions.redact, author, place, answer.entry or "")
            tell(n, answer.state, answer.seq, answer.entry)
            os.kill(os.getpid(), signal.SIGKILL)
        tell(n, answer.state, answer.seq, answer.entry)


async def main(folder: str, name: str, place: str, author: str, count: int, bytes_max: int) -> None:
    store = adapter_in(Path(folder)).open()
    tell("\nready")  # a line of its own, even after one that a kill tore
    if bytes_max:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    for turn in range(2 if bytes_max else 1):
        if turn:
            await asyncio.to_thread(sys.stdin.readline)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            tell("again")
        for start in range(0, count, AT_ONCE):
            some = range(start, min(start + AT_ONCE, count))
            await asyncio.gather(*(post(store, name, place, author, n) for n in some))
    store.close()
    tell("done")


if __name__ == "__main__":
    folder, name, place, author, count, *limit = sys.argv[1:]
    asyncio.run(main(folder, name, place, author, int(count), int(limit[0]) if limit else 0))
