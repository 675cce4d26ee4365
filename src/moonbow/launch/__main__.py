"""`python -m moonbow.launch --world FILE --state STATE`: a launcher without a terminal.

Standard output carries one JSON line per change, `{"key", "state", "reason"}`, then `{"ready": true}` or
`{"problems": […]}`, and is closed then; the log goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

import msgspec

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log
from moonbow.world import World

from .policy import Change
from .process import run


def _say(line: object) -> None:
    try:
        os.write(1, msgspec.json.encode(line) + b"\n")
    except OSError:  # whoever started us has left; the world goes on
        return


def _ready(_: World) -> None:
    _say({"ready": True})
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.close(silence)


def main() -> int:
    """0 after a clean stop, 2 for what the operator must mend."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.launch", description=__doc__)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    start_log("world", "launcher")

    def report(change: Change) -> None:
        _say(change._asdict())

    try:
        asyncio.run(run(given.world, given.state.absolute(), report, _ready))
    except ConfigError as error:
        _say({"problems": list(error.problems)})
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
