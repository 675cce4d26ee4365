"""Asks a process whether it is well."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import dns.message
import dns.rdatatype
import msgspec

from moonbow.base.line import Line

from .control import connect_with_short_name
from .policy import PROBE_S, Health, Probe


class Prober:
    """Asks one process over and over, over HTTP on a connection that is kept between probes."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._line: Line | None = None
        self._trust: ssl.SSLContext | None = None

    async def ask(self, within_s: float = PROBE_S) -> Health:
        """The answer of the process; `silent` if none comes in time."""
        try:
            async with asyncio.timeout(within_s):
                match self._probe.kind:
                    case "http":
                        return await self._ask_http()
                    case "dns":
                        return await _ask_dns(self._probe)
                    case "unix":
                        return await _ask_line(self._probe)
        except (OSError, ValueError):  # refused, reset, timed out (TimeoutError is an OSError), not HTTP
            self.close()
            return "silent"

    async def _ask_http(self) -> Health:
        host, port = self._probe.host, self._probe.port
        if self._line is None or self._line.lost.is_set():
            if self._probe.keys is not None and self._trust is None:
                self._trust = _context(*self._probe.keys)
            self._line = await _connect(host, port, self._trust, host if self._trust else None)
        status, _ = await self._line.ask(_request(host, port, self._probe.path))
        return "ready" if status == 200 else "alive"

    def close(self) -> None:
        """Give the connection back."""
        if self._line is not None:
            self._line.abort()
            self._line = None


async def get(
    host: str, port: int, path: str, trust: ssl.SSLContext | None = None, name: str | None = None
) -> tuple[int, bytes]:
    """Status and body of one HTTP GET, over TLS to `name` if there is a `trust`; the caller sets the time.

    OSError or ValueError if it fails.
    """
    line = await _connect(host, port, trust, name)
    try:
        return await line.ask(_request(name or host, port, path))
    finally:
        line.abort()


async def _connect(host: str, port: int, trust: ssl.SSLContext | None = None, name: str | None = None) -> Line:
    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(Line, host, port, ssl=trust, server_hostname=name)
    return line


def _context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    return context


def _request(host: str, port: int, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()


async def _ask_dns(probe: Probe) -> Health:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((probe.host, probe.port))
        query = dns.message.make_query(probe.path, dns.rdatatype.A)
        await loop.sock_sendall(client, query.to_wire())
        answer = await loop.sock_recv(client, 4_096)
    return "ready" if answer[:2] == query.id.to_bytes(2) else "alive"


async def _ask_line(probe: Probe) -> Health:
    with socket.socket(socket.AF_UNIX) as client:
        connect_with_short_name(probe.path, client)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, msgspec.json.encode({"op": "show"}) + b"\n")
        return "ready" if await loop.sock_recv(client, 4_096) else "silent"
