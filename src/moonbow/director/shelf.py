"""The address maps of a world on disk: `STATE/world/maps/`, one file a map, and the ledger that says which counts.

A map's file is written whole, to the disk, before the ledger names it; the ledger is replaced by one rename.  Whatever
moment a writer dies at, readers find the old choice or the new one, and its map; what it left is swept up by the next.
Writers take turns by a lock that dies with them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from hashlib import blake2b
from pathlib import Path
from typing import IO

import msgspec

from moonbow.base.errors import ConfigError

from . import addresses
from .addresses import Ranges, decode, encode
from .ledger import Entry, Ledger, add_entry, choose_rollback, kept_digests, parse_ledger, render_ledger

TURN_S = 5.0  # a change takes milliseconds
STEP_S = 0.02


def maps_folder(state: Path) -> Path:
    """Where a world keeps its maps."""
    return state / "world" / "maps"


def digest_of(data: bytes) -> str:
    """What a file is known by."""
    return blake2b(data, digest_size=16).hexdigest()


class Shelf:
    """The maps of the world in `state`.  Only changes write; they wait `wait_s` for others."""

    def __init__(self, state: Path, wait_s: float = TURN_S) -> None:
        self._wait_s = wait_s
        self.folder = maps_folder(state)
        self.path = self.folder / "ledger.json"

    def read(self) -> Ledger:
        """The ledger; an empty one if there is none.  `ConfigError` if it cannot be used."""
        try:
            return parse_ledger(self.path.read_bytes())
        except FileNotFoundError:
            return Ledger()
        except (OSError, ConfigError) as error:
            raise ConfigError(f"{self.path}: {error}; remove it to begin with the installation's map") from error

    def load(self, entry: Entry) -> Ranges:
        """The map of a change; `ConfigError` if its file is gone or damaged."""
        path = self._file(entry.digest)
        try:
            data = path.read_bytes()
            if digest_of(data) != entry.digest:
                raise ConfigError("damaged (wrong digest)")
            return decode(data)
        except (OSError, ConfigError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{path}: {reason}") from error

    def current(self) -> tuple[Entry | None, Ranges]:
        """The map in use and its entry: the installation's own (no entry) as long as no other was chosen."""
        entry = self.read().current
        return entry, self.load(entry) if entry else addresses.load()

    def install(self, ranges: Ranges, entry: Entry) -> Entry:
        """Put a map into use; the entry as it stands in the ledger, no new one if just that map is in use already."""
        data = encode(ranges)
        with self._turn():
            ledger = self.read()
            ledger = ledger if ledger.entries else self._first(entry)
            wanted = msgspec.structs.replace(entry, digest=digest_of(data), source=ranges.source)
            current = ledger.current
            same = current and (current.digest, current.database_digest) == (wanted.digest, wanted.database_digest)
            self._write(self._file(wanted.digest), data)
            return self._commit(ledger if same else add_entry(ledger, wanted))

    def roll_back(self, to: int | None, entry: Entry) -> Entry:
        """Go back to the map of change `to`, or to the one before; `entry` says who, when and why."""
        with self._turn():
            ledger = self.read()
            found = choose_rollback(ledger, to)
            self.load(found)
            reason = f"back to {found.number}" + (f": {entry.why}" if entry.why else "")
            back = msgspec.structs.replace(found, at=entry.at, who=entry.who, why=reason, how="rolled back")
            return self._commit(add_entry(ledger, back))

    def _first(self, entry: Entry) -> Ledger:
        """A ledger that begins with the map that came with the installation, if there is one."""
        try:
            ranges = addresses.load()
        except ConfigError:
            return Ledger()
        data = encode(ranges)
        found = Entry(
            number=0, digest=digest_of(data), source=ranges.source, at=entry.at, who="installation", how="found"
        )
        self._write(self._file(found.digest), data)
        return add_entry(Ledger(), found)

    def _commit(self, ledger: Ledger) -> Entry:
        """The one step that counts, then the sweeping."""
        self._write(self.path, render_ledger(ledger))
        wanted = {f"{digest}.bin" for digest in kept_digests(ledger)}
        for path in self.folder.iterdir():
            if path.suffix in (".bin", ".part") and path.name not in wanted:
                path.unlink(missing_ok=True)
        assert ledger.current is not None
        return ledger.current

    def _file(self, digest: str) -> Path:
        return self.folder / f"{digest}.bin"

    def _write(self, path: Path, data: bytes) -> None:
        """A file, whole and on the disk, or none."""
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        return self.alone("lock", self._wait_s)

    @contextlib.contextmanager
    def alone(self, name: str, wait_s: float) -> Generator[None]:
        """Be the only holder of a lock; `ConfigError` if others are for `wait_s`, or nothing can be written."""
        deadline = time.monotonic() + wait_s
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.folder / name).open("w") as lock:
                while not _locked(lock):
                    if time.monotonic() > deadline:
                        raise ConfigError(f"{self.folder}: somebody else is changing the map right now")
                    time.sleep(STEP_S)
                yield
        except OSError as error:
            raise ConfigError(f"{self.folder}: {error.strerror}") from error


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
