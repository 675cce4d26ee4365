"""The address map that a running director uses, read again when it changes; a watch over the operator's own data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.director import addresses
from moonbow.director.addresses import Ranges
from moonbow.director.ledger import kept_digests, parse_ledger
from moonbow.director.maps import BUILD_S
from moonbow.director.shelf import Shelf

from .inputs import Watched

LOOK_S = 1.0  # between two looks at the database; one that changed between them is still being written
WORDS_MAX = 400

log = logging.getLogger("moonbow.director")


class WatchedMap:
    """The world's chosen map, else the installation's.  Same face as `Watched`.

    A choice that cannot be read leaves the map in use; at the start, the latest kept one that can be read.
    """

    def __init__(self, state: Path, base: Path | None = None) -> None:
        self._shelf = Shelf(state)
        self._chosen: Watched[Ranges | None] = Watched(self._shelf.path, self._parse, None)
        self._base = Watched(base or addresses.default_path(), addresses.decode, addresses.nothing_known())
        self._spare: Ranges | None = None

    @property
    def value(self) -> Ranges:
        """The map in use."""
        return self._chosen.value or self._spare or self._base.value

    @property
    def trouble(self) -> str:
        """Why the map in use is not the one that was chosen; empty if it is."""
        return self._chosen.trouble or ("" if self._chosen.value else self._base.trouble)

    @property
    def path(self) -> Path:
        """The file that decides which map is used."""
        return self._shelf.path if self._chosen.value or self._chosen.trouble else self._base.path

    def poll(self) -> bool:
        """Look at the files; whether `value` or `trouble` changed."""
        changed = self._chosen.poll()
        if self._chosen.value is not None:
            return changed
        if changed and self._spare is None:
            self._spare = self._latest_readable()
        return self._base.poll() or changed

    def _parse(self, data: bytes) -> Ranges:
        current = parse_ledger(data).current
        if current is None:
            raise ConfigError("the ledger of maps is empty")
        return self._shelf.load(current)

    def _latest_readable(self) -> Ranges | None:
        try:
            ledger = self._shelf.read()
        except ConfigError:
            return None
        for digest in kept_digests(ledger):
            entry = next(entry for entry in ledger.entries if entry.digest == digest)
            with contextlib.suppress(ConfigError):
                return self._shelf.load(entry)
        return None


class DatabaseWatch:
    """Has the operator's own database compiled, by a process of its own, when it is new.

    `trouble` says why the database as it is now is not the one in use; empty if all is well.
    """

    def __init__(self, state: Path, database: str | None, look_s: float = LOOK_S) -> None:
        self._state = state
        self._look_s = look_s
        self._path = Path(database) if database else None
        self.trouble = ""

    async def run(self) -> None:
        """Watch until cancelled; return at once if the world names no database."""
        if self._path is None:
            return
        seen: tuple[int, ...] = (-1,)
        tried: tuple[int, ...] = (-1,)
        while True:
            found = _look(self._path)
            if found == seen and found != tried:
                tried = found
                self._say(await self._take_in() if found else "is not there; the map in use stays")
            seen = found
            await asyncio.sleep(self._look_s)

    def _say(self, trouble: str) -> None:
        self.trouble = trouble
        if trouble:
            log.warning("input", extra={"f": {"file": str(self._path), "trouble": trouble}})

    async def _take_in(self) -> str:
        """Compile the database and put it into use if that is safe; why not, if not."""
        command = (sys.executable, "-P", "-m", "moonbow.director.maps", "--state", str(self._state))
        none, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=none, stdout=none, stderr=pipe)
        except OSError as error:
            return f"cannot be compiled: {error.strerror}"
        try:
            async with asyncio.timeout(BUILD_S):
                _, said = await process.communicate()
        except TimeoutError:
            return f"was not compiled within {BUILD_S:.0f} s"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        words = said.decode("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
        return words[-1][-WORDS_MAX:] if process.returncode else ""


def _look(path: Path) -> tuple[int, ...]:
    """What tells one version of a file from another; empty if there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
