"""What proc(5) says about the processes of this machine, as far as this user may look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def processes(uid: int | None = None) -> Iterator[Path]:
    """The folder of every process, or of every one that belongs to user `uid`."""
    for folder in PROC.iterdir():
        try:
            if folder.name.isdigit() and (uid is None or folder.stat().st_uid == uid):
                yield folder
        except OSError:  # it ended meanwhile
            continue


def open_files(folder: Path) -> Iterator[str]:
    """What a process holds open: paths, `socket:[…]`, `anon_inode:…`; nothing if we may not look."""
    try:
        links = list((folder / "fd").iterdir())
    except OSError:
        return
    for link in links:
        try:
            yield os.readlink(link)
        except OSError:  # closed meanwhile
            continue


def describe(folder: Path) -> str:
    """A process by name and number."""
    try:
        return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
    except OSError:
        return f"pid {folder.name}"
