"""A server that speaks MongoDB's wire protocol, in a folder of its own; or the one that the operator names.  Tests use
it too.

`MOONBOW_MONGODB` may hold the connection string of a real replica set, with `{}` where the database's name belongs.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pymongo import MongoClient
from pymongo.errors import PyMongoError

HOST = "127.99.8.1"
READY_S = 30.0


class Server(NamedTuple):
    """Where it is, with a place for the name of a database, and its process id if it is ours."""

    address: str
    pid: int | None


@contextmanager
def mongo_server(folder: Path) -> Iterator[Server]:
    """A running one."""
    if given := os.environ.get("MOONBOW_MONGODB"):
        yield Server(given, None)
        return
    port = _free_port()
    program = [str(Path(sys.executable).with_name("secantusd-py")), "--host", HOST, "--port", str(port)]
    settings = [
        "--storage-path",
        str(folder / "mongo"),
        "--log-level",
        "ERROR",
        "--sync-on-commit",
        "--cache-size",
        "128M",
    ]
    with (folder / "mongo.log").open("ab") as log:
        server = subprocess.Popen([*program, *settings], stdout=log, stderr=log, process_group=0)
    try:
        until = time.monotonic() + READY_S
        while not _answers(port):
            if time.monotonic() > until or server.poll() is not None:
                raise TimeoutError(f"no server answers; see {folder}/mongo.log")
            time.sleep(0.1)
        yield Server(f"mongodb://{HOST}:{port}/{{}}?replicaSet=secantus", server.pid)
    finally:
        server.terminate()
        server.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    """Whether a primary answers there."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)):
            return False
    with (
        suppress(PyMongoError),
        MongoClient[dict[str, Any]](f"mongodb://{HOST}:{port}/?directConnection=true") as client,
    ):
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    return False
