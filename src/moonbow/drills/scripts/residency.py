"""Words planted in each region are searched for on the disks of all others, before and after a kill -9 there.

The person of each region talks in a room inside it, and in one with a reader of another region who is shown every
word; and enters at another region's door from an address and with an agent of their own.  Then the residency audit,
which knows the words by salted marks only, must say the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from moonbow.sdk import BodyEvent, CaughtUp, Client, Row
from moonbow.watch.canaries import MAY_BE_AT_HOME, NEVER_ON_DISK, SEALED, Kind, make_canary, make_word, plant_marks
from moonbow.watch.run import run_audit
from moonbow.watch.search import search

from .. import laws
from ..crowd import PASSWORD, Member, sign_in
from ..drill import Drill
from ..waiting import until

SHOWN_S = 10.0


@dataclass
class Planted:
    """One region's person, the words of theirs, and the reader elsewhere who is to be shown some of them."""

    region: str
    member: Member
    words: dict[Kind, str]
    reader: Client
    shown: set[str] = field(default_factory=set[str])


async def play(drill: Drill) -> None:
    """Plant, show, search; kill a site that showed; search again."""
    regions = drill.stage.regions()
    async with drill.admin() as admin, asyncio.TaskGroup() as tasks:
        planted = [
            await _plant(drill, admin, tasks, no, region, regions[(no + 1) % len(regions)])
            for no, region in enumerate(regions)
        ]
        for one in planted:
            wanted = {one.words["text"], one.words["emoji"]}
            await until(lambda one=one, wanted=wanted: wanted <= one.shown, SHOWN_S)  # type: ignore[misc]
        for one in planted:
            marks = (make_canary(one.region, kind, word) for kind, word in one.words.items())
            plant_marks(drill.stage.state, one.region, tuple(marks))
        drill.recorder.done("everything is planted and was shown across")
        _judge(drill, planted, "")
        await _audit(drill, "")
        site = drill.stage.primaries(regions[0])[0]
        await drill.stage.kill_site(site)
        drill.recorder.done(f"{site} loses power")
        _judge(drill, planted, "_after_a_kill")
        await _audit(drill, "_after_a_kill")
        await drill.stage.start_site(site)
        for one in planted:
            await one.reader.__aexit__(None, None, None)
            await one.member.client.rest.close()
    drill.numbers["words of the road that home's own log has"] = ", ".join(_kept_at_home(drill, planted)) or "none"


async def _plant(drill: Drill, admin: Client, tasks: asyncio.TaskGroup, no: int, region: str, other: str) -> Planted:
    tag = f"{region}{drill.crowd.tag}"
    made: tuple[Kind, ...] = ("text", "emoji", "title", "person", "status", "agent", "file", "content")
    words: dict[Kind, str] = {kind: make_word(kind) for kind in made}
    words["address"] = f"127.213.{77 + no}.{drill.rng.randrange(101, 250)}"
    member = await _person(drill, admin, region, words["person"], f"writer-{tag}@drill.test")
    reader = await _person(drill, admin, other, f"Reader {tag}", f"reader-{tag}@drill.test")
    near = await member.client.create_room(words["title"])
    far = await member.client.create_room(words["title"], [reader.id])
    client = await Client.sign_in(
        drill.stage.doors_from(drill.stage.primaries(other)[0]),  # roams: enters at the other region's door
        f"writer-{tag}@drill.test",
        PASSWORD,
        ca=drill.stage.ca,
        domain=drill.stage.world.domain,
        agent=words["agent"],
        source=words["address"],
    )
    found = Planted(region, member, words, reader.client)
    await reader.client.__aenter__()
    tasks.create_task(_read(reader.client, found))
    await until(lambda: far.id in reader.client.core.cursors.seen, SHOWN_S)
    async with client as me:
        await me.set_presence("busy", words["status"])
        file = await me.upload(words["content"].encode(), f"{words['file']}.txt")
        await me.send(far.id, "with a file", files=[file])
        for room in (near.id, far.id):
            await me.send(room, words["text"])
            await me.send(room, words["emoji"])
        async for event in me.events():
            if isinstance(event, CaughtUp):
                break
    words["id"] = (await _loner(drill, admin, region, tag)).id
    return found


