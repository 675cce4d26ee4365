"""Puts on the disk what SeaweedFS has written: over S3 it acknowledges what only the kernel has (no `fsync`).

Another site has the same, so the loss of one site takes nothing.  A loss of power of all sites at once takes what was
written since the last flush.
"""

from __future__ import annotations

import os
from pathlib import Path

FLUSH_S = 1.0  # between two flushes


class Flusher:
    """The volumes in one folder, and what of them is on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._flushed: dict[Path, tuple[int, int]] = {}  # size and time of change, in ns

    def flush(self) -> int:
        """Sync every file that has changed since; how many there were.  OSError if the disk refuses."""
        found = {path: state for path in self._paths() if (state := _state(path)) is not None}
        changed = [path for path, state in found.items() if self._flushed.get(path) != state]
        for path in changed:
            _sync(path)
        self._flushed = found
        if changed:
            _sync(self._folder)
        return len(changed)

    def _paths(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.suffix in (".dat", ".idx", ".vif")]
        except FileNotFoundError:  # SeaweedFS has not begun
            return []


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:  # a volume was removed meanwhile
        return None
    return found.st_size, found.st_mtime_ns


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
