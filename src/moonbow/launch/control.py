"""Requests to a running process over a unix socket: one JSON object a line each way.

An answer is `{"ok": true, …}`, or `{"ok": false, "problems": […]}` for what the operator can mend; with `code`,
`status` and `place` beside them where a program may want to know.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from moonbow.base.errors import ConfigError, Refused

LINE_BYTES_MAX = 1_048_576
CLIENTS_MAX = 64
ASK_S = 30.0

Answer = dict[str, object]
Handler = Callable[[dict[str, object]], Awaitable[Answer]]


@asynccontextmanager
async def serve_lines(path: Path, handler: Handler) -> AsyncGenerator[None, None]:
    """Serve `handler` at `path`, mode 0600, while the block runs; the file is gone afterwards."""
    listener = _bind(path)
    clients: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(clients) >= CLIENTS_MAX:
            writer.close()
            return
        task = asyncio.create_task(_converse(reader, writer, handler))
        clients.add(task)
        task.add_done_callback(clients.discard)

    server = await asyncio.start_unix_server(accept, sock=listener, limit=LINE_BYTES_MAX)
    try:
        yield
    finally:
        server.close()
        _remove(path)
        for task in tuple(clients):
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    try:
        while line := await reader.readline():
            writer.write(msgspec.json.encode(await _answer(line, handler)) + b"\n")
            await writer.drain()
    except (OSError, ValueError):  # the client left, or its line was longer than allowed
        pass
    finally:
        writer.close()


async def _answer(line: bytes, handler: Handler) -> Answer:
    try:
        return {"ok": True, **await handler(msgspec.json.decode(line, type=dict[str, object]))}
    except ConfigError as error:
        return {"ok": False, "problems": list(error.problems)}
    except Refused as refused:
        told = {"code": refused.code, "status": refused.status, "place": refused.place}
        return {"ok": False, "problems": [refused.detail], **told}
    except msgspec.DecodeError as error:
        return {"ok": False, "problems": [f"not a request: {error}"]}


def ask(path: Path, request: Answer, within_s: float = ASK_S) -> Answer:
    """The answer of the process at `path`.

    `ConfigError` if it refuses; FileNotFoundError or another OSError if nobody is there.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(within_s)
        connect_with_short_name(path, client)
        client.sendall(msgspec.json.encode(request) + b"\n")
        with client.makefile("rb") as lines:
            line = lines.readline()
    if not line:
        raise ConnectionResetError(f"{path}: no answer")
    answer = msgspec.json.decode(line, type=dict[str, object])
    if not answer.pop("ok"):
        problems = answer["problems"]
        assert isinstance(problems, list)
        raise ConfigError(*map(str, problems))
    return answer


def _bind(path: Path) -> socket.socket:
    _remove(path)
    listener = socket.socket(socket.AF_UNIX)
    _with_short_name(path, listener.bind)
    path.chmod(0o600)
    return listener


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def connect_with_short_name(path: Path | str, client: socket.socket) -> None:
    """Connect `client` to the unix socket at `path`, however long its name is; OSError if nobody is there."""
    _with_short_name(Path(path), client.connect)


def _with_short_name(path: Path, use: Callable[[str], object]) -> None:
    """Bind or connect through the folder's descriptor, because a unix address holds 107 bytes only."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        use(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
