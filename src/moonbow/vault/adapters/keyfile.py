"""A region's key in a file of this machine: `ports.RegionKey` until a KMS takes its place.

`region.key` (mode 0600) holds the current key and the retired ones, JSON.  Several processes share it: a change is made
under a lock and replaces the file at once, and whoever wraps or meets an unknown key reads it again.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from moonbow.base.errors import ConfigError, Unavailable
from moonbow.base.files import write_private
from moonbow.base.ids import new_id

from .. import model
from ..model import RegionKeyInfo


class _Key(msgspec.Struct, frozen=True):
    secret: str  # hex
    made_at: float
    retired_at: float | None = None

    def __repr__(self) -> str:
        return f"_Key(made_at={self.made_at})"


class _File(msgspec.Struct, frozen=True):
    current: str
    keys: dict[str, _Key]


class RegionKeyFile:
    """The key of `region` in the file at `path`, which is made if it is missing.  `ConfigError` if it is damaged."""

    def __init__(self, path: Path, region: str, now: Callable[[], float] = time.time) -> None:
        self._path, self._region, self._now = path, region, now
        self._thread_lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            if not path.exists():
                self._write(_File("", {}), self._fresh())
        self._file = self._read()

    def current(self) -> str:
        """The id of the key that wraps now."""
        self._file = self._read()
        return self._file.current

    def wrap(self, owner: str, key: bytes) -> tuple[str, bytes]:
        """Wrap with the current key, as the file says it now."""
        current = self.current()
        return current, model.wrap(self._secret(current), os.urandom(model.NONCE_BYTES), owner, key)

    def unwrap(self, key_id: str, owner: str, wrapped: bytes) -> bytes:
        """Unwrap with any key of the file."""
        if key_id not in self._file.keys:
            self._file = self._read()
        return model.unwrap(self._secret(key_id), owner, wrapped)

    def rotate(self) -> str:
        """Make a new key, and retire the one in use."""
        with self._alone():
            self._file = self._write(self._read(), self._fresh())
        return self._file.current

    def infos(self) -> Sequence[RegionKeyInfo]:
        """The keys of the file, the oldest first."""
        self._file = self._read()
        found = [RegionKeyInfo(ident, key.made_at, key.retired_at) for ident, key in self._file.keys.items()]
        return sorted(found, key=lambda info: (info.made_at, info.key))

    def drop(self, key_ids: Sequence[str]) -> None:
        """Delete keys, never the current one."""
        with self._alone():
            file = self._read()
            kept = {ident: key for ident, key in file.keys.items() if ident == file.current or ident not in key_ids}
            self._file = self._store(_File(file.current, kept))

    def _secret(self, key_id: str) -> bytes:
        found = self._file.keys.get(key_id)
        if found is None:
            raise Unavailable("key_unavailable", f"{self._path.name} has no key {key_id}", region=self._region)
        return bytes.fromhex(found.secret)

    def _fresh(self) -> _Key:
        return _Key(os.urandom(model.KEY_BYTES).hex(), self._now())

    def _write(self, file: _File, key: _Key) -> _File:
        keys = {
            ident: msgspec.structs.replace(old, retired_at=old.retired_at or self._now())
            for ident, old in file.keys.items()
        }
        ident = new_id("key", self._region)
        return self._store(_File(ident, {**keys, ident: key}))

    def _store(self, file: _File) -> _File:
        write_private(self._path, msgspec.json.format(msgspec.json.encode(file), indent=2), durable=True)
        return file

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except OSError as error:
            raise Unavailable("key_unavailable", f"{self._path.name} cannot be read", region=self._region) from error
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self._path}: not a region's key of ours: {error}") from error

    @contextmanager
    def _alone(self) -> Generator[None]:
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with self._thread_lock:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
        finally:
            os.close(descriptor)
