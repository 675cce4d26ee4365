"""A server that speaks MongoDB's wire protocol, for the tests of this session; or the one that the operator names.

`MOONBOW_MONGODB` may hold the connection string of a real replica set: the same tests then run against that.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pymongo import MongoClient

from support import eventually, free_port


@contextmanager
def mongo_server(folder: Path) -> Iterator[str]:
    """The address of a replica set, `mongodb://host:port/{}?…`, with a place for the name of a database."""
    if given := os.environ.get("MOONBOW_MONGODB"):
        yield given
        return
    port = free_port()
    program = [str(Path(sys.executable).with_name("secantusd-py")), "--host", "127.0.0.1", "--port", str(port)]
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
        eventually(lambda: answers(port), within_s=20)
        yield f"mongodb://127.0.0.1:{port}/{{}}?replicaSet=secantus"
    finally:
        server.terminate()
        server.wait(10)


def answers(port: int) -> bool:
    """Whether a primary answers there."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            return False
    with MongoClient[dict[str, object]](f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
        return bool(client.admin.command("hello").get("isWritablePrimary"))
