"""Files that are whole or absent: written beside and renamed, readable by their owner only; when they changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LOG_BYTES_MAX = 10_000_000  # of one file; one older file is kept beside it


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by `content` at once, mode 0600.  A reader sees the old file or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


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
