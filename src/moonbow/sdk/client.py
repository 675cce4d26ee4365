"""The SDK's face: sign in once, then talk and listen; doors, tokens and lost sockets are its business, not yours."""

from __future__ import annotations

import asyncio
import random
import ssl
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from moonbow.base import limits
from moonbow.base.errors import ConfigError
from moonbow.wire.files import FileInfo, Files
from moonbow.wire.rest import (
    Avatar,
    Bootstrap,
    Me,
    Members,
    NewPerson,
    NewRoom,
    NewTitle,
    Page,
    People,
    PersonPresence,
    Posted,
    PresenceList,
    Read,
    Refresh,
    Rooms,
    Session,
    SetAvatar,
    SetPresence,
    SignIn,
)
from moonbow.wire.stream import Post, SetState, Typing, Watch
from moonbow.wire.values import Door, Member, Person, Role, Room

from . import paths, transfer
from .core import Core
from .model import Ended, Event
from .rest import Rest
from .stream import Stream
from .transfer import Progress

AGENT = "moonbow-sdk"
PENDING_MAX = 200  # posts of one client under way; `send` waits for its turn beyond it


class Client:
    """A signed-in person on one device.  Use as `async with await Client.sign_in(...) as me:`."""

    def __init__(self, rest: Rest, session: Session, *, learns: bool = True, seed: int | None = None) -> None:
        self.rest, self.person, self.learns = rest, session.person, learns
        self.rest.token, self._refresh_token = session.access_token, session.refresh_token
        loop = asyncio.get_running_loop()
        until = loop.time() + session.expires_in_s
        self.core = Core(rest.doors, session.access_token, until, random.Random(seed).random)
        self._turns = asyncio.Semaphore(PENDING_MAX)
        self._renewing = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._stream: Stream | None = None

    @classmethod
    async def sign_in(
        cls,
        doors: str | Sequence[Door],
        login: str,
        password: str,
        *,
        ca: Path | str | None = None,
        domain: str | None = None,
        agent: str = AGENT,
        source: str | None = None,
        seed: int | None = None,
    ) -> Client:
        """Sign in through `doors`: a URL of any door, which then tells the others; or doors in the order to try them
        (`domain` is the name they all answer to), and no others.

        `ca` is a PEM file to trust instead of the system's, `source` an own address to dial from.
        `Refused("sign_in_refused")` for a wrong login or password, `Unavailable` when no door answers or the home
        region is out of reach.
        """
        rest = open_rest(doors, ca=ca, domain=domain, agent=agent, source=source)
        try:
            if isinstance(doors, str):
                rest.doors = await learn_doors(rest)
            session = await rest.put("POST", paths.SESSIONS, SignIn(login=login, password=password), Session)
        except BaseException:
            await rest.close()
            raise
        return cls(rest, session, learns=isinstance(doors, str), seed=seed)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._stream = Stream(self.core, self.rest, self._tasks, self._renew, self._learn)
        self._stream.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stream.stop()
        finally:
            try:  # the program's own error goes on as it is; only a cancellation may be the group's own doing
                if kind is not None and issubclass(kind, asyncio.CancelledError):
                    await self._tasks.__aexit__(kind, error, trace)
                else:
                    await self._tasks.__aexit__(None, None, None)
            finally:
                await self.rest.close()

    @property
    def stream(self) -> Stream:
        """The live side; there is one only inside `async with`."""
        if self._stream is None:
            raise ConfigError("use the client as `async with await Client.sign_in(...) as me:`")
        return self._stream

    # -- live -------------------------------------------------------------------------------------------------------
    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, from sign-in on: rows once and in order over any number of lost sockets.

        Ends after `Ended`.  Who reads too slowly loses nothing: beyond 10,000 waiting events the socket is left, and
        resumed when half of them are read.  Who never reads gets `Lapsed` instead of what did not fit.
        """
        while True:
            event = await self.stream.next_event()
            yield event
            if isinstance(event, Ended):
                return

    async def send(
        self, room: str, text: str, *, files: Sequence[FileInfo | str] = (), client_id: str | None = None
    ) -> Posted:
        """Post a message and wait for its first answer: placed (with seq), kept, or refused (with code).

        `files` are own ones that are ready, or their ids; with them the text may be empty.

        It is said again under the same `client_id` over any number of sockets until it is answered; so a caller that
        gives up (cancels) cannot know.  Give your own `client_id` (a UUID) to ask again later, even after a restart.
        """
        idents = [one if isinstance(one, str) else one.id for one in files]
        post = Post(room=room, client_id=client_id or str(uuid.uuid4()), text=text, files=idents)
        async with self._turns:
            return await asyncio.shield(self.stream.post(post))

    async def fate(self, posted: Posted) -> Posted:
        """What became of a kept post: placed or refused, once the room's home has decided; waits out any cut.

        Of the last 1,000 posts of this client; with 10,000 kept at once the newest ones stay `kept` here, and the
        inbox rows tell.
        """
        if posted.state != "kept":
            return posted
        return await asyncio.shield(self.stream.fate(posted))

    def typing(self, room: str, on: bool = True) -> None:
        """Show that one is typing; repeat every 4 s while it lasts."""
        self.stream.say(Typing(room=room, on=on))

    def idle(self, is_idle: bool = True) -> None:
        """What this device is: idle or in use."""
        self.stream.say(SetState(state="away" if is_idle else "online"))

    def watch(self, people: Sequence[str]) -> None:
        """Whose presence to hear of as `Presence` events; replaces the earlier list."""
        self.stream.say(Watch(people=list(people)))

    # -- rooms ------------------------------------------------------------------------------------------------------
    async def rooms(self) -> list[Room]:
        """Everything one is a member of."""
        return (await self.rest.get(paths.ROOMS, Rooms)).rooms

    async def create_room(self, title: str | None = None, members: Sequence[str] = ()) -> Room:
        """A new group room with these members; it rests in one's own region."""
        wanted = NewRoom(kind="group", title=title, members=list(members))
        return await self.rest.put("POST", paths.ROOMS, wanted, Room, again=False)

    async def direct(self, person: str) -> Room:
        """The one direct room with this person; made if there is none yet."""
        return await self.rest.put("POST", paths.ROOMS, NewRoom(kind="direct", members=[person]), Room)

    async def invite(self, room: str, person: str) -> None:
        """Make somebody a member.  No fault if they are one already."""
        await self.rest.ask("PUT", paths.member(room, person))

    async def remove(self, room: str, person: str) -> None:
        """End somebody's membership, or one's own."""
        await self.rest.ask("DELETE", paths.member(room, person))

    async def members(self, room: str) -> list[Member]:
        """Who is in a room, and where what they write rests."""
        return (await self.rest.get(paths.members(room), Members)).members

    async def set_title(self, room: str, title: str) -> None:
        """Give a room a title."""
        await self.rest.ask("PUT", paths.title(room), NewTitle(client_id=str(uuid.uuid4()), title=title))

    async def history(
        self, room: str, *, before: int | None = None, limit: int = limits.PAGE_MAX
    ) -> AsyncIterator[Page]:
        """The rows of a room in pages, newest page first; rows ascend within a page."""
        while True:
            page = await self.rest.get(paths.entries(room), Page, before=before, limit=limit)
            yield page
            if not page.more or not page.rows:
                return
            before = page.rows[0].seq

    async def redact(self, room: str, entry: str) -> None:
        """Erase an entry: one's own, or anybody's in a room that one created."""
        await self.rest.ask("DELETE", paths.entry(room, entry))

    async def mark_read(self, room: str, seq: int) -> None:
        """Read up to and including `seq`; never goes back."""
        await self.rest.ask("PUT", paths.read(room), Read(seq=seq))

    # -- files ------------------------------------------------------------------------------------------------------
    async def upload(
        self,
        content: Path | str | bytes,
        name: str | None = None,
        *,
        expires_in_s: int | None = None,
        resume: str | None = None,
        on_progress: Progress | None = None,
    ) -> FileInfo:
        """Send a file of this machine (a path) or bytes, and wait until it may be shared.

        Goes on over lost connections and sites; `resume` is the id of an upload of an earlier run to go on with.
        `on_progress(done, total)` hears of every part.  `Refused` with the reason (`infected`, `type_not_allowed`)
        when the file is not taken, and `quota_exceeded`, `file_too_large`, `name_malformed`.
        """
        source = transfer.Source(Path(content) if isinstance(content, str) else content)
        named = name or (source.content.name if isinstance(source.content, Path) else "file")
        return await transfer.upload(
            self.rest, source, named, expires_in_s=expires_in_s, resume=resume, on_progress=on_progress
        )

    async def download(self, file: str, to: Path | str | None = None, *, on_progress: Progress | None = None) -> bytes:
        """A file that one may see: as bytes, or into the file `to`, which then stands whole.

        Goes on over lost connections.  `Refused("file_unknown")` if it is not for one's eyes,
        `Unavailable("file_held")` while its region is out of reach.
        """
        return await transfer.download(self.rest, file, Path(to) if to is not None else None, on_progress)

    async def thumbnail(self, file: str) -> bytes:
        """A small WebP of a picture; `Refused("thumbnail_unknown")` if there is none."""
        return (await self.rest.ask("GET", paths.content(file), query={"size": "small"})).content

    async def files(self) -> AsyncIterator[FileInfo]:
        """One's own files, newest first."""
        before: str | None = None
        while True:
            page = await self.rest.get(paths.FILES, Files, before=before, limit=limits.PAGE_MAX)
            for file in page.files:
                yield file
            if page.next is None:
                return
            before = page.next

    async def delete_file(self, file: str) -> None:
        """Delete an own file: nobody reads it any more, wherever it was shared."""
        await self.rest.ask("DELETE", paths.file(file))

    async def set_avatar(self, file: FileInfo | str | None) -> str | None:
        """Make an own picture the one that colleagues see, or have none; gives its tag."""
        ident = file if isinstance(file, str) or file is None else file.id
        return (await self.rest.put("PUT", paths.MY_AVATAR, SetAvatar(file=ident), Avatar)).avatar

    async def avatar(self, person: str) -> bytes:
        """A colleague's picture, a WebP; `Refused("avatar_unknown")` if they have none."""
        return (await self.rest.ask("GET", paths.avatar(person))).content

    # -- people -----------------------------------------------------------------------------------------------------
    async def me(self) -> Me:
        """Oneself, and who serves one now."""
        return await self.rest.get(paths.ME, Me)

    async def people(self, query: str | None = None) -> list[Person]:
        """Colleagues, all pages; those of regions out of reach are left out."""
        found: list[Person] = []
        cursor: str | None = None
        while True:
            page = await self.rest.get(paths.PEOPLE, People, q=query, cursor=cursor, limit=limits.PAGE_MAX)
            found += page.people
            if page.next is None:
                return found
            cursor = page.next

    async def add_person(
        self, login: str, password: str, name: str, *, role: Role = "member", region: str | None = None
    ) -> Person:
        """A new colleague (admins and owners).  Everything they write will rest in `region`."""
        new = NewPerson(login=login, password=password, name=name, role=role, region=region)
        return await self.rest.put("POST", paths.PEOPLE, new, Person, again=False)

    async def presence(self, people: Sequence[str]) -> list[PersonPresence]:
        """Who is here now, of up to 100 people."""
        return (await self.rest.get(paths.PRESENCE, PresenceList, ids=",".join(people))).people

    async def set_presence(self, state: Literal["online", "away", "busy", "dnd", "invisible"], text: str = "") -> None:
        """One's own wish; `online` gives the choice back to the devices."""
        await self.rest.ask("PUT", paths.MY_PRESENCE, SetPresence(state=state, text=text))

    async def sign_out(self, everywhere: bool = False) -> None:
        """End this session, or all of one's sessions; the server closes their sockets and `events` ends."""
        await self.rest.ask("DELETE", paths.SESSIONS if everywhere else paths.SESSION)

    # -- inside -----------------------------------------------------------------------------------------------------
    async def _renew(self) -> tuple[str, float]:
        async with self._renewing:
            wanted = Refresh(refresh_token=self._refresh_token)
            session = await self.rest.put("POST", paths.REFRESH, wanted, Session)
            self.rest.token, self._refresh_token = session.access_token, session.refresh_token
            return session.access_token, session.expires_in_s

    async def _learn(self) -> list[Door]:
        if not self.learns:
            return []
        self.rest.doors = await learn_doors(self.rest)
        return self.rest.doors


