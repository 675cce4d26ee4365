"""Makes small pictures of pictures.  Run as `python -m moonbow.files.pictures small|square` in a process of its own.

What is decoded was made by strangers: the process has little memory, little time, no files and no network to lose, and
nothing but pixels comes out of it.  In: the picture, on standard input.  Out: one line of JSON (`Made`), then a WebP.
Exit code 3: this is no picture that is taken.
"""

from __future__ import annotations

import asyncio
import io
import resource
import sys
from contextlib import suppress
from typing import Literal

import msgspec

from moonbow.base.errors import Unavailable

PIXELS_MAX = 50_000_000
BYTES_MAX = 32 * 1_048_576
MEMORY_BYTES_MAX = 1_536 * 1_048_576
CPU_S_MAX = 10
WALL_S_MAX = 20.0
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP")
SMALL_PX, SQUARE_PX = 320, 256
NO_PICTURE = 3
Shape = Literal["small", "square"]


class Made(msgspec.Struct, frozen=True):
    """The size of the picture as it is meant to be looked at, in pixels."""

    width: int
    height: int


async def make(content: bytes, shape: Shape) -> tuple[Made, bytes] | None:
    """The size of a picture and a small WebP of it, without anything but its pixels; None if it is none.

    `small` fits 320 x 320, `square` is cut to 256 x 256.  `Unavailable` (`busy`) when no process can be started.
    """
    if len(content) > BYTES_MAX:
        return None
    process = await _start(shape)
    try:
        async with asyncio.timeout(WALL_S_MAX):
            said, _ = await process.communicate(content)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        return None
    line, _, small = said.partition(b"\n")
    return msgspec.json.decode(line, type=Made), small


async def _start(shape: Shape) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", __name__, shape,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable("busy", f"no picture can be made now: {type(error).__name__}") from error


def render(content: bytes, shape: Shape) -> tuple[Made, bytes]:
    """What `make` gives; any exception if it is no picture that is taken."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = PIXELS_MAX
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > PIXELS_MAX:
            raise ValueError("too many pixels")
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # 90 degrees, either way
        made = Made(image.height, image.width) if turned else Made(image.width, image.height)
        side = SMALL_PX if shape == "small" else SQUARE_PX
        image.draft("RGB", (2 * side, 2 * side))  # a JPEG is then decoded at a fraction of its size
        upright = ImageOps.exif_transpose(image)
        plain = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    if shape == "square":
        plain = ImageOps.fit(plain, (SQUARE_PX, SQUARE_PX), Image.Resampling.LANCZOS)
    else:
        plain.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.LANCZOS)
    fresh = Image.new(plain.mode, plain.size)  # nothing of the old picture's metadata comes along
    fresh.paste(plain)
    out = io.BytesIO()
    fresh.save(out, "WEBP", quality=80, method=4)
    return made, out.getvalue()


def main(shape: Shape) -> int:
    """Read, render, write; limits first."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        made, small = render(sys.stdin.buffer.read(BYTES_MAX + 1), shape)
    except Exception:  # whatever a decoder makes of a hostile picture
        return NO_PICTURE
    sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n" + small)
    return 0


if __name__ == "__main__":
    raise SystemExit(main("square" if sys.argv[1:] == ["square"] else "small"))
