"""`python -m moonbow.backup --state STATE --region REGION`: takes the region's backups on schedule."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log
from moonbow.base.stop import until_stopped

from .schedule import serve


def main() -> int:
    """0 after a clean stop, 2 for what the operator must mend."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.backup", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the world's folder")
    parser.add_argument("--region", required=True)
    given = parser.parse_args()
    start_log(given.region, "backup")
    try:
        asyncio.run(until_stopped(serve(given.state, given.region)))
    except (ConfigError, OSError) as error:
        print(f"backup: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
