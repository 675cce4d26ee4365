"""A virus scanner that is a command: it reads a file on its standard input and says by its exit code what it found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from moonbow.base.errors import Unavailable

CLEAN, INFECTED = 0, 1  # as clamscan and clamdscan say it


class Command:
    """`ports.Scanner`: anything but a clear answer within `timeout_s` is no answer."""

    def __init__(self, words: Sequence[str], timeout_s: float) -> None:
        self.words, self.timeout_s = tuple(words), timeout_s

    async def infected(self, content: AsyncIterator[bytes]) -> bool:
        try:
            code = await self._run(content)
        except (OSError, TimeoutError) as error:
            raise Unavailable("scan_failed", f"{self.words[0]} did not answer: {error!r}") from error
        if code not in (CLEAN, INFECTED):
            raise Unavailable("scan_failed", f"{self.words[0]} ended with {code}")
        return code == INFECTED

    async def _run(self, content: AsyncIterator[bytes]) -> int:
        nowhere = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *self.words, stdin=asyncio.subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        assert process.stdin is not None
        try:
            async with asyncio.timeout(self.timeout_s):
                with suppress(BrokenPipeError, ConnectionResetError):  # it may know before it has read everything
                    async for some in content:
                        process.stdin.write(some)
                        await process.stdin.drain()
                process.stdin.close()
                return await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
