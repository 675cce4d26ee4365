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


def command_line(folder: Path) -> list[str]:
    """The words a process was started with; none if it is gone."""
    try:
        return (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def parent(folder: Path) -> Path | None:
    """The process that started this one, if it lives."""
    try:
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return None
    number = next((line.split()[1] for line in lines if line.startswith("PPid:")), "0")
    return PROC / number if number != "0" else None


def describe(folder: Path) -> str:
    """A process by name and number."""
    try:
        return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
    except OSError:
        return f"pid {folder.name}"
