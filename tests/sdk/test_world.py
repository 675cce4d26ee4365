"""The SDK against a real world: two regions, all engines, every call of the face; and the examples of the handbook."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from moonbow.base.errors import Refused, Unavailable
from moonbow.drills.private import private_world
from moonbow.drills.stage import Stage
from moonbow.sdk import BodyEvent, CaughtUp, Client, Connected, Ended, Lost, Presence, Reset, Row
from moonbow.world import place_port
from support import eventually_async

pytestmark = pytest.mark.engines
ROOT = Path(__file__).parents[2]
T = TypeVar("T")


class Town:
    """A running world, the loop it is watched on, and its demo people by region."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stage: Stage) -> None:
        self.loop, self.stage = loop, stage
        demo = msgspec.json.decode((stage.state / "world" / "demo.json").read_bytes())
        self.people = {person["region"]: person for person in reversed(demo["companies"][0]["people"])}
        self.url = f"https://{stage.world.domain}:{place_port(stage.world, stage.world.places[0].port)}"

    def play(self, work: Callable[[], Awaitable[T]]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(30):
                return await work()

        return self.loop.run_until_complete(bounded())

    async def sign_in(self, region: str) -> Client:
        person = self.people[region]
        return await Client.sign_in(self.url, person["login"], person["password"], ca=self.stage.ca)

    @asynccontextmanager
    async def both(self) -> AsyncIterator[tuple[Client, Client]]:
        async with await self.sign_in("emea") as ada, await self.sign_in("apac") as kenji:
            await until(ada, CaughtUp)
            await until(kenji, CaughtUp)
            yield ada, kenji


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    loop = asyncio.new_event_loop()
    world = private_world(ROOT / "worlds" / "laptop.toml", slot=8)
    stage = loop.run_until_complete(world.__aenter__())
    try:
        yield Town(loop, stage)
    finally:
        loop.run_until_complete(world.__aexit__(None, None, None))
        loop.close()


async def until(client: Client, kind: type[T], check: Callable[[T], bool] = lambda event: True) -> T:
    """The next event of `kind` that passes `check`."""
    async for event in client.events():
        if isinstance(event, kind) and check(event):
            return event
    raise AssertionError(f"the session ended without {kind.__name__}")


def test_wrong_password_is_refused(town: Town) -> None:
    async def play() -> None:
        with pytest.raises(Refused) as caught:
            await Client.sign_in(town.url, town.people["emea"]["login"], "not the password", ca=town.stage.ca)
        assert caught.value.code == "sign_in_refused"
        assert caught.value.status == 401

    town.play(play)


def test_everybody_is_served_at_home_whatever_door_they_take(town: Town) -> None:
    async def play() -> None:
        async with town.both() as clients:
            for client in clients:
                me = await client.me()
                assert me.person == client.person
                assert me.served_by.region == client.person.region

    town.play(play)


def test_message_in_a_room_across_regions_reaches_both(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, kenji):
            room = await ada.create_room("Across", [kenji.person.id])
            await until(kenji, Row, lambda row: row.kind == "added" and row.target == room.id)
            near = await ada.send(room.id, "from emea")
            assert near.state == "placed"
            far = await kenji.send(room.id, "from apac")
            assert far.state in ("kept", "placed")
            placed = await kenji.fate(far)
            assert placed.state == "placed"
            assert (placed.seq or 0) > (near.seq or 0)
            assert [text for _, text in await texts(ada, room.id, 2)] == ["from emea", "from apac"]
            assert [text for _, text in await texts(kenji, room.id, 2)] == ["from emea", "from apac"]
            assert {member.region for member in await kenji.members(room.id)} == {"emea", "apac"}

    town.play(play)


async def texts(client: Client, room: str, count: int) -> list[tuple[int, str]]:
    """The first `count` texts this client is shown of a room, live, in the order of their rows."""
    seqs: dict[str, int] = {}
    found: dict[int, str] = {}
    async for event in client.events():
        if isinstance(event, Row) and event.stream == room and event.id:
            seqs[event.id] = event.seq
            if event.body and "text" in event.body:
                found[event.seq] = event.body["text"]
        elif isinstance(event, BodyEvent) and event.id in seqs and event.body and "text" in event.body:
            found[seqs[event.id]] = event.body["text"]
        if len(found) == count:
            break
    return sorted(found.items())


def test_same_client_id_stands_once_and_another_text_under_it_is_refused(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, _):
            room, client_id = await ada.create_room("Once"), str(uuid.uuid4())
            first = await ada.send(room.id, "once", client_id=client_id)
            again = await ada.send(room.id, "once", client_id=client_id)
            assert (again.id, again.seq) == (first.id, first.seq)
            other = await ada.send(room.id, "twice", client_id=client_id)
            assert (other.state, other.code) == ("refused", "client_id_reused")

    town.play(play)


def test_history_pages_join_without_a_hole(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, _):
            room = await ada.create_room("Pages")
            for no in range(25):
                await ada.send(room.id, f"line {no}")
            pages = [page.rows async for page in ada.history(room.id, limit=10)]
            assert len(pages) == 3
            seqs = [row.seq for rows in reversed(pages) for row in rows]
            assert seqs == list(range(1, len(seqs) + 1))

    town.play(play)


def test_redacted_text_is_gone_for_both(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, kenji):
            room = await ada.create_room("Regret", [kenji.person.id])
            posted = await ada.send(room.id, "I regret this")
            await until(kenji, Row, lambda row: row.id == posted.id)
            await ada.redact(room.id, posted.id or "")
            await until(kenji, Row, lambda row: row.kind == "redaction" and row.target == posted.id)
            async for page in kenji.history(room.id):
                assert [row.state for row in page.rows if row.id == posted.id] == ["erased"]

    town.play(play)


def test_direct_room_is_the_same_from_both_sides(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, kenji):
            one = await ada.direct(kenji.person.id)
            other = await kenji.direct(ada.person.id)
            assert one.id == other.id
            assert one.kind == "direct"

    town.play(play)


def test_invited_later_and_removed_again(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, kenji):
            room = await ada.create_room("Guests")
            before = await ada.send(room.id, "before")
            await ada.invite(room.id, kenji.person.id)
            await until(kenji, Row, lambda row: row.stream == room.id and row.kind == "join")
            async for page in kenji.history(room.id):
                assert all(row.seq > (before.seq or 0) for row in page.rows)
            await ada.remove(room.id, kenji.person.id)
            await until(kenji, Row, lambda row: row.kind == "removed" and row.target == room.id)
            posted = await kenji.send(room.id, "too late")
            assert (await kenji.fate(posted)).state == "refused"
            assert room.id not in [one.id for one in await kenji.rooms()]

    town.play(play)


def test_reading_moves_the_unread_count(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, kenji):
            room = await ada.create_room("Unread", [kenji.person.id])
            posted = await ada.send(room.id, "read me")
            await until(kenji, Row, lambda row: row.id == posted.id)
            assert [one.unread for one in await kenji.rooms() if one.id == room.id] == [1]
            await kenji.mark_read(room.id, posted.seq or 0)
            assert [one.unread for one in await kenji.rooms() if one.id == room.id] == [0]

    town.play(play)


def test_presence_is_seen_across_regions(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, kenji):
            ada.watch([kenji.person.id])
            await until(ada, Presence, lambda seen: seen.person == kenji.person.id and seen.state == "online")
            await kenji.set_presence("busy", "drawing maps")
            seen = await until(ada, Presence, lambda seen: seen.state == "busy")
            assert seen.text == "drawing maps"
            await kenji.set_presence("online")

    town.play(play)


def test_renewed_token_keeps_the_socket(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, _):
            ada.core.renew_at = ada.stream.now()  # the time has come
            ada.stream._tick()
            await eventually_async(lambda: ada.core.token_no == 1)
            room = await ada.create_room("Renewed")
            assert (await ada.send(room.id, "still here")).state == "placed"
            assert ada.core.socks == 1

    town.play(play)


def test_sign_out_everywhere_ends_every_session(town: Town) -> None:
    async def play() -> None:
        async with await town.sign_in("apac") as one, await town.sign_in("apac") as other:
            await until(one, CaughtUp)
            await until(other, CaughtUp)
            await other.sign_out(everywhere=True)
            assert (await until(one, Ended)).code in ("revoked", "signed_out")
            assert (await until(other, Ended)).code in ("revoked", "signed_out")

    town.play(play)


def test_killed_door_is_noticed_and_passed_over(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, _):
            room = await ada.create_room("Doors")
            assert ada.core.link is not None
            door = ada.core.link.door
            sites = {door.address: door for door in ada.core.doors.known}
            victims = [
                process
                for process in await town.stage.processes()
                if process.site == door.site and process.name == f"door{int(door.address.rsplit('.', 1)[1]) - 11}"
            ]
            assert len(victims) == 1
            assert door.address in sites
            os.kill(victims[0].pid or 0, 9)
            posted = await ada.send(room.id, "over another door")
            assert posted.state == "placed"
            again = await until(ada, Connected)
            assert again.resumed
            await town.stage.wait_ready()

    town.play(play)


def test_a_file_goes_on_over_the_loss_of_its_site_and_reaches_another_region(town: Town, tmp_path: Path) -> None:
    content = os.urandom(6 * 1_048_576 + 17)
    (tmp_path / "far.bin").write_bytes(content)
    done: list[int] = []

    async def play() -> None:
        async with town.both() as (ada, kenji):
            room = await ada.create_room("Files", [kenji.person.id])
            served = (await ada.me()).served_by.site

            def progress(received: int, total: int) -> None:
                assert total == len(content)
                if not done:
                    losing.append(asyncio.create_task(town.stage.kill_site(served)))
                done.append(received)

            losing: list[asyncio.Task[None]] = []
            file = await ada.upload(tmp_path / "far.bin", on_progress=progress)
            await losing[0]
            assert (file.name, file.state, done[-1]) == ("far.bin", "ready", len(content))
            assert done == sorted(done)
            first, second = await asyncio.gather(
                ada.send(room.id, "", files=[file]), ada.send(room.id, "said after it")
            )
            assert (first.seq or 0) < (second.seq or 0), "what is said behind a file stays behind it"
            row = await until(
                kenji, Row, lambda row: row.stream == room.id and row.kind == "entry" and row.target is None
            )
            if row.body is None:
                body = (await until(kenji, BodyEvent, lambda event: event.id == row.id)).body
            else:
                body = row.body
            assert body is not None
            assert body["files"] == [
                {"id": file.id, "name": "far.bin", "type": file.type, "size": file.size, "thumbnail": False}
            ]
            await kenji.download(file.id, tmp_path / "back.bin")
            await town.stage.restore()

    town.play(play)
    assert (tmp_path / "back.bin").read_bytes() == content


def test_an_upload_of_an_earlier_run_is_gone_on_with(town: Town) -> None:
    content = os.urandom(2 * 1_048_576)

    async def play() -> None:
        class Enough(Exception):
            pass

        def stop(_done: int, _total: int) -> None:
            raise Enough

        async with await town.sign_in("emea") as ada:
            with pytest.raises(Enough):
                await ada.upload(content, "later.bin", on_progress=stop)
            (begun,) = [file async for file in ada.files() if file.state == "uploading"]
            with pytest.raises(Refused, match="file_changed"):
                await ada.upload(content[1:], resume=begun.id)
            parts: list[int] = []
            file = await ada.upload(content, resume=begun.id, on_progress=lambda done, _: parts.append(done))
            assert (file.id, parts) == (begun.id, [len(content)])
            assert await ada.download(file.id) == content
            await ada.delete_file(file.id)
            with pytest.raises(Refused, match="file_unknown"):
                await ada.download(file.id)

    town.play(play)


def test_a_picture_becomes_an_avatar(town: Town) -> None:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (400, 300), "navy").save(out, "PNG")

    async def play() -> None:
        async with town.both() as (ada, kenji):
            file = await ada.upload(out.getvalue(), "me.png")
            assert Image.open(io.BytesIO(await ada.thumbnail(file.id))).size == (320, 240)
            tag = await ada.set_avatar(file)
            shown = await kenji.avatar(ada.person.id)
            assert Image.open(io.BytesIO(shown)).size == (256, 256)
            assert tag in [person.avatar for person in await kenji.people()]
            assert await ada.set_avatar(None) is None

    town.play(play)


