"""Files that the director reads again when they change.  One that vanishes or breaks leaves the last good value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from moonbow.base.errors import ConfigError

T = TypeVar("T")


class Watched(Generic[T]):
    """A file and the value read from it.  `trouble` says why the file as it is now is not the one in use."""

    def __init__(self, path: Path, parse: Callable[[bytes], T], value: T) -> None:
        self.path = path
        self.value = value
        self.trouble = ""
        self._parse = parse
        self._seen: tuple[int, int, int] | None = None
        self._read_once = self._again = False

    def poll(self) -> bool:
        """Read the file if it changed since the last look; whether `value` or `trouble` changed."""
        try:
            found = self.path.stat()
        except OSError:
            vanished = self._read_once and self._seen is not None
            self._seen = None
            if vanished:
                self.trouble = "vanished; the last one read is in use"
            return vanished
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen and not self._again:
            return False
        self._seen, self._again = seen, False
        before = self.trouble
        try:
            self.value = self._parse(self.path.read_bytes())
        except OSError as error:  # that may pass without the file's changing, so the next look tries again
            self._again, self.trouble = True, f"cannot be read: {error}"
            return self.trouble != before
        except (ConfigError, msgspec.DecodeError) as error:
            self.trouble = f"cannot be used: {error}"
            return True
        self.trouble, self._read_once = "", True
        return True
