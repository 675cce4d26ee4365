"""The sweeper's rounds: one file that fails holds up no other, and what is over is over before the sweeper comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moonbow.base.errors import Refused, Unavailable
from moonbow.files import pictures
from moonbow.files.model import File
from moonbow.files.uploads import LOOK_S

from .room import Place, person, play

ADA, BEN = person(1), person(2)


async def expiring(emea: Place, content: bytes, ends_s: int) -> File:
    file = await emea.files.uploads.create(ADA, "a.txt", len(content), ends_s)
    return await emea.send(file, content, 0, len(content))


def test_an_expired_file_is_read_and_posted_by_nobody(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        file, room = await expiring(emea, b"for a minute", 60), await emea.room(ADA, BEN)
        await emea.say(ADA, room, file.id)
        assert await emea.read(BEN, file.id) == b"for a minute"
        emea.now += 60
        for work in (emea.read(BEN, file.id), emea.read(ADA, file.id), emea.say(ADA, room, file.id)):
            with pytest.raises(Refused, match="file_unknown"):
                await work

    play(tmp_path, scenario)


class Fails:
    """A scanner with a fault of its own."""

    def __init__(self) -> None:
        self.looks = 0

    async def infected(self, content: AsyncIterator[bytes]) -> bool:
        self.looks += 1
        raise ValueError("a fault that nobody thought of")


def test_a_file_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    scanner = Fails()

    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        for _ in range(2):
            with pytest.raises(ValueError, match="nobody thought of"):
                await emea.upload(ADA, b"a")
        late = await emea.files.uploads.create(ADA, "late", 5, None)
        await emea.files.catalogue.put_off(late.id, 0, emea.now + LOOK_S + 1)  # due last of all
        emea.now += LOOK_S + 1
        assert await emea.files.sweep() == 1
        assert scanner.looks == 4
        with pytest.raises(Refused, match="file_unknown"):
            await emea.files.uploads.own(ADA, late.id)

    play(tmp_path, scenario, scanner=scanner)


def test_no_process_for_a_picture_is_a_reason_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures.sys, "executable", "/nowhere")
    with pytest.raises(Unavailable, match="busy"):
        asyncio.run(pictures.make(b"x", "small"))