def test_home_out_of_reach_is_said_and_waited_out(town: Town) -> None:
    async def play() -> None:
        person = town.people["apac"]
        doors = town.stage.doors_of("paris")
        domain, ca = town.stage.world.domain, town.stage.ca
        async with await Client.sign_in(doors, person["login"], person["password"], ca=ca, domain=domain) as kenji:
            await until(kenji, CaughtUp)
            room = await kenji.create_room("Cut off")
            await town.stage.cut("emea", "apac")
            try:
                await until(kenji, Lost)
                with pytest.raises(Unavailable) as caught:
                    await kenji.me()
                assert (caught.value.code, caught.value.region) == ("home_unreachable", "apac")
                waiting = asyncio.create_task(kenji.send(room.id, "said during the cut"))
            finally:
                await town.stage.heal()
            assert (await waiting).state == "placed"
            await until(kenji, CaughtUp)

    town.play(play)


@pytest.mark.long
def test_who_was_away_for_too_long_reads_the_history_anew(town: Town) -> None:
    async def play() -> None:
        async with town.both() as (ada, kenji):
            room = await kenji.create_room("Busy", [ada.person.id])
            await until(ada, Row, lambda row: row.stream == room.id and row.kind == "entry")
            ada.stream._do(ada.core.pause(0.0))
            for start in range(0, 2_200, 200):
                await asyncio.gather(*(kenji.send(room.id, f"line {start + no}") for no in range(200)))
            ada.stream._do(ada.core.unpause(ada.stream.now()))
            reset = await until(ada, Reset)
            assert reset.stream == room.id
            last = await kenji.send(room.id, "the last")
            row = await until(ada, Row, lambda row: row.stream == room.id)
            assert (row.seq, row.id) == (last.seq, last.id)

    town.play(play)


