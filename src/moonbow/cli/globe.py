"""A small picture of the earth for the terminal: land as dots, sites as letters."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

WIDTH, HEIGHT = 76, 22
NORTH, SOUTH = 78.0, -56.0  # degrees of latitude shown

# Rough outlines as (longitude, latitude) in degrees: enough to know a continent by its shape.
LAND: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-168, 66), (-156, 71), (-125, 70), (-95, 72), (-82, 67), (-94, 59), (-80, 52), (-78, 62), (-65, 58), (-55, 52),
     (-66, 45), (-76, 36), (-81, 25), (-84, 30), (-97, 26), (-95, 18), (-87, 21), (-84, 10), (-78, 8), (-84, 8),
     (-105, 20), (-114, 31), (-124, 40), (-124, 48), (-150, 60), (-165, 60)),
    ((-78, 8), (-62, 11), (-50, 0), (-35, -6), (-39, -17), (-48, -26), (-57, -38), (-66, -46), (-70, -55), (-75, -50),
     (-71, -30), (-70, -18), (-81, -5)),
    ((-50, 61), (-22, 70), (-20, 78), (-60, 78), (-55, 70)),
    ((-10, 37), (-9, 43), (-1, 46), (-4, 48), (4, 52), (9, 57), (5, 61), (14, 68), (28, 71), (40, 67), (60, 69),
     (75, 73), (104, 77), (130, 72), (160, 70), (180, 68), (170, 60), (160, 60), (156, 52), (142, 58), (135, 44),
     (128, 36), (122, 40), (121, 30), (110, 20), (106, 10), (103, 1), (98, 10), (90, 22), (80, 8), (73, 20), (66, 25),
     (57, 26), (51, 30), (48, 30), (56, 24), (52, 16), (44, 12), (35, 28), (36, 36), (27, 37), (22, 38), (14, 45),
     (16, 39), (10, 44), (0, 40), (-5, 36)),
    ((-6, 35), (10, 37), (20, 32), (32, 31), (43, 11), (51, 11), (40, -5), (40, -16), (33, -28), (20, -35), (12, -18),
     (9, 4), (-8, 4), (-17, 14), (-16, 24)),
    ((114, -22), (130, -12), (137, -16), (142, -11), (153, -27), (150, -38), (140, -38), (131, -32), (116, -35)),
    ((-5, 50), (1, 52), (-3, 58), (-6, 56)),
    ((131, 31), (140, 35), (145, 44), (140, 42), (136, 36)),
    ((95, 5), (106, -6), (115, -8), (104, -4)),
    ((109, 1), (118, 6), (117, -3), (111, -3)),
    ((132, -2), (150, -9), (139, -8)),
    ((44, -16), (50, -15), (46, -25)),
    ((167, -46), (174, -36), (178, -38), (171, -44)),
)  # fmt: skip


def draw_globe(sites: Sequence[tuple[float, float, str, str]]) -> Text:
    """The earth with `sites`, each (latitude, longitude, one letter, style)."""
    rows = [[("·", "grey50") if _is_land(*_place(x, y)) else (" ", "") for x in range(WIDTH)] for y in range(HEIGHT)]
    for latitude, longitude, letter, style in sites:
        x, y = _cell(longitude, latitude)
        while rows[y][x][1] not in ("", "grey50") and x + 1 < WIDTH:  # two sites in one cell stand side by side
            x += 1
        rows[y][x] = (letter, style)
    text = Text(no_wrap=True)
    for row in rows:
        for letter, style in row:
            text.append(letter, style or None)
        text.append("\n")
    return text


def _place(x: int, y: int) -> tuple[float, float]:
    return -180 + 360 * (x + 0.5) / WIDTH, NORTH - (NORTH - SOUTH) * (y + 0.5) / HEIGHT


def _cell(longitude: float, latitude: float) -> tuple[int, int]:
    x = int((longitude + 180) / 360 * WIDTH)
    y = int((NORTH - latitude) / (NORTH - SOUTH) * HEIGHT)
    return min(max(x, 0), WIDTH - 1), min(max(y, 0), HEIGHT - 1)


def _is_land(longitude: float, latitude: float) -> bool:
    return any(_inside(longitude, latitude, outline) for outline in LAND)


def _inside(x: float, y: float, outline: Sequence[tuple[float, float]]) -> bool:
    """Even-odd rule."""
    found = False
    for (x1, y1), (x2, y2) in zip(outline, (*outline[1:], outline[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            found = not found
    return found
