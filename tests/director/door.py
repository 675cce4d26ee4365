"""A door for tests, as a process of its own: TLS with the world's certificate, `GET /healthz` says what a file says.

`python door.py PKI ADDRESS PORT SAYS`: the file SAYS holds "<status> <body>"; a file that is missing means "200 ok".
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path


def words(says: Path) -> str:
    return says.read_text() if says.exists() else "200 ok"


async def serve(pki: Path, address: str, port: int, says: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "door.crt", pki / "door.key")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                status, _, body = words(says).partition(" ")
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, address, port, ssl=context)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
