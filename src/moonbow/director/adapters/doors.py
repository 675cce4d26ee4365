"""Asks a door over TLS whether it serves: `GET /healthz` on a connection that is kept between probes.

A kept connection costs one small exchange per probe, and its end is noticed at once, before the next probe is due.
All doors are asked at the same beat.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from moonbow.base.clock import to_next_beat
from moonbow.base.line import BadAnswer, Line

CONFIRM_S = 0.05  # a refused door is asked again after this, before it is believed
STALL_S = 0.15  # a timeout that fires this much late says that we were slow, not the door
STALLS_MAX = 3

Report = Callable[[bool, str], None]


class Target(NamedTuple):
    """One door, the name that its certificate must carry, and the address of ours that asks (any if None)."""

    address: str
    port: int
    name: str
    source: str | None = None


class Probing(NamedTuple):
    """How often doors are asked, and how long they may take.  A hung door is down after interval + 2 timeouts."""

    interval_s: float = 0.25
    timeout_s: float = 0.35


class Trust:
    """The TLS context that verifies doors, made from the world's CA when it is first there and when it changes."""

    def __init__(self, ca: Path) -> None:
        self._ca = ca
        self._made_from = 0
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The context to dial with; OSError or `ssl.SSLError` when there is none yet."""
        changed = self._ca.stat().st_mtime_ns
        if self._context is None or changed != self._made_from:
            context = ssl.create_default_context(cafile=str(self._ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._context, self._made_from = context, changed
        return self._context


class Probe:
    """One door, asked over and over."""

    def __init__(self, target: Target, trust: Trust, probing: Probing, report: Report) -> None:
        self._target = target
        self._trust = trust
        self._probing = probing
        self._report = report
        self._request = f"GET /healthz HTTP/1.1\r\nhost: {target.name}\r\nuser-agent: moonbow-director\r\n\r\n".encode()
        self._line: Line | None = None

    async def run(self, delay_s: float = 0.0) -> None:
        """Probe until cancelled, first after `delay_s`."""
        await asyncio.sleep(delay_s)
        stalls = 0
        passed = True
        try:
            while True:
                passed_before = passed
                passed, why, stalled = await self._ask()
                stalls = stalls + 1 if stalled else 0
                if stalled and stalls <= STALLS_MAX:
                    continue
                self._report(passed, why)
                beat_s = to_next_beat(self._probing.interval_s, asyncio.get_running_loop().time())
                await self._rest(beat_s if passed or not passed_before else CONFIRM_S)
        finally:
            self._drop()

    async def _rest(self, for_s: float) -> None:
        """Wait for the next probe, but not once the kept connection ends."""
        if self._line is None:
            await asyncio.sleep(for_s)
            return
        try:
            async with asyncio.timeout(for_s):
                await self._line.lost.wait()
        except TimeoutError:
            pass

    async def _ask(self) -> tuple[bool, str, bool]:
        """(passed, why, whether we were too slow ourselves to judge)."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._probing.timeout_s):
                line = self._line = await self._connect()
                status, body = await line.ask(self._request)
        except TimeoutError:
            self._drop()
            late = loop.time() - started - self._probing.timeout_s
            return False, f"no answer within {self._probing.timeout_s * 1000:.0f} ms", late > STALL_S
        except ssl.SSLCertVerificationError as error:
            return False, f"shows a wrong certificate: {error.verify_message}", False
        except (OSError, BadAnswer) as error:
            self._drop()
            return False, _words(error), False
        if status == 200:
            return True, "answers", False
        return False, f"says {status} {said(body)}".rstrip(), False

    async def _connect(self) -> Line:
        if self._line is not None and not self._line.lost.is_set():
            return self._line
        self._line = None
        host, port, name, source = self._target
        local = (source, 0) if source is not None else None
        made = asyncio.get_running_loop().create_connection(
            Line, host, port, ssl=self._trust.context(), server_hostname=name, local_addr=local
        )
        _, line = await made
        return line

    def _drop(self) -> None:
        if self._line is not None:
            self._line.abort()
            self._line = None


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections"
    if isinstance(error, ConnectionError):
        return "closed the connection"
    if isinstance(error, BadAnswer):
        return "does not speak HTTP"
    if isinstance(error, FileNotFoundError):
        return "the world's CA certificate is missing"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


class _Problem(msgspec.Struct):
    code: str = ""
    title: str = ""


def said(body: bytes) -> str:
    """What an answer says, in a few printable words: the code or title of a problem (RFC 9457), else its beginning."""
    text = body.decode("ascii", "replace")
    with contextlib.suppress(msgspec.MsgspecError):
        problem = msgspec.json.decode(body, type=_Problem)
        text = problem.code or problem.title
    return "".join(letter for letter in text.strip()[:60] if letter.isprintable())
