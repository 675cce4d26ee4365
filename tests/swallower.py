"""A way to a database that loses an answer when it is told to: the request arrived and was done, and nobody knows."""

from __future__ import annotations

import contextlib
import socket
import threading


class Swallower:
    """A TCP relay at the address of the real server, on a port of its own.

    `lose = "answer"`: the next request goes through, and when its answer comes both sides are cut.
    `lose = "request"`: the next request is not passed on; both sides are cut.
    """

    def __init__(self, address: str, port: int) -> None:
        self.lose = ""
        self.lost = 0
        self._to = (address, port)
        self._server = socket.create_server((address, 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

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
            for source, sink, from_client in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, from_client), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        with source:
            with contextlib.suppress(OSError):
                while data := source.recv(65_536):
                    if self.lose == ("request" if from_client else "answer"):
                        self.lose = ""
                        self.lost += 1
                        break
                    sink.sendall(data)
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
