"""Asks a director over DNS which doors a place on earth should use, as a resolver near that place would.

One UDP question with EDNS client subnet (RFC 7871), an answer kept 250 ms.  A name server that does not answer is
passed over for the next one, which is asked first from then on; while nobody answers the last good answer is used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Sequence

import dns.edns
import dns.exception
import dns.message
import dns.rdatatype

from .links import Address

ASK_S = 0.4
TRIES_MAX = 3
KEEP_S = 0.25


def question(name: str, network: str) -> dns.message.Message:
    """A question for the A records of `name` on behalf of a client in `network`."""
    subnet = ipaddress.ip_network(network)
    option = dns.edns.ECSOption(str(subnet.network_address), subnet.prefixlen)
    return dns.message.make_query(name, dns.rdatatype.A, use_edns=0, options=[option], id=secrets.randbelow(65_536))


def addresses_in(answer: bytes, asked: dns.message.Message) -> tuple[str, ...]:
    """The addresses in `answer`, in its order; empty if it is not an answer to `asked`."""
    try:
        message = dns.message.from_wire(answer)
    except dns.exception.DNSException:
        return ()
    if not asked.is_response(message):
        return ()
    return tuple(record.address for rrset in message.answer if rrset.rdtype == dns.rdatatype.A for record in rrset)


class Resolver:
    """What one place on earth believes its nearest doors are, by the first of `directors` that answers."""

    def __init__(self, directors: Sequence[Address], name: str, network: str, port: int) -> None:
        self.directors = tuple(directors)
        self.name = name
        self.network = network
        self.port = port
        self._doors: tuple[Address, ...] = ()
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def doors(self) -> tuple[Address, ...]:
        """Doors in a director's order, at most 250 ms old while one answers; the last known ones while none does."""
        if time.monotonic() - self._asked_at > KEEP_S:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            await asyncio.shield(self._asking)
        return self._doors

    async def _ask(self) -> None:
        try:
            for director in self.directors[:TRIES_MAX]:
                if found := await self._ask_one(director):
                    self._doors = found
                    break
                self.directors = (*self.directors[1:], director)
        finally:
            self._asked_at = time.monotonic()
            self._asking = None

    async def _ask_one(self, director: Address) -> tuple[Address, ...]:
        """What one director says; nothing if it is down, slow, or has no answer."""
        asked = question(self.name, self.network)
        try:
            answer = await _exchange(director, asked.to_wire())
        except OSError:
            return ()
        return tuple((address, self.port) for address in addresses_in(answer, asked))


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.answer.cancel()


async def _exchange(server: Address, payload: bytes) -> bytes:
    """The answer of a UDP `server` to `payload`; OSError (TimeoutError among them) if there is none in time."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Exchange, remote_addr=server)
    try:
        transport.sendto(payload)
        async with asyncio.timeout(ASK_S):
            return await protocol.answer
    finally:
        transport.close()
