"""The launcher, who keeps the operator's orders, asked over its control socket: one JSON object a line each way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from moonbow.base.errors import Refused

ASK_S = 5.0
LINE_BYTES_MAX = 1_048_576


class _Answer(msgspec.Struct):
    ok: bool
    problems: list[str] = []
    code: str = "order_invalid"
    status: int = 400
    place: str | None = None
    order: dict[str, Any] = {}


class Launcher:
    """`ask` gives what the launcher says to a request."""

    def __init__(self, state: Path) -> None:
        self._path = state / "control.sock"

    async def ask(self, op: str, request: dict[str, object]) -> dict[str, Any]:
        """The order given or taken back.

        `Refused` as the launcher refuses, or `launcher_unreachable` (503) if it does not answer.
        """
        try:
            async with asyncio.timeout(ASK_S):
                line = await self._converse(msgspec.json.encode({**request, "op": op}) + b"\n")
            answer = msgspec.json.decode(line, type=_Answer)
        except (OSError, ValueError, msgspec.MsgspecError) as error:  # TimeoutError is an OSError
            raise Refused("launcher_unreachable", f"the launcher does not answer: {error}", status=503) from error
        if not answer.ok:
            raise Refused(answer.code, "; ".join(answer.problems), status=answer.status, place=answer.place)
        return answer.order

    async def _converse(self, line: bytes) -> bytes:
        """One line there and one back.  Through the folder's descriptor, for a unix address holds 107 bytes only."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            name = f"/proc/self/fd/{folder}/{self._path.name}"
            reader, writer = await asyncio.open_unix_connection(name, limit=LINE_BYTES_MAX)
        finally:
            os.close(folder)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()
