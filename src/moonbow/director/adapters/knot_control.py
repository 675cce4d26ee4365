"""Talk with a running knotd over its control socket (libknot's `control.h`, Knot DNS 3.2): commands in, blocks out.

A unit is a type byte (end 0, data 1, extra 2, block 3) and, for data, items: code 16 + number, length (u16, big
endian), text.  A command is one data unit and a block; its answer is data units, extra units, and a block.  knotd
serves one conversation at a time: ours are short, and nobody else can speak between our begin and our commit.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from moonbow.base.errors import Unavailable

END, DATA, EXTRA, BLOCK = range(4)
ITEMS = ("cmd", "flags", "error", "section", "item", "id", "zone", "owner", "ttl", "type", "data", "filter")
CODES = {name: 16 + number for number, name in enumerate(ITEMS)}
ANSWER_BYTES_MAX = 64 * 1_048_576
CHUNK_BYTES = 262_144

Unit = dict[str, str]
Command = dict[str, str]


class Rejected(Unavailable):
    """Knot understood a command and did not do it; `detail` is Knot's reason."""

    def __init__(self, detail: str) -> None:
        super().__init__("knot_refused", detail)


def encode_command(command: Command) -> bytes:
    """The bytes of one command; `ValueError` for an item that does not exist or is too long."""
    out = bytearray([DATA])
    for name, text in command.items():
        data = text.encode()
        if name not in CODES or len(data) > 0xFFFF or b"\0" in data:
            raise ValueError(f"no item of a command: {name}")
        out += struct.pack("!BH", CODES[name], len(data)) + data
    return bytes(out) + bytes([BLOCK])


class Decoder:
    """Bytes in as they come, whole answers out.  `ValueError` for what no knotd sends."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._units: list[Unit] = []
        self.ended = False

    def feed(self, data: bytes) -> list[list[Unit]]:
        """The answers that `data` completes, each as its units."""
        self._waiting += data
        found: list[list[Unit]] = []
        waiting, at = self._waiting, 0
        while at < len(waiting):
            code = waiting[at]
            if code >= 16:
                if len(waiting) - at < 3 or len(waiting) - at - 3 < (size := waiting[at + 1] << 8 | waiting[at + 2]):
                    break
                if code - 16 >= len(ITEMS) or not self._units:
                    raise ValueError(f"an item out of place: {code}")
                self._units[-1][ITEMS[code - 16]] = waiting[at + 3 : at + 3 + size].decode("utf-8", "replace")
                at += 3 + size
                continue
            at += 1
            if code in (DATA, EXTRA):
                self._units.append({})
            elif code in (BLOCK, END):
                self.ended = self.ended or code == END
                found.append(self._units)
                self._units = []
            else:
                raise ValueError(f"an unknown unit: {code}")
        del waiting[:at]
        return found


class Conversation:
    """One connection to knotd.  Every step ends within `timeout_s`; what goes wrong is `Unavailable`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._decoder = Decoder()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Conversation:
        try:
            async with asyncio.timeout(self.timeout_s):
                self._reader, self._writer = await asyncio.open_unix_connection(str(self.path))
        except (OSError, TimeoutError) as error:
            raise Unavailable("knot_gone", f"no knotd listens on {self.path.name}: {_said(error)}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            if kind is None:
                self._writer.write(bytes([END]))
            self._writer.close()

    async def ask(self, *commands: Command) -> list[list[Unit]]:
        """The answers to `commands`, sent all at once; `Rejected` with the first reason if Knot refused any."""
        answers = await self._exchange(b"".join(encode_command(command) for command in commands), len(commands))
        for command, units in zip(commands, answers, strict=True):
            for unit in units:
                if "error" in unit:
                    what = " ".join(command.get(key, "") for key in ("cmd", "owner", "type")).strip()
                    raise Rejected(f"{what}: {unit['error']}")
        return answers

    async def _exchange(self, out: bytes, count: int) -> list[list[Unit]]:
        assert self._writer is not None
        assert self._reader is not None
        found: list[list[Unit]] = []
        size = 0
        try:
            async with asyncio.timeout(self.timeout_s):
                self._writer.write(out)  # not drained first: knotd answers while it reads, and would wait for us
                while len(found) < count:
                    data = await self._reader.read(CHUNK_BYTES)
                    size += len(data)
                    if not data or size > ANSWER_BYTES_MAX or self._decoder.ended:
                        raise Unavailable("knot_gone", "knotd ended the conversation")
                    found += self._decoder.feed(data)
        except (OSError, TimeoutError, ValueError) as error:
            raise Unavailable("knot_gone", f"knotd did not answer: {_said(error)}") from error
        return found[:count]


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def records_of(answers: Iterable[Sequence[Unit]]) -> Iterable[tuple[str, str, int, str]]:
    """(owner, type, TTL in s, data) of the answers to zone-read and zone-get."""
    for units in answers:
        for unit in units:
            if "owner" in unit and "data" in unit:
                yield unit["owner"].lower(), unit["type"], int(unit.get("ttl", "0")), unit["data"].strip()
