"""Name servers for tests: answers served on a free port, in this process' threads or by workers, and how to ask them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from moonbow.director.answers import Answers
from moonbow.director.snapshot import Snapshot
from support import eventually

ZONE = "moonbow.localhost"
FRANCE, JAPAN, AFRICA = "194.2.0.0/24", "1.33.0.0/24", "196.10.52.0/24"
T = TypeVar("T")


class Served:
    """Answers running on an event loop in a thread of their own."""

    def __init__(self, state: Path, snapshot: Snapshot, addresses: list[str], port: int = 0, **options: Any) -> None:
        self.addresses = addresses
        self.state = state
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.answers = Answers(snapshot.world, state, addresses, port, snapshot, **options)
        self.answers.bind()
        self.wait(self.answers.open())

    @property
    def port(self) -> int:
        return self.answers.port

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def call(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return self.wait(run())

    def serve(self, snapshot: Snapshot) -> None:
        self.call(lambda: self.answers.serve(snapshot))

    def ask(self, message: dns.message.Message, over: Any = dns.query.udp, at: int = 0) -> dns.message.Message:
        return ask(message, self.addresses[at], self.port, over)

    def answer(self, net: str, name: str = ZONE, over: Any = dns.query.udp, at: int = 0) -> set[str]:
        return addresses_in(self.ask(query(name, net=net), over, at))

    def close(self) -> None:
        self.wait(self.answers.close())
        self.end()

    def end(self) -> None:
        """Leave without a word, as a director that is killed does: tasks and sockets vanish."""

        async def vanish() -> None:
            mine = asyncio.current_task()
            others = [task for task in asyncio.all_tasks() if task is not mine]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.wait(vanish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


def ask(message: dns.message.Message, address: str, port: int, over: Any = dns.query.udp) -> dns.message.Message:
    """The reply; TimeoutError (an OSError) if there is none within a second."""
    try:
        return over(message, address, port=port, timeout=1)
    except (dns.exception.Timeout, EOFError) as error:
        raise TimeoutError from error


@contextmanager
def served(state: Path, snapshot: Snapshot, addresses: list[str] | None = None, **options: Any) -> Iterator[Served]:
    running = Served(state, snapshot, addresses or ["127.0.0.1"], **options)
    try:
        if running.answers.pids or options.get("workers"):
            eventually(lambda: running.answer(FRANCE), within_s=15)
        yield running
    finally:
        running.close()


def query(name: str, kind: str = "A", net: str | None = None, **edns: Any) -> dns.message.Message:
    options = list(edns.pop("options", []))
    if net:
        network = ip_network(net)
        options.append(dns.edns.ECSOption(str(network.network_address), network.prefixlen))
    if options or edns:
        return dns.message.make_query(name, kind, use_edns=0, options=options, **edns)
    return dns.message.make_query(name, kind)


def addresses_in(message: dns.message.Message) -> set[str]:
    kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
    return {record.address for rrset in message.answer if rrset.rdtype in kinds for record in rrset}


def scope_in(message: dns.message.Message) -> int | None:
    return next((option.scopelen for option in message.options if isinstance(option, dns.edns.ECSOption)), None)


def free_udp_port() -> int:
    """A port that was free for UDP and TCP on loopback a moment ago."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
