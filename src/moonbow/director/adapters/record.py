"""What a director writes into its site's folder: what it remembers, and its verdicts for the site's doors and gateways.

The memory's time of change is the last moment at which it was known to be right, see `confirm`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

from moonbow.base.files import write_private
from moonbow.director.memory import Memory, decode_memory, encode_memory
from moonbow.wire.views import Verdicts, encode_verdicts
from moonbow.world import World

log = logging.getLogger("moonbow.director")


class Record:
    """The files `memory.json` and `verdicts.json` in a folder.  A full disk is said once, and does not stop answers."""

    def __init__(self, folder: Path) -> None:
        self._memory = folder / "memory.json"
        self._verdicts = folder / "verdicts.json"
        self.trouble = ""

    def recall(self, world: World) -> tuple[Memory, float] | None:
        """What is remembered of `world`, and the Unix time at which it was last right; None if there is nothing."""
        try:
            confirmed_at_s = self._memory.stat().st_mtime
            found = decode_memory(self._memory.read_bytes(), world, time.time())
        except OSError:
            return None
        return (found, confirmed_at_s) if found is not None else None

    def write(self, memory: Memory, verdicts: Verdicts) -> None:
        """Replace both."""
        try:
            self._memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._verdicts, encode_verdicts(verdicts))
            write_private(self._memory, encode_memory(memory))
        except OSError as error:
            if not self.trouble:
                log.error("cannot be written", extra={"f": {"file": str(self._memory), "why": str(error)}})
            self.trouble = f"cannot be written: {error.strerror}"
        else:
            self.trouble = ""

    def confirm(self) -> None:
        """What is remembered is right now, too."""
        with contextlib.suppress(OSError):
            os.utime(self._memory)