async def _person(drill: Drill, admin: Client, region: str, name: str, login: str) -> Member:
    await admin.add_person(login, PASSWORD, name, region=region)
    site = drill.stage.primaries(region)[0]
    return Member(name, region, site, await sign_in(drill.stage, site, login, PASSWORD))


async def _loner(drill: Drill, admin: Client, region: str, tag: str) -> Member:
    """Somebody who shares no room across a border: then even the id must stay at home."""
    loner = await _person(drill, admin, region, f"Loner {tag}", f"loner-{tag}@drill.test")
    async with loner.client as me:
        room = await me.create_room()
        await me.send(room.id, "alone")
    return loner


async def _read(client: Client, planted: Planted) -> None:
    async for event in client.events():
        if isinstance(event, Row | BodyEvent) and event.body is not None:
            planted.shown |= {str(value) for value in event.body.values()}


def _judge(drill: Drill, planted: list[Planted], when: str) -> None:
    count = sum(len(one.words) for one in planted)
    verdicts = [
        laws.judge(f"always_at_rest_at_home_only{when}", f"{count} words on every other disk", _strays(drill, planted)),
        laws.judge(f"always_found_at_home{when}", "the control", _absent(drill, planted)),
    ]
    if not when:
        verdicts.append(laws.judge("eventually_shown_across", "the readers elsewhere", _unseen(planted)))
    drill.verdicts += verdicts


def _strays(drill: Drill, planted: list[Planted]) -> Iterator[str]:
    for one in planted:
        for name, paths in search(drill.stage.folders_without(one.region), one.words).items():
            yield from (f"the {name} of {one.region} stands in {path.relative_to(drill.stage.state)}" for path in paths)
        nowhere = {name: one.words[name] for name in NEVER_ON_DISK}
        for name, paths in search(drill.stage.folders_of(one.region), nowhere).items():
            yield from (
                f"the {name} of {one.region} is on disk: {path.relative_to(drill.stage.state)}" for path in paths
            )


def _absent(drill: Drill, planted: list[Planted]) -> Iterator[str]:
    for one in planted:
        for name, paths in search(drill.stage.folders_of(one.region), one.words).items():
            sealed = name in SEALED and drill.stage.world.regions[one.region].data.encrypted
            if not paths and not sealed and name not in NEVER_ON_DISK | MAY_BE_AT_HOME:
                yield f"the {name} of {one.region} is not even at home: the search proves nothing"


async def _audit(drill: Drill, when: str) -> None:
    """What `moonbow audit residency` finds, and which locks did not hold."""
    report = await asyncio.to_thread(run_audit, drill.stage.state)
    found = (f"{one.code} at {one.place} {one.table} {one.key}: {one.said}" for one in report.findings)
    loose = (f"{one.code} at {one.place}: {one.said}" for one in report.controls if one.held is False)
    drill.verdicts += [
        laws.judge(f"always_audited_clean{when}", f"{report.files} files, {report.rows} rows", found),
        laws.judge(f"always_locked{when}", f"{len(report.controls)} controls", loose),
    ]
    drill.recorder.done(f"audited in {report.lasted_s:.1f} s")


def _kept_at_home(drill: Drill, planted: list[Planted]) -> list[str]:
    """Which of the words that home may keep it does keep: then their absence elsewhere proves something."""
    found: set[str] = set()
    for one in planted:
        words = {name: one.words[name] for name in MAY_BE_AT_HOME}
        found |= {name for name, paths in search(drill.stage.folders_of(one.region), words).items() if paths}
    return sorted(found)


def _unseen(planted: list[Planted]) -> Iterator[str]:
    for one in planted:
        for name in ("text", "emoji"):
            if one.words[name] not in one.shown:
                yield f"the {name} of {one.region} was never shown elsewhere: the search proves nothing"
