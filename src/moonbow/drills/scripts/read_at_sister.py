"""What somebody was acknowledged at one site they read at the sister site at once: rooms, messages, files."""

from __future__ import annotations

from collections.abc import Awaitable

from moonbow.base.errors import MoonbowError
from moonbow.sdk import Client

from .. import laws
from ..crowd import PASSWORD, sign_in
from ..drill import Drill

TURNS = 40


async def play(drill: Drill) -> None:
    """One person at two sites of the first region, under everybody's load, writing at one and reading at the other."""
    await drill.assemble()
    region = drill.stage.regions()[0]
    first, second = drill.stage.primaries(region)[:2]
    login = f"twice-{drill.crowd.tag}@drill.test"
    async with drill.admin() as admin:
        await admin.add_person(login, PASSWORD, "Drill twice", region=region)
    faults: list[str] = []
    async with (
        await sign_in(drill.stage, first, login, PASSWORD) as one,
        await sign_in(drill.stage, second, login, PASSWORD) as other,
        drill.load(),
    ):
        for no in range(int(drill.lasting(TURNS))):
            writer, reader = (one, other) if no % 2 else (other, one)
            faults += [f"turn {no}: {fault}" for fault in await _write_and_read(writer, reader, no)]
    drill.recorder.done("written at one site and read at the other")
    await drill.finish()
    turns = f"{int(drill.lasting(TURNS))} times at {first} and {second}"
    drill.verdicts.append(laws.judge("always_read_at_the_sister", turns, iter(faults)))


async def _write_and_read(writer: Client, reader: Client, no: int) -> list[str]:
    """What the reader did not find."""
    room = await writer.create_room(f"turn {no}")
    file = await writer.upload(f"turn {no}".encode(), "turn.txt")
    posted = await writer.send(room.id, f"turn {no}", files=[file])
    looks: dict[str, Awaitable[bool]] = {
        "the room": _has_room(reader, room.id),
        "the message": _has_row(reader, room.id, posted.id),
        "the file": _has_file(reader, file.id),
    }
    return [fault for what, look in looks.items() for fault in await _faults(what, look)]


async def _faults(what: str, look: Awaitable[bool]) -> list[str]:
    try:
        return [] if await look else [f"{what} is not there yet"]
    except MoonbowError as trouble:
        return [f"{what}: {trouble!r}"]


async def _has_room(reader: Client, room: str) -> bool:
    return room in {one.id for one in await reader.rooms()}


async def _has_row(reader: Client, room: str, entry: str | None) -> bool:
    return entry in {row.id async for page in reader.history(room) for row in page.rows}


async def _has_file(reader: Client, file: str) -> bool:
    return bool(await reader.download(file))
