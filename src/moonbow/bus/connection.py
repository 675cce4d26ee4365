"""One connection to the bus in one account: it never gives up, and it says when live messages may have been lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any
from urllib.parse import ParseResult, urlsplit

from nats.aio.client import Client, Server
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, OutboundBufferLimitError, SlowConsumerError

from moonbow.base.errors import Broken, Unavailable

from .metrics import Metrics

log = logging.getLogger("moonbow.bus")

Handler = Callable[[str, bytes], Awaitable[None] | None]

CONNECT_S = 2  # one attempt
FIRST_CONNECT_S = 10.0  # all attempts of the first connection together
RECONNECT_WAIT_S = 0.1
PING_S = 1  # two unanswered ones end the connection: a hung server is noticed in about 3 s
PENDING_MESSAGES_MAX = 65_536  # heard and not yet handled, of one subscription
PENDING_BYTES_MAX = 32 * 1_048_576
HOME_PROBE_S = 3.0  # while connected to a sister's server: how often we look whether our own is back
HOME_PROBES = 2
OUT_BYTES_MAX = 2 * 1_048_576  # kept while reconnecting; beyond it messages are dropped and counted
TROUBLE_GATHER_S = 0.1  # drops come in bursts: one report for all of this time, at its end


class AbruptTransport(TcpTransport):
    """TLS that ends at once: closing aborts, or a server that hangs would keep us half a minute for its goodbye."""

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        assert self._io_writer is not None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=buffer_size)
        protocol = asyncio.StreamReaderProtocol(reader)
        protocol._over_ssl = True  # type: ignore[attr-defined]  # else the event loop warns at every end of file
        host = uri if isinstance(uri, str) else uri.hostname
        transport = await asyncio.wait_for(
            loop.start_tls(self._io_writer.transport, protocol, ssl_context, server_hostname=host), connect_timeout
        )
        assert transport is not None
        self._io_reader, self._io_writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def close(self) -> None:
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def wait_closed(self) -> None:
        if self._io_writer is not None:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(self._io_writer.wait_closed(), 1.0)

    def __bool__(self) -> bool:
        return True  # so that the client keeps this transport instead of making its own


class Connection:
    """A connection as the bus user of one account.  Without `echo` it does not hear what it says itself."""

    def __init__(self, account: str, metrics: Metrics, trouble: Callable[[str], None], echo: bool = True) -> None:
        self.account, self._metrics, self._trouble, self._echo = account, metrics, trouble, echo
        self._client = Client()
        self._gathering: asyncio.TimerHandle | None = None
        self._listening: list[tuple[str, Callable[[Msg], Awaitable[None]], str]] = []
        self._shared: list[Subscription] = []  # with other members of a queue group
        self._redialling: asyncio.Task[None] | None = None
        self._homing: asyncio.Task[None] | None = None
        self._homeward = False
        self._closing = False
        self._dial: Callable[[Client], Awaitable[None]] | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as the last ping knew."""
        return bool(self._client.is_connected)

    async def open(self, urls: tuple[str, ...], files: tuple[Path, Path, Path], name: str, region: str) -> None:
        """Connect, the first of `urls` preferred; `Unavailable` if none answers within FIRST_CONNECT_S."""
        authority, certificate, key = files
        context = ssl.create_default_context(cafile=str(authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)

        async def dial(client: Client) -> None:
            client._transport = AbruptTransport()  # type: ignore[no-untyped-call]
            await client.connect(
                servers=list(urls), name=name, tls=context, tls_handshake_first=True, dont_randomize=True,
                max_reconnect_attempts=-1, reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
                connect_timeout=CONNECT_S, ping_interval=PING_S, max_outstanding_pings=2,
                pending_size=OUT_BYTES_MAX, inbox_prefix=f"_INBOX.{region}",
                no_echo=not self._echo,
                reconnect_to_server_handler=self._choose,
                error_cb=self._on_error, reconnected_cb=self._on_reconnected, closed_cb=self._on_closed,
            )  # fmt: skip

        self._dial = dial
        self._home, self._context = urlsplit(urls[0]), context
        try:
            await asyncio.wait_for(dial(self._client), FIRST_CONNECT_S)
            self._homing = asyncio.create_task(self._go_home())
        except (TimeoutError, NatsError, OSError) as error:
            await self.close()
            raise Unavailable("bus_down", f"no bus server answers: {type(error).__name__}") from error

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send and forget.  Dropped and counted while there is no connection and no room to keep it."""
        try:
            await self._client.publish(subject, payload, reply=reply)
        except MaxPayloadError as error:
            raise Broken(f"{len(payload)} bytes are more than the bus carries") from error
        except (OutboundBufferLimitError, NatsError):
            self._metrics.errors.labels(self.account, "dropped").inc()
            return
        self._metrics.messages.labels(self.account, "sent").inc()

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """The answer's bytes; `NatsError` (no responders, timeout) otherwise."""
        self._metrics.messages.labels(self.account, "sent").inc()
        try:
            message = await asyncio.wait_for(self._client.request(subject, payload, timeout=timeout_s), timeout_s + 0.1)
        except MaxPayloadError as error:
            raise Broken(f"{len(payload)} bytes are more than the bus carries") from error
        return bytes(message.data)

    async def listen(self, subject: str, handler: Handler, queue: str = "") -> None:
        """Call `handler(subject, payload)` for every message, one after the other."""

        async def heard(message: Msg) -> None:
            result = handler(message.subject, message.data)
            if isawaitable(result):
                await result

        await self.listen_raw(subject, heard, queue)

    async def listen_raw(self, subject: str, handler: Callable[[Msg], Awaitable[None]], queue: str = "") -> None:
        """As `listen`, with the message itself.  Returns when the server has taken the subscription."""

        async def heard(message: Msg) -> None:
            self._metrics.messages.labels(self.account, "heard").inc()
            try:
                await handler(message)
            except Exception:
                self._metrics.errors.labels(self.account, "handler").inc()
                log.exception("handler_failed", extra={"f": {"listens_to": subject}})

        self._listening.append((subject, heard, queue))
        await self._subscribe(subject, heard, queue)
        with contextlib.suppress(NatsError, TimeoutError):  # replayed by the next reconnect
            await self._client.flush(timeout=CONNECT_S)

    async def withdraw(self) -> None:
        """Leave every queue group; returns when what had come for it has been handled.  The caller sets the time."""
        self._listening = [found for found in self._listening if not found[2]]
        shared, self._shared = self._shared, []
        with contextlib.suppress(NatsError):  # no connection: nothing comes
            await asyncio.gather(*(subscription.drain() for subscription in shared))  # type: ignore[no-untyped-call]

    async def _subscribe(self, subject: str, handler: Callable[[Msg], Awaitable[None]], queue: str) -> None:
        subscription = await self._client.subscribe(
            subject, queue=queue, cb=handler,
            pending_msgs_limit=PENDING_MESSAGES_MAX, pending_bytes_limit=PENDING_BYTES_MAX,
        )  # fmt: skip
        if queue:
            self._shared.append(subscription)

    async def close(self) -> None:
        """Send what is waiting, then close."""
        self._closing = True
        if self._gathering is not None:
            self._gathering.cancel()
        for task in (self._redialling, self._homing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(NatsError, TimeoutError, OSError):
            if self.connected:
                await self._client.flush(timeout=1)
        with contextlib.suppress(NatsError, TimeoutError, OSError):
            await asyncio.wait_for(self._client.close(), 2.0)

    def _choose(self, servers: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
        """The server to try next: the one that failed least; of equal ones the first, which is our own site's."""
        best = min(
            servers,
            key=lambda server: (0 if self._homeward else server.reconnects, server.uri.netloc != self._home.netloc),
        )
        self._homeward = False
        return best, RECONNECT_WAIT_S if best.reconnects else 0.0

    async def _go_home(self) -> None:
        """Leave a sister's server when our own site's has been well twice in a row."""
        well = 0
        while True:
            await asyncio.sleep(HOME_PROBE_S)
            url = self._client.connected_url
            away = self.connected and url is not None and url.netloc != self._home.netloc
            well = well + 1 if away and await self._is_well() else 0
            if well >= HOME_PROBES:
                well, self._homeward = 0, True
                await self._client.force_reconnect()

    async def _is_well(self) -> bool:
        """Whether our own site's server shakes hands: one that hangs still accepts connections."""
        dial = asyncio.open_connection(self._home.hostname, self._home.port, ssl=self._context)
        try:
            _, writer = await asyncio.wait_for(dial, 1.0)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True

    async def _on_error(self, error: Exception) -> None:
        """Counts; a log line per drop would be a flood.  Called by nats-py for every fault it meets."""
        self._metrics.errors.labels(self.account, type(error).__name__).inc()
        if isinstance(error, SlowConsumerError) and self._gathering is None and not self._closing:
            self._gathering = asyncio.get_running_loop().call_later(TROUBLE_GATHER_S, self._dropped)

    def _dropped(self) -> None:
        self._gathering = None
        self._trouble(f"slow consumer in {self.account}")

    async def _on_reconnected(self) -> None:
        self._metrics.reconnects.labels(self.account).inc()
        self._trouble(f"reconnected in {self.account}")

    async def _on_closed(self) -> None:
        """A server's error line makes nats-py close for good; we begin again with a new client."""
        if not self._closing and (self._redialling is None or self._redialling.done()):
            self._redialling = asyncio.create_task(self._redial())

    async def _redial(self) -> None:
        assert self._dial is not None
        await asyncio.sleep(RECONNECT_WAIT_S)
        self._client, self._shared = Client(), []
        await self._dial(self._client)
        for subject, handler, queue in self._listening:
            await self._subscribe(subject, handler, queue)
        await self._on_reconnected()
