"""Files that are whole or absent, and that outlive a loss of power where nothing else can bring them back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from moonbow.base.files import write_private
from moonbow.directory.keys import KeyRing
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.adapters.signfile import SigningKeyFile

Synced = list[tuple[str, list[str]]]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    """What was put on the disk, in order: `file` or `folder`, and the names that stood in the folder then."""
    seen: Synced = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        sync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        names = sorted(found.name for found in (path if folder else path.parent).iterdir())
        seen.append(("folder" if folder else "file", [name for name in names if not name.endswith(".lock")]))

    monkeypatch.setattr(os, "fsync", watch)
    return seen


def test_a_durable_file_is_on_the_disk_before_its_name_and_its_name_before_the_answer(
    tmp_path: Path, synced: Synced
) -> None:
    write_private(tmp_path / "quick", b"x")
    assert synced == []
    write_private(tmp_path / "key", b"secret", durable=True)
    assert synced == [("file", [f".key.{os.getpid()}", "quick"]), ("folder", ["key", "quick"])]
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_keys_are_durable_before_anything_is_wrapped_or_signed_by_them(tmp_path: Path, synced: Synced) -> None:
    file = RegionKeyFile(tmp_path / "region.key", "emea")
    assert [kind for kind, _ in synced] == ["file", "folder"]
    file.rotate()
    assert [kind for kind, _ in synced] == ["file", "folder"] * 2
    SigningKeyFile(tmp_path / "receipt.key", "emea")
    assert [kind for kind, _ in synced] == ["file", "folder"] * 3
    KeyRing("emea", tmp_path / "ring").open(1.0)
    assert [kind for kind, _ in synced] == ["file", "folder"] * 5, "the region's secret, and its first key"
