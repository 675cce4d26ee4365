"""A door for tests, as a process of its own: TLS with the world's certificate, `GET /healthz` says what a file says.

`python door.py PKI ADDRESS PORT SAYS`: the file SAYS holds "<status> <body>"; a file that is missing means "200 ok".
A file SAYS.<address> is for who asks from that address alone; the word "nothing" closes the connection instead.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path


def words(says: Path, asker: str) -> str:
    for path in (says.with_name(f"{says.name}.{asker}"), says):
        if path.exists():
            return path.read_text()
    return "200 ok"


async def serve(pki: Path, address: str, port: int, says: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "door.crt", pki / "door.key")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asker = writer.get_extra_info("peername")[0]
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                status, _, body = words(says, asker).partition(" ")
                if status == "nothing":
                    writer.transport.abort()
                    return
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, address, port, ssl=context)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
