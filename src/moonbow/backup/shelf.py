"""The folder in which a region's archives stand: `<id>/` each, `objects/` shared by all, `erased.json` beside them.

An archive is made beside (`.<id>.partial`) and renamed when everything in it has been synced: it is whole or absent.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import msgspec

from moonbow.base.errors import Broken, ConfigError
from moonbow.base.files import make_private, write_private

from .model import Archive, Checked, Manifest, Sealed, decode_manifest

MANIFEST, CHECKED, ERASED, BLOBS = "manifest.json", "checked.json", "erased.json", "objects"
ARCHIVES_MAX = 5_000
_ID = re.compile(r"\d{8}t\d{6}-(data|keys)")
_ids = msgspec.json.Decoder(list[str])


class Shelf:
    """One region's archives at the site that keeps them."""

    def __init__(self, state: Path, site: str, region: str) -> None:
        self.root = state / "sites" / site / "backups" / region
        self.blobs = self.root / BLOBS

    def prepare(self) -> None:
        """Make the folders, and clear away what an interrupted run has left."""
        make_private(self.blobs)
        for path in self.root.glob(".*.partial"):
            shutil.rmtree(path)
        for path in self.blobs.glob(".*.partial"):
            path.unlink()

    def archives(self) -> list[Archive]:
        """All that stand, oldest first; what is no archive is left out."""
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        wanted = [folder for folder in folders if _ID.fullmatch(folder.name)][-ARCHIVES_MAX:]
        return [found for folder in wanted if (found := _archive(folder)) is not None]

    def archive(self, ident: str) -> Archive:
        """The archive of that id; `ConfigError` naming those there are."""
        found = {archive.manifest.id: archive for archive in self.archives()}
        if ident not in found:
            known = ", ".join(found) or "none"
            raise ConfigError(f"there is no backup {ident!r} in {self.root}; there are: {known}")
        return found[ident]

    def file(self, ident: str, name: str) -> Path:
        """Where a payload of an archive lies."""
        return self.root / ident / f"{name}.sealed"

    @contextmanager
    def adding(self, ident: str) -> Generator[Path]:
        """A folder to fill.  It becomes the archive `ident` at the end of the block, or disappears with an error."""
        partial, whole = self.root / f".{ident}.partial", self.root / ident
        if whole.exists():
            raise ConfigError(f"{whole}: a backup of that second stands already; try again")
        partial.mkdir(mode=0o700)
        try:
            yield partial
            for path in (*partial.iterdir(), self.blobs):
                _sync(path)
            _sync(partial)
            partial.rename(whole)
            _sync(self.root)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def note_checked(self, ident: str, checked: Checked) -> None:
        """Write down what opening an archive has shown."""
        write_private(self.root / ident / CHECKED, msgspec.json.encode(checked))

    def remove(self, ident: str) -> None:
        """Remove an archive: first from the list, then from the disk."""
        going = self.root / f".{ident}.partial"
        (self.root / ident).rename(going)
        shutil.rmtree(going)

    def remove_blobs(self, wanted: Iterable[str]) -> int:
        """Remove the objects that no archive names any more; how many there were."""
        named = frozenset(wanted)
        surplus = [path for path in self.blobs.iterdir() if path.name not in named]
        for path in surplus:
            path.unlink()
        return len(surplus)

    def erased(self) -> list[str]:
        """Everybody known to have been erased, in order of their ids.  In clear: it must outlive every key."""
        try:
            return _ids.decode((self.root / ERASED).read_bytes())
        except FileNotFoundError:
            return []
        except msgspec.MsgspecError as error:
            raise Broken(f"{self.root / ERASED}: not a list of ids: {error}") from error

    def note_erased(self, people: Iterable[str]) -> bool:
        """Add people to that list, which only grows; whether any were new."""
        known = self.erased()
        wanted = sorted({*known, *people})
        if wanted == known:
            return False
        make_private(self.root)
        write_private(self.root / ERASED, msgspec.json.encode(wanted))
        return True


def write_manifest(folder: Path, manifest: Manifest, key: bytes) -> None:
    """Write the manifest of an archive, signed with its key."""
    content = msgspec.json.encode(manifest)
    write_private(folder / MANIFEST, msgspec.json.encode(Sealed(manifest=msgspec.Raw(content), mac=_mac(key, content))))


def genuine_manifest(folder: Path, key: bytes) -> Manifest:
    """The manifest of an archive; `Broken` if it is not what the holder of `key` wrote."""
    manifest, content, mac = decode_manifest((folder / MANIFEST).read_bytes(), str(folder))
    if manifest.key_id != key_id(key):
        raise ConfigError(f"{folder}: sealed with key {manifest.key_id}, and this one is {key_id(key)}")
    if not hmac.compare_digest(mac, _mac(key, content)) or manifest.id != folder.name:
        raise Broken(f"{folder}: the manifest was changed")
    return manifest


def key_id(key: bytes) -> str:
    """What a backup key is called."""
    return hashlib.sha256(b"moonbow backup key id\0" + key).hexdigest()[:8]


def _mac(key: bytes, content: bytes) -> str:
    return hmac.new(key, b"moonbow backup manifest\0" + content, hashlib.sha256).hexdigest()


def _archive(folder: Path) -> Archive | None:
    try:
        manifest, _, _ = decode_manifest((folder / MANIFEST).read_bytes(), str(folder))
        size = sum(path.stat().st_size for path in folder.iterdir())
    except (Broken, ConfigError, OSError):
        return None
    try:
        checked = msgspec.json.decode((folder / CHECKED).read_bytes(), type=Checked)
    except (OSError, msgspec.MsgspecError):
        checked = None
    return Archive(manifest, checked, size)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
