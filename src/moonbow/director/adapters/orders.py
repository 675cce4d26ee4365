"""Orders over HTTP: read, given and taken back by whoever has the key that rests beside this director's record.

The key is a file for the owner of the world's folder only, so neither another user of the machine nor a page in a
browser can give orders.  The launcher keeps them; here they are read, judged, and handed on.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from moonbow.base.errors import Refused
from moonbow.base.files import write_private
from moonbow.base.http import Page
from moonbow.director.adapters.launcher import Launcher
from moonbow.director.orders import Order
from moonbow.director.pages import refusal
from moonbow.director.status import describe_order
from moonbow.wire.traffic import NewOrder, OrderGiven

Judge = Callable[[NewOrder], Awaitable[None]]  # `Refused` if the order would do harm

_decode = msgspec.json.Decoder(NewOrder).decode


class OrderBook:
    """`act` answers POST /orders and DELETE /orders/<id>."""

    def __init__(self, launcher: Launcher, folder: Path, judge: Judge) -> None:
        self._launcher = launcher
        self._judge = judge
        self._key = secrets.token_hex(32)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / "orders.key", self._key.encode())

    async def act(self, method: str, path: str, body: bytes, authorization: str) -> Page:
        """What became of an order: 201 given, 200 taken back; 400, 403, 404, 409 or 503 with the reason."""
        try:
            if not hmac.compare_digest(authorization.encode(), f"Bearer {self._key}".encode()):
                raise Refused("not_allowed", "orders want the key in sites/<site>/director/orders.key", status=403)
            if method == "POST" and path == "/orders":
                return Page(201, "application/json", msgspec.json.encode(await self._give(body)))
            if method == "DELETE" and path.startswith("/orders/"):
                answer = await self._ask("undo", {"id": path.removeprefix("/orders/")})
                return Page(200, "application/json", msgspec.json.encode(answer))
            raise Refused("not_found", "POST /orders, DELETE /orders/<id>", status=404)
        except Refused as refused:
            return Page(*refusal(refused))

    async def _give(self, body: bytes) -> OrderGiven:
        try:
            wanted = _decode(body)
        except msgspec.MsgspecError as error:
            words, _, place = str(error).partition(" - at `")
            raise Refused("order_invalid", words, place=place.rstrip("`") or "$") from error
        if not wanted.force:
            await self._judge(wanted)
        request = {name: value for name, value in msgspec.structs.asdict(wanted).items() if name != "force"}
        return await self._ask("order", request)

    async def _ask(self, op: str, request: dict[str, object]) -> OrderGiven:
        order = await self._launcher.ask(op, {**request, "wait": False})
        return OrderGiven(order=describe_order(Order(**order)))
