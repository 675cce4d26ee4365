"""Asks a process whether it is well."""

from __future__ import annotations

import asyncio
import socket
import ssl

import dns.message
import dns.rdatatype
import msgspec

from .control import connect_with_short_name
from .policy import PROBE_S, Health, Probe

ANSWER_BYTES_MAX = 262_144


async def ask_health(probe: Probe, within_s: float = PROBE_S) -> Health:
    """The answer of the process behind `probe`; `silent` if none comes in time."""
    try:
        async with asyncio.timeout(within_s):
            match probe.kind:
                case "http":
                    status, _ = await get(probe.host, probe.port, probe.path)
                    return "ready" if status == 200 else "alive"
                case "dns":
                    return await _ask_dns(probe)
                case "unix":
                    return await _ask_line(probe)
    except (OSError, ValueError, EOFError):  # refused, reset, timed out (TimeoutError is an OSError), not HTTP
        return "silent"


async def get(
    host: str, port: int, path: str, trust: ssl.SSLContext | None = None, name: str | None = None
) -> tuple[int, bytes]:
    """Status and body of one HTTP GET, over TLS to `name` if there is a `trust`; the caller sets the time.

    OSError, EOFError or ValueError if it fails.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=trust, server_hostname=name)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {name or host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = int((await reader.readline()).split(b" ", 2)[1])
        length = None
        while (line := await reader.readline()) not in (b"\r\n", b""):
            field, _, value = line.partition(b":")
            if field.strip().lower() == b"content-length":
                length = int(value)
        size = ANSWER_BYTES_MAX if length is None else min(length, ANSWER_BYTES_MAX)
        body = await reader.readexactly(size) if length is not None else await reader.read(size)
        return status, body
    except IndexError:
        raise EOFError("the connection was closed before an answer") from None
    finally:
        writer.close()


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
