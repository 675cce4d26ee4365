"""`python -m moonbow.watch.audit --state STATE`: one audit, in a process of its own.

Standard output carries JSON lines: `{"progress": …}`, then `{"report": …}` or `{"problems": […]}`.
Exit code 0 clean, 1 something was found, 2 it could not be done.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from moonbow.base.errors import ConfigError

from .model import Progress, Report
from .process import audit


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output; one of the three is there."""

    progress: Progress | None = None
    report: Report | None = None
    problems: tuple[str, ...] = ()


def _say(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Run one audit and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.watch.audit", description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    os.umask(0o077)
    try:
        report = audit(given.state.absolute(), lambda progress: _say(Line(progress=progress)))
    except ConfigError as error:
        _say(Line(problems=error.problems))
        return 2
    _say(Line(report=report))
    return 0 if report.clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
