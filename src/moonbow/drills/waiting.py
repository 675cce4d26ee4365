"""Waiting for something that has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP_S = 0.05


async def until(check: Callable[[], bool], within_s: float) -> bool:
    """Whether `check` became true in time; it is asked every `STEP_S`."""
    for _ in range(max(1, int(within_s / STEP_S))):
        if check():
            return True
        await asyncio.sleep(STEP_S)
    return check()
