"""What SeaweedFS has written is put on the disk soon after."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moonbow.data.flush import Flusher


def test_what_has_changed_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "volumes"
    flusher = Flusher(folder)
    assert flusher.flush() == 0, "SeaweedFS has not begun"
    folder.mkdir()
    for name in ("objects_1.dat", "objects_1.idx", "vol_dir.uuid"):
        (folder / name).write_bytes(b"x")
    assert flusher.flush() == 2
    assert sorted(synced) == ["objects_1.dat", "objects_1.idx", "volumes"]
    assert flusher.flush() == 0
    with (folder / "objects_1.dat").open("ab") as file:
        file.write(b"y")
    assert flusher.flush() == 1
    assert synced[3:] == ["objects_1.dat", "volumes"]
    (folder / "objects_1.dat").unlink()
    (folder / "objects_2.dat").symlink_to(tmp_path / "gone")
    assert flusher.flush() == 0


def test_a_disk_that_refuses_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objects_1.dat").write_bytes(b"x")
    flusher = Flusher(tmp_path)

    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                flusher.flush()
    assert flusher.flush() == 1
