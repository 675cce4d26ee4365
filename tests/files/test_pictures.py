"""Small pictures of strangers' pictures: right side up, without their secrets, and nothing hostile gets far."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib

import pytest
from PIL import Image

from moonbow.files import pictures
from moonbow.files.pictures import Made, make

ORIENTATION, GPS = 0x0112, 0x8825


def small(content: bytes, shape: pictures.Shape = "small") -> tuple[Made, Image.Image] | None:
    made = asyncio.run(make(content, shape))
    return None if made is None else (made[0], Image.open(io.BytesIO(made[1])))


def saved(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def test_a_photo_stands_upright_and_tells_nobody_where_it_was_taken() -> None:
    photo = Image.new("RGB", (800, 400), "red")
    photo.paste("blue", (0, 0, 400, 400))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was turned: left is up
    exif[0x010F] = "canary camera"
    content = saved(photo, "JPEG", exif=exif, comment=b"canary comment")
    assert b"canary" in content
    found = small(content)
    assert found is not None
    made, image = found
    assert (made, image.size, image.format) == (Made(400, 800), (160, 320), "WEBP")
    assert not image.getexif()
    red, _, blue = image.convert("RGB").getpixel((80, 40))  # type: ignore[misc]
    assert blue > 200 > 60 > red
    raw = asyncio.run(make(content, "small"))
    assert raw is not None
    assert b"canary" not in raw[1]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF", "BMP", "JPEG"])
def test_every_kind_that_is_taken(kind: str) -> None:
    found = small(saved(Image.effect_noise((700, 350), 40), kind), "square")
    assert found is not None
    assert (found[0], found[1].size) == (Made(700, 350), (256, 256))


def test_what_is_see_through_stays_so() -> None:
    found = small(saved(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), "PNG"))
    assert found is not None
    assert found[1].mode == "RGBA"


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says, and is, that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    data = b"".join(packer.compress(row) for _ in range(min(height, 20_000))) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff" + bytes(100), bomb(200_000, 200_000), bomb(60_000, 1_000),
        saved(Image.new("RGB", (64, 64)), "PNG")[:-40], saved(Image.new("RGB", (64, 64)), "TIFF"),
        saved(Image.new("RGB", (64, 64)), "PDF"), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GIF89a" + bytes(50),
    ],
    ids=lambda content: f"{len(content)} bytes",
)  # fmt: skip
def test_what_is_no_picture_or_too_much_of_one_is_none(content: bytes) -> None:
    assert small(content) is None


def test_too_many_bytes_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "BYTES_MAX", 10)
    monkeypatch.setattr(pictures.sys, "executable", "/nowhere")
    assert small(bytes(11)) is None


def test_a_picture_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "WALL_S_MAX", 0.001)
    assert small(saved(Image.effect_noise((3000, 3000), 90), "PNG")) is None
