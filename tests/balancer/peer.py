"""A gateway as a door sees one: `peer.py HOST NUMBER NAME`, REST on 7100 + NUMBER and a WebSocket on 7200 + NUMBER.

Every answer says who gave it and what arrived.  `/healthz` and the reported load follow `PUT /control/<what>/<value>`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import sys

HOST, NUMBER, NAME = sys.argv[1], int(sys.argv[2]), sys.argv[3]
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
control = {"health": "200", "load": "", "answer": "200", "elsewhere": ""}


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, list[str]]] | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, path, _ = head[0].split(" ", 2)
    headers: dict[str, list[str]] = {}
    for line in head[1:-2]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    return method, path, headers


async def read_body(reader: asyncio.StreamReader, headers: dict[str, list[str]]) -> bytes:
    if "transfer-encoding" in headers:
        body = b""
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
        return body
    return await reader.readexactly(int(headers.get("content-length", ["0"])[0]))


def respond(status: str, body: bytes, **more: str) -> bytes:
    fields = {"content-length": str(len(body)), "moonbow-site": NAME, **more}
    if control["load"]:
        fields["endpoint-load-metrics"] = f"TEXT application_utilization={control['load']},rps_fractional=100,eps=0"
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


async def serve_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while request := await read_head(reader):
            method, path, headers = request
            body = await read_body(reader, headers)
            if path == "/healthz":
                writer.write(respond(control["health"], b"ok"))
            elif path.startswith("/control/"):
                _, _, what, value = path.split("/")
                control[what] = value
                writer.write(respond("200", b"{}"))
            else:
                seen = {"name": NAME, "method": method, "path": path, "headers": headers, "bytes": len(body)}
                more = {"moonbow_try_elsewhere": "1"} if control["elsewhere"] else {}
                writer.write(respond(control["answer"], json.dumps(seen).encode(), **more))
            await writer.drain()
    writer.close()


async def serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the handshake, says in one text frame what arrived, then echoes short frames."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        request = await read_head(reader)
        if request is None:
            return
        _, path, headers = request
        key = headers["sec-websocket-key"][0].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        more = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept}
        head = respond("101", b"", sec_websocket_protocol="moonbow.v1", **more)
        writer.write(head.replace(b"content-length: 0\r\n", b""))
        writer.write(frame(json.dumps({"name": NAME, "path": path, "headers": headers}).encode()))
        while True:
            first, second = await reader.readexactly(2)
            mask = await reader.readexactly(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(second & 127)))
            if first & 15 == 8:
                break
            writer.write(frame(NAME.encode() + b":" + data))
    writer.close()


def frame(text: bytes) -> bytes:
    size = bytes([len(text)]) if len(text) < 126 else b"\x7e" + len(text).to_bytes(2, "big")
    return b"\x81" + size + text


async def main() -> None:
    rest = await asyncio.start_server(serve_rest, HOST, 7100 + NUMBER)
    stream = await asyncio.start_server(serve_stream, HOST, 7200 + NUMBER)
    async with rest, stream:
        await asyncio.Event().wait()


asyncio.run(main())
