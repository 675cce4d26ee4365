"""One launcher per state folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from moonbow.base.errors import ConfigError


@contextmanager
def only_launcher(state: Path) -> Generator[None, None, None]:
    """Hold `state/launch.lock` while the block runs; `ConfigError` naming the process that holds it already.

    The file is removed at the end, so whoever gets the lock makes sure that the file is still the one in the folder.
    """
    path = state / "launch.lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise ConfigError(
                f"{state}: a world runs in this folder already (pid {holder or 'unknown'}); "
                f"`moonbow down --state {state}` stops it, another --state keeps them apart"
            ) from None
        if _is_in_place(descriptor, path):
            break
        os.close(descriptor)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_in_place(descriptor: int, path: Path) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
