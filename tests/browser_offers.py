"""Files as people offer them to a page: pasted, dropped, and pictures worth looking at."""

from __future__ import annotations

import base64
import io
import math

from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Locator

BOW = ("#cdaaf0", "#a3b1f7", "#8fcdee", "#9bdcb2", "#efe0a0", "#f0bd92", "#f2a3b3")
_MAKE = """const data = new DataTransfer();
for (const [name, type, text] of files) {
  data.items.add(new File([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))], name, { type }));
}"""
_PASTE = f"""(element, files) => {{ {_MAKE}
  element.dispatchEvent(new ClipboardEvent('paste', {{ clipboardData: data, bubbles: true, cancelable: true }})); }}"""
_DRAG = f"""(element, [files, event]) => {{ {_MAKE}
  element.dispatchEvent(new DragEvent(event, {{ dataTransfer: data, bubbles: true, cancelable: true }})); }}"""

Offer = tuple[str, str, bytes]  # name, type, content


def _plain(files: tuple[Offer, ...]) -> list[list[str]]:
    return [[name, kind, base64.b64encode(content).decode()] for name, kind, content in files]


def paste(target: Locator, *files: Offer) -> None:
    target.evaluate(_PASTE, _plain(files))


def hover(target: Locator, *files: Offer) -> None:
    target.evaluate(_DRAG, [_plain(files), "dragenter"])


def drop(target: Locator, *files: Offer) -> None:
    target.evaluate(_DRAG, [_plain(files), "drop"])


def moonbow(width: int, height: int, seed: int = 0, kind: str = "PNG") -> bytes:
    """A pale bow over dark hills; `seed` moves the hills and the bow."""
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    for y in range(height):
        deep = y / height
        draw.line([(0, y), (width, y)], fill=(int(10 + 34 * deep), int(15 + 40 * deep), int(42 + 62 * deep)))
    for star in range(60):
        x, y = (star * 7919 + seed * 31) % width, (star * 104_729 + seed * 17) % (height * 2 // 3)
        draw.point((x, y), fill=(200, 206, 235))
    light = Image.new("RGB", (width, height))
    arcs = ImageDraw.Draw(light)
    middle, radius, band = width * (0.35 + 0.1 * (seed % 4)), width * 0.46, max(2, width // 70)
    for ring, colour in enumerate(BOW):
        r = radius + ring * band
        box = (middle - r, height * 0.95 - r, middle + r, height * 0.95 + r)
        arcs.arc(box, 180, 360, fill=colour, width=band + 1)
    light = light.filter(ImageFilter.GaussianBlur(max(1, width // 160)))
    picture = Image.blend(picture, Image.composite(light, picture, light.convert("L")), 0.7)
    draw = ImageDraw.Draw(picture)
    for hill, shade in enumerate(((20, 27, 60), (12, 17, 40))):
        line = [
            (x, height * (0.72 + 0.12 * hill) + height * 0.07 * math.sin(x / width * (5 + hill * 3) + seed + hill))
            for x in range(0, width + 8, 8)
        ]
        draw.polygon([(0, height), *line, (width, height)], fill=shade)
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()
