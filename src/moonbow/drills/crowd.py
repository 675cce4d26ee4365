"""People who talk: makes them and their rooms, signs them in at chosen sites, and keeps messages flowing at a rate."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from moonbow.base.errors import ConfigError, Refused, Unavailable
from moonbow.sdk import Client

from .history import Line
from .recorder import Recorder, line_of
from .stage import Stage
from .waiting import until

PASSWORD = "a drill is no secret"
SIGN_IN_AT_ONCE = 4  # Argon2 is dear on purpose
UNDER_WAY_MAX = 1_000  # messages without an answer; beyond it the load waits, and says so by its rate
READ_BACK_AT_ONCE = 8
UPLOADS_AT_ONCE = 8
FILE_BYTES = 50_000
INTO_VIEW_S = 20.0
BODY_TRIES = 20
BODY_PAUSE_S = 0.25


@dataclass
class Member:
    """One person of the crowd: `name` is how histories and reports call them."""

    name: str
    region: str
    site: str
    client: Client

    @property
    def id(self) -> str:
        """The person's id."""
        return self.client.person.id


class Crowd:
    """Everybody of a drill.  Use as a context manager: leaving it signs nobody out but closes every socket."""

    def __init__(self, stage: Stage, recorder: Recorder, seed: int) -> None:
        self.stage, self.recorder, self.rng = stage, recorder, random.Random(seed)
        self.tag = f"{seed:x}{uuid.uuid4().hex[:6]}"  # people of an earlier drill keep their names
        self.members: list[Member] = []
        self.rooms: dict[str, list[Member]] = {}
        self.left: set[tuple[str, str]] = set()  # (member, room) of those removed since
        self._stack = AsyncExitStack()
        self._said = 0
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Crowd:
        await self._stack.__aenter__()
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(self, *fault: object) -> None:
        for task in self._under_way:
            task.cancel()
        await self._stack.__aexit__(*fault)  # type: ignore[arg-type]

    # -- making them ------------------------------------------------------------------------------------------------
    async def gather(self, admin: Client, places: Sequence[tuple[str, str]]) -> list[Member]:
        """One person for each (region, site): made by `admin`, signed in at that site, not yet listening."""
        turns = asyncio.Semaphore(SIGN_IN_AT_ONCE)

        async def one(no: int, region: str, site: str) -> Member:
            name = f"{region}-{len(self.members) + no:02d}"
            login = f"{name}-{self.tag}@drill.test"
            async with turns:
                await admin.add_person(login, PASSWORD, f"Drill {name}", region=region)
                client = await sign_in(self.stage, site, login, PASSWORD, seed=self.rng.randrange(2**32))
            return Member(name, region, site, client)

        made = await asyncio.gather(*(one(no, region, site) for no, (region, site) in enumerate(places)))
        self.members += made
        return list(made)

    async def make_room(self, title: str, members: Sequence[Member]) -> str:
        """A room of these people, created by the first: it rests in that one's region."""
        found = await members[0].client.create_room(f"{title} {self.tag}", [member.id for member in members[1:]])
        self.rooms[found.id] = list(members)
        return found.id

    async def listen(self, members: Sequence[Member]) -> None:
        """Open their sockets, write down what they are shown, and wait until each has caught up with its rooms."""
        for member in members:
            await self._stack.enter_async_context(member.client)
            self._tasks.create_task(self.recorder.watch(member.name, member.client))
        owed = {(member.name, room) for room, people in self.rooms.items() for member in people if member in members}
        if not await until(lambda: owed <= self.recorder.heads.keys(), INTO_VIEW_S):
            lacking = owed - self.recorder.heads.keys()
            raise ConfigError(f"{len(lacking)} rooms never came into view, such as {min(lacking)}")

    # -- talking ----------------------------------------------------------------------------------------------------
    async def talk(self, rate: float, lasts_s: float, rooms: Sequence[str] | None = None) -> float:
        """Messages at `rate` a second for so long, by random members in random rooms; the rate that came about."""
        loop, chosen = asyncio.get_running_loop(), list(rooms or self.rooms)
        began, count = loop.time(), 0
        while (ahead := began + count / rate) < began + lasts_s:
            if (wait := ahead - loop.time()) > 0:
                await asyncio.sleep(wait)
            while len(self._under_way) >= UNDER_WAY_MAX:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            room = self.rng.choice(chosen)
            self.say(self.rng.choice(self.rooms[room]), room)
            count += 1
        return count / max(loop.time() - began, 1e-9)

    def say(self, member: Member, room: str) -> asyncio.Task[None]:
        """One message, on its way until the service has given its last word on it."""
        self._said += 1
        text = f"{self.tag} {self._said} by {member.name}"
        client_id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.recorder.sent(member.name, room, client_id, text)
        task = self._tasks.create_task(self._say(member.client, room, client_id, text))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _say(self, client: Client, room: str, client_id: str, text: str) -> None:
        try:
            posted = await client.send(room, text, client_id=client_id)
            self.recorder.answered(posted)
            if posted.state == "kept":
                self.recorder.answered(await client.fate(posted))
        except Refused as refused:
            self.recorder.done(f"a message had no answer, its session is over: {refused.code}")

    async def share(self, pause_s: float, over: asyncio.Event) -> None:
        """A file of a random member every `pause_s`, until it is over; then waits for those that are on their way."""
        async with asyncio.TaskGroup() as tasks:
            turns = asyncio.Semaphore(UPLOADS_AT_ONCE)
            while not over.is_set():
                member = self.rng.choice(self.members)
                self._said += 1
                await turns.acquire()
                tasks.create_task(self._upload(member, f"{self.tag}-{self._said}.bin")).add_done_callback(
                    lambda _: turns.release()
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), pause_s)

    async def _upload(self, member: Member, name: str) -> None:
        content = self.rng.randbytes(FILE_BYTES)
        try:
            file = await member.client.upload(content, name)
        except (Refused, Unavailable) as trouble:
            self.recorder.done(f"a file of {member.name} was not taken: {trouble.code}")
        else:
            self.recorder.uploaded(member.name, file, _digest(content))

    @property
    def under_way(self) -> int:
        """Messages whose last word is still out."""
        return len(self._under_way)

    async def settle(self, within_s: float = 30.0) -> None:
        """Wait until every message has its last word, every reader every row and every text; or say what lacks."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=within_s)
            if late:
                self.recorder.done(f"{len(late)} messages have no last word after {within_s:g} s")
        if not await until(lambda: not self._behind(), within_s):
            self.recorder.done(f"some readers lack rows after {within_s:g} s")

    def _behind(self) -> bool:
        heads = self.recorder.heads
        if any(member.client.core.cursors.missing for member in self.members):
            return True
        return any(
            len({heads.get((member.name, room), 0) for member in people if (member.name, room) not in self.left}) > 1
            for room, people in self.rooms.items()
        )

    # -- reading back -----------------------------------------------------------------------------------------------
    async def read_back(self) -> None:
        """Every member reads every room it was in, page by page, into the history's `final`."""
        turns = asyncio.Semaphore(READ_BACK_AT_ONCE)

        async def one(member: Member, room: str) -> None:
            async with turns:
                lines = await read_room(member.client, room)
            if lines is not None:
                self.recorder.history.final.setdefault(member.name, {})[room] = lines

        await asyncio.gather(*(one(member, room) for room, people in self.rooms.items() for member in people))
        history = self.recorder.history
        for member in self.members:
            mine = [file for file in history.uploaded if file.author == member.name]
            if mine:
                names = {file.name for file in mine}
                history.listed[member.name] = [f.name async for f in member.client.files() if f.name in names]
            for file in mine:
                with contextlib.suppress(Refused):  # what is missing then is the law's to say
                    history.fetched[file.id] = _digest(await member.client.download(file.id))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def sign_in(stage: Stage, site: str, login: str, password: str, seed: int | None = None) -> Client:
    """A client that enters at `site`, and elsewhere only when it must.  Waits when told that there were too many."""
    for _ in range(20):
        try:
            return await Client.sign_in(
                stage.doors_from(site), login, password, ca=stage.ca, domain=stage.world.domain, seed=seed
            )
        except Refused as refused:
            if refused.status != 429:
                raise
            await asyncio.sleep(refused.retry_after_s or 1.0)
        except Unavailable as trouble:
            if trouble.code != "directory_incomplete":
                raise
            await asyncio.sleep(0.3)
    raise ConfigError(f"nobody could sign in at {site}: told to wait 20 times")


async def read_room(client: Client, room: str) -> list[Line] | None:
    """Every row that this client may read, in order; None if it may read none.  Bodies on their way are waited for."""
    lines: list[Line] = []
    for _ in range(BODY_TRIES):
        try:
            lines = [line_of(row) async for page in client.history(room) for row in reversed(page.rows)][::-1]
        except Refused:
            return None
        if not any(line.state in ("waiting", "held") for line in lines):
            return lines
        await asyncio.sleep(BODY_PAUSE_S)
    return lines
