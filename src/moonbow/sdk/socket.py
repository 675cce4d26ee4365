"""One WebSocket to one door: dials an address, speaks TLS to the world's name, and passes whole frames on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport
from picows import ws_connect as ws_connect  # pyright: ignore[reportUnknownVariableType]  # untyped **kwargs

from moonbow.base.errors import Unavailable
from moonbow.wire.stream import PROTOCOL, ClientFrame
from moonbow.wire.values import Door

from .model import Incoming
from .rest import Rest

DIAL_S = 1.5  # TCP, TLS and the upgrade together
NO_CODE, GONE = 1005, 1006  # a close frame without a code; no close frame (RFC 6455, section 7.4.1)
SERVER_FRAME_BYTES_MAX = 4 * 1_048_576

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Incoming).decode

OnFrame = Callable[[Incoming], None]
OnClosed = Callable[[int, str], None]


class Socket(WSListener):
    """An open stream.  `on_closed(code, reason)` is called once; 1006 when there was no close frame."""

    def __init__(self, on_frame: OnFrame, on_closed: OnClosed) -> None:
        self.on_frame, self.on_closed = on_frame, on_closed
        self.transport: WSTransport | None = None
        self.closing = False
        self._told = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            try:
                event = _decode(frame.get_payload_as_bytes())
            except msgspec.ValidationError:
                return  # an event of a later version of the protocol
            self.on_frame(event)
        elif frame.msg_type is WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE
            if not self.closing:
                transport.send_close(frame.get_close_code())
            self._end(transport)
            self._tell(code, payload[2:].decode(errors="replace"))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport, self.closing = None, True
        self._tell(GONE, "")

    def send(self, frame: ClientFrame) -> None:
        """One frame; silently nothing once the socket is going, `on_closed` tells."""
        if self.transport is not None and not self.closing and not self.transport.underlying_transport.is_closing():
            self.transport.send(WSMsgType.TEXT, _encode(frame))

    def close(self, rude: bool = False) -> None:
        """End it: `rude` without asking the other side."""
        if self.transport is None:
            return
        if not rude and not self.closing:
            self.transport.send_close()
        self._end(self.transport, rude)

    def _end(self, transport: WSTransport, rude: bool = False) -> None:
        self.closing = True
        transport.disconnect(graceful=not rude)

    def _tell(self, code: int, reason: str) -> None:
        if not self._told:
            self._told = True
            self.on_closed(code, reason)

    async def wait_closed(self, within_s: float) -> None:
        """Wait until it is gone, and drop it if that takes too long."""
        if (transport := self.transport) is None:
            return
        try:
            async with asyncio.timeout(within_s):
                await transport.wait_disconnected()
        except (TimeoutError, WSError):
            transport.disconnect(graceful=False)


class DialRefused(Unavailable):
    """The door answered the upgrade with an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__("door_refused", f"the door answered {status}")
        self.status = status


async def dial(door: Door, rest: Rest, token: str, on_frame: OnFrame, on_closed: OnClosed) -> Socket:
    """An open socket at `door`, under the name, trust and agent of `rest`.

    `Unavailable` within `DIAL_S`, `DialRefused` when the door answers an HTTP status."""
    socket = Socket(on_frame, on_closed)
    headers = {
        "Host": f"{rest.domain}:{door.port}",
        "Authorization": f"Bearer {token}",
        "Sec-WebSocket-Protocol": PROTOCOL,
        "User-Agent": rest.agent,
    }
    try:
        async with asyncio.timeout(DIAL_S):
            await ws_connect(
                lambda: socket,
                f"wss://{door.address}:{door.port}/v1/stream",
                ssl_context=rest.tls,
                server_hostname=rest.domain,
                local_addr=None if rest.source is None else (rest.source, 0),
                extra_headers=headers,
                max_redirects=0,
                max_frame_size=SERVER_FRAME_BYTES_MAX,
                websocket_handshake_timeout=DIAL_S,
            )
    except WSHandshakeError as error:
        status = int(error.response.status) if error.response is not None else 0
        raise DialRefused(status) from error
    except (OSError, TimeoutError, WSError) as error:
        raise Unavailable("door_unreachable", f"{door.site} at {door.address}:{door.port}: {error!r}") from error
    return socket
