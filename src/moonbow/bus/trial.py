"""Tries what a bus user may do, on a real connection: whether it gets in at all, and which subjects are refused.

For audits.  Refusals stand in the server's log as any other's would.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from .connection import AbruptTransport

TRY_S = 5.0
READ_S, READ_TURNS = 0.2, 20  # for a complaint that has come to be told


class Trial(NamedTuple):
    """What came of it: `entered`, and which of the subjects tried were refused.  `said` tells why not entered."""

    entered: bool
    said: str
    denied: frozenset[str] = frozenset()

    @property
    def refused(self) -> bool:
        """Whether the server knew the certificate and would not have it; not that it could not be reached."""
        return not self.entered and "authorization" in self.said.lower()


async def try_user(
    url: str, files: tuple[Path, Path, Path], inbox: str, publish: Sequence[str] = (), subscribe: Sequence[str] = ()
) -> Trial:
    """Connect as the user of a certificate (`policy.user_files`), and try to say and to hear these subjects."""
    authority, certificate, key = files
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate, key)
    client, complaints = Client(), list[str]()

    async def complain(error: Exception) -> None:
        complaints.append(str(error))

    try:
        async with asyncio.timeout(TRY_S):
            client._transport = AbruptTransport()  # type: ignore[no-untyped-call]
            await client.connect(
                servers=[url], tls=context, tls_handshake_first=True, allow_reconnect=False, max_reconnect_attempts=1,
                reconnect_time_wait=0, connect_timeout=2,
                inbox_prefix=inbox, error_cb=complain, name="audit",
            )  # fmt: skip
            denied = [subject for subject in subscribe if await _refused(client, complaints, subject, hear=True)]
            denied += [subject for subject in publish if await _refused(client, complaints, subject, hear=False)]
        return Trial(True, "entered", frozenset(denied))
    except (TimeoutError, NatsError, OSError) as error:
        return Trial(False, "; ".join(complaints) or str(error) or type(error).__name__)
    finally:
        await _leave(client)


async def _refused(client: Client, complaints: list[str], subject: str, hear: bool) -> bool:
    """Whether the server refuses it: its complaint comes before the answer to the ping of `flush`, and is read then."""
    complaints.clear()
    if hear:
        await client.subscribe(subject, cb=_ignore)
    else:
        await client.publish(subject, b"audit")
    await client.flush(timeout=1)
    for _ in range(READ_TURNS):
        if any("permissions violation" in complaint.lower() for complaint in complaints):
            return True
        await asyncio.sleep(READ_S / READ_TURNS)
    return False


async def _ignore(_message: Msg) -> None:
    """Heard by mistake; the trial counts as not refused."""


async def _leave(client: Client) -> None:
    try:
        async with asyncio.timeout(1):
            await client.close()
    except (TimeoutError, NatsError, OSError):
        return
