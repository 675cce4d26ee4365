"""The operator's face: `moonbow up`, `status`, `kill`, `cut`, `drill`, `explain` and so on."""

from __future__ import annotations


def main() -> int:
    """Run the command line; 2 for what the operator can mend, told without a traceback."""
    from .app import run

    return run()
