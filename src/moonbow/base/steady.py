"""Loops that go on although something they need was away for a moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from .errors import Unavailable

AGAIN_S = 0.2
log = logging.getLogger(__name__)


async def steadily(work: Callable[[], Awaitable[None]]) -> None:
    """Run an endless loop, and begin it anew after `Unavailable`, `AGAIN_S` later; other errors pass."""
    while True:
        try:
            await work()
        except Unavailable as error:
            log.warning("a loop begins anew", extra={"f": {"error": str(error)[:200]}})
            await asyncio.sleep(AGAIN_S)