def open_rest(
    doors: str | Sequence[Door],
    *,
    ca: Path | str | None = None,
    domain: str | None = None,
    agent: str = AGENT,
    source: str | None = None,
) -> Rest:
    """REST for nobody yet, through a URL or through known doors."""
    tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    if isinstance(doors, str):
        door = door_of(doors)
        return Rest([door], domain or urlsplit(doors).hostname or "", tls, agent, source)
    if not doors or not domain:
        raise ConfigError("give at least one door, and the domain that they all answer to")
    return Rest(list(doors), domain, tls, agent, source)


def door_of(url: str) -> Door:
    """The door behind `url`.  Names under `localhost` are this machine without asking (RFC 6761, section 6.3)."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigError(f"{url!r} is not an https:// URL")
    local = parts.hostname == "localhost" or parts.hostname.endswith(".localhost")
    address = "127.0.0.1" if local else parts.hostname
    return Door(site="", region="", city="", url=url, address=address, port=parts.port or 443)


async def learn_doors(rest: Rest) -> list[Door]:
    """The doors of the world, best first; those known so far stay, last, as a way back."""
    known = await rest.get(paths.BOOTSTRAP, Bootstrap)
    fresh = [door for door in known.doors if door.address]
    taken = {(door.address, door.port) for door in fresh}
    return fresh + [door for door in rest.doors if (door.address, door.port) not in taken]
