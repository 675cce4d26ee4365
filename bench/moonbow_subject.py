"""Moonbow as a subject: people, rooms and connections for each operation, all of them through TLS and the doors."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import msgspec

from .load import pour, saturate
from .meter import Meter
from .model import Archive, CatchUp, Hall, Line, Pair
from .moonbow_client import Http, Person, WsLine, connect, dial
from .moonbow_world import RunningWorld, spread

FRAMES_PER_S = 450.0  # of one socket; the gateway allows 500
INVITED_AT_ONCE = 100
PEOPLE = 300
PAIRS = 50
POURERS = 8
READERS = 24  # tokens that page reads take turns with: the gateway allows each person 100 calls a second


class MoonbowSubject:
    """People of one region over both its sites; see README.md for what is shared between operations."""

    name = "Moonbow"

    def __init__(self, running: RunningWorld, region: str, far: str) -> None:
        self.running, self.region, self.far = running, region, far
        self.doors = running.doors(region)
        self.meter = Meter(running.kinds)
        self.rest = Http(self.doors[0])
        self.crowd: list[Person] = []
        self.reader: Person
        self.writer: Person
        self.distant: list[Person] = []
        self.rooms: list[bytes] = []

    async def prepare(self, only: set[str]) -> None:
        """Make and sign in as many people as the operations need, and the pairs' rooms."""
        owner = await self.running.owner()
        crowd = PEOPLE if only & {"B", "C"} else 2 * PAIRS if "A" in only else READERS
        self.crowd = await self.running.people(owner, self.region, crowd)
        self.reader, self.writer = await self.running.people(owner, self.region, 2)
        if "F" in only:
            self.distant = await self.running.people(owner, self.far, 10)
        if only & {"A", "C"}:
            for no in range(len(self.crowd) // 2):
                one, other = self.crowd[2 * no], self.crowd[2 * no + 1]
                self.rooms.append(await self._room(one, {"kind": "direct", "members": [other.ident]}))
        self.meter.refresh()

    async def _room(self, creator: Person, wanted: dict[str, Any]) -> bytes:
        room: str = (await self.rest.must("POST", "/v1/rooms", creator.token, wanted))["id"]
        return room.encode()

    async def _lines(self, wanted: list[tuple[Person, int]]) -> list[WsLine]:
        """A connection for each person at the door of that number, twenty at a time."""
        found: list[WsLine] = []
        for some in (wanted[at : at + 20] for at in range(0, len(wanted), 20)):
            found += await asyncio.gather(*(connect(spread(self.doors, door), person) for person, door in some))
        return found

    async def pairs(self, count: int) -> list[Pair]:
        """Sender and receiver at one site or at two, half of each."""
        wanted = []
        for no in range(count):
            wanted += [(self.crowd[2 * no], no), (self.crowd[2 * no + 1], no + no // 2)]
        lines = await self._lines(wanted)
        return [Pair(lines[2 * no], lines[2 * no + 1], self.rooms[no]) for no in range(count)]

    async def hall(self, members: int) -> Hall:
        creator, *others = self.crowd[:members]
        room = await self._room(creator, {"title": "hall", "members": [p.ident for p in others[:INVITED_AT_ONCE]]})
        for person in others[INVITED_AT_ONCE:]:
            await self.rest.must("PUT", f"/v1/rooms/{room.decode()}/members/{person.ident}", creator.token)
        lines: list[Line] = [*await self._lines([(person, no) for no, person in enumerate(self.crowd[:members])])]
        return Hall(lines[:4], lines, room)

    async def idle(self, count: int) -> list[Line]:
        return [*await self._lines([(spread(self.crowd, no), no) for no in range(count)])]

    async def archive(self, size: int, clients: int) -> Archive:
        people = self.crowd[:READERS]
        room = await self._room(people[0], {"title": "archive", "members": [p.ident for p in people[1:]]})
        lines = await self._lines([(person, no) for no, person in enumerate(people[:POURERS])])
        began = time.perf_counter()
        await pour(lines, room, size, 64, FRAMES_PER_S)
        fill_s = time.perf_counter() - began
        for line in lines:
            line.close()
        connections = [Http(spread(self.doors, no)) for no in range(clients)]
        turns = itertools.cycle(people)
        path = f"/v1/rooms/{room.decode()}/entries?limit=50"

        async def page(client: int) -> int:
            status, said = await connections[client].ask("GET", path, next(turns).token)
            return said.count(b'"text":"') if status == 200 else 0

        return Archive(size, fill_s, page)

    async def missed(self, rooms: int, each: int) -> CatchUp:
        """Rooms of two; the reader's cursors are taken before anything is said."""
        made = [
            await self._room(self.writer, {"title": f"room {no}", "members": [self.reader.ident]})
            for no in range(rooms)
        ]
        before = await connect(self.doors[0], self.reader)
        welcome = msgspec.json.decode(await before.welcome)
        before.close()
        cursors = {room["id"]: room["head"] for room in welcome["rooms"]} | {welcome["inbox"]: welcome["inbox_head"]}
        first = msgspec.json.encode({"t": "resume", "cursors": cursors})
        writer = await connect(self.doors[1], self.writer)
        for room in made:
            await pour([writer], room, each, 10, FRAMES_PER_S)
        writer.close()
        turn = itertools.count()

        async def again() -> tuple[float, float]:
            wanted, over = rooms * each, asyncio.get_running_loop().create_future()

            def hear(_stamp: bytes) -> None:
                nonlocal wanted
                wanted -= 1
                if wanted == 0:
                    over.set_result(None)

            began = time.perf_counter()
            line = await dial(spread(self.doors, next(turn)), self.reader, first)
            line.heard = hear
            signed_on = time.perf_counter()
            await asyncio.wait_for(over, 20.0)
            ended = time.perf_counter()
            line.close()
            return ended - began, ended - signed_on

        return CatchUp(rooms * each, again)

    async def far_pairs(self) -> list[tuple[WsLine, WsLine, bytes]]:
        """People of two regions with a direct room each, which is homed in the receiver's region or the sender's,
        whichever name comes first."""
        found = []
        there = self.running.doors(self.far)
        for no, other in enumerate(self.distant):
            one = self.crowd[no]
            room = await self._room(one, {"kind": "direct", "members": [other.ident]})
            sender = await connect(spread(self.doors, no), one)
            found.append((sender, await connect(spread(there, no), other), room))
        return found

    async def warm(self) -> None:
        """One short burst, so that nothing is measured that happens once."""
        pairs = await self.pairs(4)
        await saturate(self.meter, pairs, 2, 0.2)
        for pair in pairs:
            pair.sender.close()
            pair.receiver.close()