@pytest.mark.parametrize(
    ("example", "says"),
    [("hello.py", "placed as number"), ("export.py", '"body"'), ("send_file.py", "came back as it was")],
)
def test_examples_of_the_handbook_run(town: Town, example: str, says: str) -> None:
    person = town.people["emea"]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "docs" / "examples" / example)],
        env=os.environ
        | {
            "MOONBOW_URL": town.url,
            "MOONBOW_LOGIN": person["login"],
            "MOONBOW_PASSWORD": person["password"],
            "MOONBOW_CA": str(town.stage.ca),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_echo_bot_answers_each_question_once(town: Town) -> None:
    person = town.people["apac"]
    account = {"LOGIN": person["login"], "PASSWORD": person["password"], "URL": town.url, "CA": str(town.stage.ca)}
    with subprocess.Popen(
        [sys.executable, str(ROOT / "docs" / "examples" / "echo_bot.py")],
        env=os.environ | {f"MOONBOW_{name}": value for name, value in account.items()},
        stdout=subprocess.PIPE,
        text=True,
    ) as bot:
        try:
            assert bot.stdout is not None
            assert "connected" in bot.stdout.readline()

            async def play() -> None:
                async with await town.sign_in("emea") as ada:
                    kenji = next(one.id for one in await ada.people() if one.region == "apac" and one.role != "guest")
                    room = await ada.create_room("Echo", [kenji])
                    await until(ada, Row, lambda row: row.stream == room.id and row.kind == "join")
                    await ada.send(room.id, "!echo one")
                    await ada.send(room.id, "!echo two")
                    said = [text for _, text in await texts(ada, room.id, 4)]
                    assert sorted(said) == ["!echo one", "!echo two", "one", "two"]

            town.play(play)
        finally:
            bot.terminate()
