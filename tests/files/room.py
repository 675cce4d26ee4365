"""Regions with their real catalogue, objects, timeline and files; only the bus between them is a function call."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from federation_pair import Side, with_sides
from moonbow.base.errors import Unavailable
from moonbow.base.ids import base32, new_id
from moonbow.files.adapters.objects import ObjectsDirectory
from moonbow.files.model import File, Span
from moonbow.files.ports import Scanner
from moonbow.files.process import Files
from moonbow.gateway.messages import body_with_files
from moonbow.stores.files_sql import FILES_TABLES, SqlFiles
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql
from moonbow.timeline import transactions
from moonbow.timeline.model import Answer, Post
from moonbow.world import World, parse_world

REGIONS = ("emea", "apac", "na")
WORLD = 'name = "w"\ndomain = "w.test"\n[traffic]\ndefault = "emea"\n[files]\ndeny = ["text/x-script"]\n' + "".join(
    f'[regions.{name}]\ntitle = "{name}"\nsites = [{{ name = "{name}1", city = "c", at = [0, 0] }}]\n'
    for name in REGIONS
)


def person(number: int, region: str = "emea") -> str:
    return f"usr_{region}_{base32(number)}"


class Wire:
    """Requests from one region to the others' files."""

    def __init__(self, region: str, places: dict[str, Place]) -> None:
        self.region, self.places, self.cut = region, places, set[str]()
        self.asked: list[tuple[str, bytes]] = []

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = 1.0) -> bytes:
        self.asked.append((op, payload))
        if region in self.cut:
            raise Unavailable("home_unreachable", f"{region} does not answer", region=region)
        answer = await self.places[region].files.serve(self.region, op, payload)
        assert len(answer) <= 300_000, "more than the bus should carry at once"
        return answer


class Place:
    """One region: its timeline's side and its files, as one gateway has them."""

    def __init__(self, side: Side, folder: Path, places: dict[str, Place], scanner: Scanner | None = None) -> None:
        self.side, self.folder, self.now = side, folder / side.region, 1_000_000.0
        self.wire = Wire(side.region, places)
        self.objects = ObjectsDirectory(self.folder / "objects")
        world: World = parse_world(WORLD)
        catalogue = SqlFiles(Sql.sqlite(self.folder / "files.db", HomeRegion(side.region), FILES_TABLES))
        self.files = Files(
            world, side.store, catalogue, self.objects, self.wire, REGIONS, lambda: True, scanner=scanner,
            clock=lambda: self.now,
        )  # fmt: skip
        places[side.region] = self

    async def upload(self, owner: str, content: bytes, name: str = "a.bin", part: int = 400_000) -> File:
        file = await self.files.uploads.create(owner, name, len(content), None)
        for start in range(0, len(content), part):
            file = await self.send(file, content, start, min(start + part, len(content)))
        return file

    async def send(self, file: File, content: bytes, start: int, end: int) -> File:
        header = f"bytes {start}-{end - 1}/{len(content)}"
        return await self.files.uploads.add_part(file.owner, file.id, header, content[start:end])

    async def room(self, creator: str, *others: str) -> str:
        room = new_id("rom", self.side.region)
        return await self.side.store.write(transactions.create_room, room, creator, others)

    async def say(self, author: str, room: str, *files: str) -> Answer:
        client_id = str(uuid.uuid4())
        body = await body_with_files(self.files, author, room, client_id, "", files)
        return await self.side.store.write(transactions.post, Post(author, room, client_id, body))

    async def read(self, reader: str, ident: str, span: Sequence[int] | None = None) -> bytes:
        content = await self.files.open(reader, ident)
        wanted = Span(0, content.about.size) if span is None else Span(*span)
        return b"".join([some async for some in content.read(wanted)])

    def resting(self) -> list[Path]:
        return [path for path in (self.folder / "objects").rglob("*") if path.is_file()]


Scenario = Callable[[dict[str, Place]], Awaitable[None]]


def play(folder: Path, scenario: Scenario, *regions: str, scanner: Scanner | None = None) -> None:
    """Run a scenario between regions."""

    async def inside(sides: dict[str, Side]) -> None:
        places: dict[str, Place] = {}
        for side in sides.values():
            Place(side, folder, places, scanner)
        try:
            await scenario(places)
        finally:
            for place in places.values():
                await place.files.close()

    asyncio.run(with_sides(folder, inside, *(regions or ("emea",))))
