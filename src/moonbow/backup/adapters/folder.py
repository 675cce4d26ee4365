"""Objects in a folder, a file each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from moonbow.base.errors import Broken
from moonbow.base.files import make_private

from ..ports import Found

READ_BYTES = 262_144


class FolderObjects:
    """`ports.Objects` on a folder, which need not exist: then it is empty."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> Iterator[Found]:
        """Every file below, by its path, in the order of names; what is still being written (`.…`, `…#…`) is not."""
        for path in sorted(self.root.rglob("*")):
            if path.name.startswith(".") or "#" in path.name or not path.is_file():
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            mark = f"{stat.st_mtime_ns}.{stat.st_size}.{stat.st_ino}"
            yield Found(path.relative_to(self.root).as_posix(), stat.st_size, mark)

    def read(self, name: str) -> Iterator[bytes]:
        """The content in pieces."""
        with self._path(name).open("rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece

    def write(self, name: str, content: Iterable[bytes]) -> None:
        """Write an object, synced."""
        path = self._path(name)
        make_private(path.parent)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())

    def _path(self, name: str) -> Path:
        path = self.root / name
        if name.startswith("/") or ".." in path.parts:
            raise Broken(f"{name!r} is no name of an object")
        return path
