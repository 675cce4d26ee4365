"""People's pictures: how many are made at once, and of what."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from moonbow.base.errors import Refused, Unavailable
from moonbow.files import avatars
from moonbow.files.avatars import NONE, AvatarAsk, Picture
from moonbow.files.model import Avatar

from .room import Place, person, play

ADA, YUI = person(1), person(4, "apac")


def png(color: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 20), color).save(out, "PNG")
    return out.getvalue()


def test_only_some_pictures_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avatars, "MADE_AT_ONCE", 1)
    monkeypatch.setattr(avatars, "MADE_WAITING_MAX", 1)

    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        file = await emea.upload(ADA, png())
        asked = [emea.files.avatars.set(ADA, file.id) for _ in range(6)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(one, str) for one in found) == 2
        assert [one.code for one in found if isinstance(one, Unavailable)] == ["busy"] * 4
        tag = await emea.files.avatars.set(ADA, file.id)
        assert (await emea.files.avatars.picture(ADA)).tag == tag
        assert len([path for path in emea.resting() if "avatars" in path.parts]) == 1

    play(tmp_path, scenario)


def test_what_is_no_picture_or_not_whole_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        text = await emea.upload(ADA, b"words")
        part = await emea.files.uploads.create(ADA, "a.png", 100, None)
        monkeypatch.setattr(avatars.pictures.sys, "executable", "/nowhere")
        for file in (text, part):
            with pytest.raises(Refused, match="not_a_picture"):
                await emea.files.avatars.set(ADA, file.id)

    play(tmp_path, scenario)


def test_another_region_sees_the_pictures_of_its_peoples_colleagues(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea, apac = places["emea"], places["apac"]
        tag = await emea.files.avatars.set(ADA, (await emea.upload(ADA, png())).id)
        ask = msgspec.msgpack.encode(AvatarAsk(ADA))

        async def asked(region: str) -> Picture:
            return msgspec.msgpack.decode(await emea.files.serve(region, avatars.AVATAR_OP, ask), type=Picture)

        assert await asked("apac") == NONE

        async def colleagues(region: str, whom: str) -> bool:
            return (region, whom) == ("apac", ADA)

        emea.files.avatars.show_to(colleagues)
        assert (await asked("apac")).tag == tag == (await apac.files.avatars.picture(ADA)).tag
        assert await asked("na") == NONE

    play(tmp_path, scenario, "emea", "apac")


@pytest.mark.parametrize("tag", ["é" * 16, '"x', "0" * 15, "0" * 17, "ABCDEF0123456789"])
def test_a_tag_that_is_none_is_no_picture(tmp_path: Path, tag: str) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]

        class Lies:
            async def request(self, _region: str, _op: str, _payload: bytes, _timeout_s: float = 1.0) -> bytes:
                return msgspec.msgpack.encode(Picture(tag, b"x"))

        emea.files.avatars.bus = Lies()  # type: ignore[assignment]
        with pytest.raises(Refused, match="avatar_unknown"):
            await emea.files.avatars.picture(YUI)

    play(tmp_path, scenario)


def test_a_picture_set_twice_as_nobody_knew_of_the_first_time_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        catalogue = emea.files.shelf.catalogue
        once = catalogue.set_avatar

        async def twice(who: str, avatar: Avatar | None) -> Avatar | None:
            await once(who, avatar)
            return await once(who, avatar)

        monkeypatch.setattr(catalogue, "set_avatar", twice)
        tag = await emea.files.avatars.set(ADA, (await emea.upload(ADA, png())).id)
        assert (await emea.files.avatars.picture(ADA)).tag == tag

    play(tmp_path, scenario)
