"""What a user would pick instead, measured by the same operations: ejabberd and Prosody, plain and over TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from ..model import Figure
from ..operations import Say, measure
from .servers import SERVERS, Server
from .subject import USERS, XmppSubject
from .xmpp import register


async def measure_peers(
    folder: Path, only: set[str], seconds: float, sayer: Callable[[str], Say]
) -> dict[str, list[Figure]]:
    """Figures by name of all peers that are installed.  One that cannot be started is said and left out."""
    found: dict[str, list[Figure]] = {}
    for kind in SERVERS:
        say = sayer(kind.title)
        if not kind.installed():
            say("is not installed")
            continue
        server = await asyncio.to_thread(
            kind, folder, folder / "state" / "pki" / "door.crt", folder / "state" / "pki" / "door.key"
        )
        tls = ssl.create_default_context(cafile=str(folder / "state" / "pki" / "ca.crt"))
        for context, ending in ((None, "plain"), (tls, "TLS")):
            name = f"{kind.version()}\n{ending}"
            try:
                found[name] = await _measure(server, name, context, only, seconds, sayer(name.replace("\n", " ")))
            except (OSError, RuntimeError, TimeoutError) as error:
                say(f"{ending} failed: {error!r}")
            finally:
                await asyncio.to_thread(server.stop)
    return found


async def _measure(
    server: Server, name: str, tls: ssl.SSLContext | None, only: set[str], seconds: float, say: Say
) -> list[Figure]:
    await asyncio.to_thread(server.start)
    if tls is None:
        await register(USERS)
        say(f"runs, {USERS} people are registered")
    return await measure(XmppSubject(name, server, tls, filled=tls is not None), only, seconds, say)
