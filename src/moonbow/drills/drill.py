"""One drill from its first person to its report: what every script has at hand, and the order in which it happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from moonbow.sdk import Client

from . import laws, laws_data
from .crowd import Crowd, Member, sign_in
from .history import History
from .laws import Verdict
from .measure import Spread, numbers
from .recorder import Recorder
from .report import Report
from .stage import Stage

PEOPLE, PEOPLE_FAST = 40, 12
RATE, RATE_FAST = 200.0, 50.0  # messages a second
FACTOR_FAST = 0.4  # of the times
TALK_S = 0.5  # between two looks whether the talking is over
FILE_PAUSE_S = 1.0


class Drill:
    """What a script plays with.  `fast` is for trying a drill out: fewer people, lower rate, shorter."""

    def __init__(self, name: str, stage: Stage, seed: int, fast: bool) -> None:
        self.name, self.stage, self.seed, self.fast = name, stage, seed, fast
        self.recorder = Recorder()
        self.crowd = Crowd(stage, self.recorder, seed)
        self.rng = self.crowd.rng
        self.verdicts: list[Verdict] = []
        self.numbers: dict[str, Spread | int | float | str] = {}
        self.near: dict[str, list[str]] = {}  # region -> rooms whose members are all of it
        self.far: list[str] = []  # rooms with members of several regions

    @property
    def history(self) -> History:
        """What was seen so far."""
        return self.recorder.history

    @property
    def people(self) -> int:
        """How many people take part."""
        return PEOPLE_FAST if self.fast else PEOPLE

    @property
    def rate(self) -> float:
        """Messages a second."""
        return RATE_FAST if self.fast else RATE

    def lasting(self, seconds: float) -> float:
        """So long, or less when fast."""
        return seconds * FACTOR_FAST if self.fast else seconds

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncGenerator[Client]:
        """The demo company's owner, without a socket."""
        login, password = self.stage.owner()
        client = await sign_in(self.stage, self.stage.primaries(self.stage.regions()[0])[0], login, password)
        try:
            yield client
        finally:
            await client.rest.close()

    async def assemble(self) -> None:
        """People spread over every primary site, rooms inside each region and across two, everybody listening."""
        sites = [(region, site) for region in self.stage.regions() for site in self.stage.primaries(region)]
        async with self.admin() as admin:
            await self.crowd.gather(admin, [sites[no % len(sites)] for no in range(self.people)])
        for region in self.stage.regions():
            mine = [member for member in self.crowd.members if member.region == region]
            self.rng.shuffle(mine)
            self.near[region] = [await self.crowd.make_room("near", group) for group in _groups(mine, 2)]
        if len(self.stage.regions()) > 1:
            for no, region in enumerate(self.stage.regions()):
                order = sorted(self.crowd.members, key=lambda member: (member.region != region, self.rng.random()))
                others = [member for member in order if member.region != region]
                self.far.append(await self.crowd.make_room(f"far {no}", [*order[:4], *others[:4]]))
        await self.crowd.listen(self.crowd.members)
        self.recorder.done(f"{len(self.crowd.members)} people in {len(self.crowd.rooms)} rooms are listening")

    def near_rooms(self) -> list[str]:
        """Rooms inside one region."""
        return [room for rooms in self.near.values() for room in rooms]

    def members_at(self, site: str) -> list[Member]:
        """Those whom this site serves now."""
        return [member for member in self.crowd.members if self.recorder.site_of(member.name) == site]

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncGenerator[None]:
        """Everybody talks, and shares a file now and then, for as long as the block lasts."""
        over, began = asyncio.Event(), self.recorder.now()

        async def talk() -> None:
            while not over.is_set():
                await self.crowd.talk(self.rate, TALK_S)

        before = len(self.history.sent)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk())
            tasks.create_task(self.crowd.share(FILE_PAUSE_S, over))
            try:
                yield
            finally:
                over.set()
                lasted_s = self.recorder.now() - began
        self.numbers["messages a second"] = round((len(self.history.sent) - before) / lasted_s, 1)

    async def finish(self) -> None:
        """Wait for the last words, read everything back, and check the laws that always hold."""
        await self.crowd.settle()
        self.recorder.done("every message has its last word; reading back")
        await self.crowd.read_back()
        self.verdicts += laws.standard_laws(self.history)
        if self.history.uploaded:
            self.verdicts += [
                laws_data.finally_no_acked_file_is_lost(self.history),
                laws_data.finally_no_file_stands_twice(self.history),
            ]


Script = Callable[[Drill], Awaitable[None]]


async def play(name: str, script: Script, stage: Stage, seed: int, fast: bool = False) -> tuple[Report, History]:
    """Play one drill on a running world: its report and what was seen.  The world is left healed and ready."""
    drill = Drill(name, stage, seed, fast)
    started = datetime.now(UTC)
    await stage.wait_ready()
    try:
        async with drill.crowd:
            await script(drill)
    finally:
        with contextlib.suppress(OSError):
            await stage.restore()
    report = Report(
        drill=name,
        world=stage.world.name,
        seed=seed,
        fast=fast,
        started_at=started.isoformat(timespec="seconds"),
        lasted_s=round(drill.recorder.now(), 1),
        verdicts=drill.verdicts,
        numbers={**numbers(drill.history), **drill.numbers},
        done=drill.history.done,
    )
    return report, drill.history


def _groups(members: Sequence[Member], count: int) -> list[list[Member]]:
    return [group for no in range(count) if len(group := list(members[no::count])) > 1]
