"""Files that are whole or absent: written beside and renamed, readable by their owner only; when they changed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

LOG_BYTES_MAX = 10_000_000  # of one file; one older file is kept beside it


def write_private(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace `path` by `content` at once, mode 0600.  A reader sees the old file or the new one, never a part.

    `durable`: it outlives a loss of power from when this returns: for what nothing else can bring back.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
        if durable:
            _sync_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on its disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_file(path: Path) -> None:
    """Make an empty file for its owner only, unless there is one.

    One that stands is not opened: closing it again would give up every lock that this process holds on it (fcntl(2)),
    and SQLite's locks are of that kind.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only."""
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        path.mkdir(mode=0o700, exist_ok=True)


def changed_s(path: Path) -> float:
    """When a file was last written, Unix time; 0 if there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def bound_log(path: Path, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Keep a log that children append to within `bytes_max`: move its content to `<name>.1`; whether it did.

    The file itself stays, since its writers hold it open; what they write during the copy may be lost.
    """
    try:
        if path.stat().st_size <= bytes_max:
            return False
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
    except OSError:  # a full disk: the log must not stop the supervisor
        return False
    return True
