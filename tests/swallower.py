"""A way to a database that loses an answer when it is told to: the request arrived and was done, and nobody knows."""

from __future__ import annotations

import contextlib
import socket
import threading


class Swallower:
    """A TCP relay at the address of the real server, on a port of its own, that counts what goes through.

    `lose("answer", 3)`: the third answer from now on is not passed on, and both sides are cut; "request" likewise.
    """

    def __init__(self, address: str, port: int) -> None:
        self.seen = {"request": 0, "answer": 0}
        self.lost = 0
        self._lose: tuple[str, int] | None = None
        self._to = (address, port)
        self._server = socket.create_server((address, 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def lose(self, what: str, number: int) -> None:
        self._lose = (what, self.seen[what] + number)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(self._to)
            for source, sink, what in ((client, server, "request"), (server, client, "answer")):
                threading.Thread(target=self._pump, args=(source, sink, what), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, what: str) -> None:
        with source:
            with contextlib.suppress(OSError):
                while data := source.recv(65_536):
                    self.seen[what] += 1
                    if self._lose == (what, self.seen[what]):
                        self.lost += 1
                        break
                    sink.sendall(data)
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
