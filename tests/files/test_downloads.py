"""Downloads: how many at once, and that what ends a right to read ends them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.files.downloads import Downloads
from moonbow.files.model import Span
from moonbow.timeline import transactions

from .room import Place, person, play

ADA, BEN, EVE = person(1), person(2), person(3)


async def pieces() -> AsyncGenerator[bytes]:
    yield b"a"
    yield b"b"


def test_downloads_are_counted_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOWNLOADS_PERSON_MAX", 2)
    monkeypatch.setattr(limits, "DOWNLOADS_MAX", 3)

    async def scenario() -> None:
        downloads = Downloads()
        running = [downloads.counted(reader, pieces()) for reader in (ADA, ADA, BEN)]
        assert [await anext(one) for one in running] == [b"a"] * 3
        for reader in (ADA, EVE):
            with pytest.raises(Refused, match="downloads_too_many") as caught:
                await anext(downloads.counted(reader, pieces()))
            assert (caught.value.status, caught.value.retry_after_s) == (429, 2.0)
        await running[0].aclose()
        assert [some async for some in downloads.counted(EVE, pieces())] == [b"a", b"b"]
        assert [some async for some in downloads.counted(ADA, pieces())] == [b"a", b"b"]

    asyncio.run(scenario())


@pytest.mark.parametrize("way", ["redaction", "deletion"])
def test_a_download_that_is_under_way_ends_with_the_right_to_it(tmp_path: Path, way: str) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        file, room = await emea.upload(ADA, os.urandom(1_000_000)), await emea.room(ADA, BEN)
        said = await emea.say(ADA, room, file.id)
        content = await emea.files.open(BEN, file.id)
        running = content.read(Span(0, file.size))
        await anext(running)
        if way == "redaction":
            await emea.side.store.write(transactions.redact, ADA, room, said.entry or "")
        else:
            await emea.files.delete(ADA, file.id)
        with pytest.raises(Refused, match="file_unknown"):
            await anext(running)

    play(tmp_path, scenario)
