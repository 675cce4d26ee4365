"""A region's disk is lost under load: it comes back from a backup that was taken while people wrote.

What is lost is said: what people of the region wrote after the backup, and what was ordered after it in rooms that no
other region has a copy of.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moonbow.backup.compare import Differences
from moonbow.backup.model import Manifest
from moonbow.backup.process import compare_region, key_file, shelf_of
from moonbow.base.errors import ConfigError, Refused
from moonbow.base.programs import run_program
from moonbow.files.ports import Missing
from moonbow.files.process import objects_folder, open_objects, open_store

from .. import laws
from ..crowd import PASSWORD, Member, sign_in
from ..drill import Drill
from ..private import PrivateStage
from ..waiting import until

BEFORE_S, SINCE_S, AFTER_S = 4.0, 4.0, 5.0
COMMAND_S = 120.0
NOTED_S = 25.0  # for an erasure to be noted beside the archives: every ten seconds
BROUGHT_IN_S = 120.0  # for what a restore has left beside the store
OBJECTS, OBJECT_BYTES = 20, 100_000
# Tables of whichever engine.  What a restore changes: numbers of a new epoch, sessions.
RENEWED = frozenset({
    "meta", "timeline_meta", "applied", "outbox", "out_no", "family", "shared", "shared_log", "shared_head",
})  # fmt: skip
# What erasing somebody again changes.
OF_ERASED = frozenset({"post", "body", "person", "credential", "erased", "release", "revocation"})


@dataclass(frozen=True)
class Taken:
    """The backup, and when it was asked for, in the drill's seconds."""

    data: Manifest
    keys: Manifest
    began: float


async def play(drill: Drill) -> None:
    """Back up the first region while people write; lose its folder; restore it; go on."""
    assert isinstance(drill.stage, PrivateStage)
    region = drill.stage.regions()[0]
    await drill.assemble()
    planted = await _plant_objects(drill, region)
    before, since, after = (drill.lasting(s) for s in (BEFORE_S, SINCE_S, AFTER_S))
    lost = asyncio.Event()

    async def talk() -> None:
        while not lost.is_set():
            await drill.crowd.talk(drill.rate, 0.5)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk())
        await asyncio.sleep(before)
        taken = await _back_up(drill, region)
        await asyncio.sleep(since)
        erased = await _erase_one(drill, region)
        await asyncio.sleep(since)
        lost.set()
    await drill.crowd.settle()
    key = await _lose(drill, drill.stage, region)
    differences = await _restore(drill, region, taken, key)
    await drill.stage.start_world()
    back_at = drill.recorder.done(f"{region} is back")
    await _sign_in_again(drill, region, erased)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(drill.crowd.talk(drill.rate, after))
    await drill.crowd.settle()
    await drill.crowd.read_back()
    _judge(drill, region, taken, erased, differences, back_at)
    drill.verdicts.append(await _cannot_sign_in(drill, erased))
    drill.verdicts.append(await _rest_where_they_did(drill, region, planted))


async def _plant_objects(drill: Drill, region: str) -> dict[str, bytes]:
    planted = {f"drill/{no}": drill.rng.randbytes(OBJECT_BYTES) for no in range(OBJECTS)}
    objects = open_objects(drill.stage.world, drill.stage.state, region)
    for key, content in planted.items():
        await objects.put(key, content)
    return planted


async def _back_up(drill: Drill, region: str) -> Taken:
    began = drill.recorder.done(f"a backup of {region} begins")
    started = time.monotonic()
    await _moonbow(drill, "backup", "run", region)
    drill.numbers["backup and its check, s"] = round(time.monotonic() - started, 1)
    *_, data, keys = (one.manifest for one in shelf_of(drill.stage.world, drill.stage.state, region).archives())
    drill.recorder.done(f"backup {data.id} stands at {data.kept_at}")
    return Taken(data, keys, began)


async def _erase_one(drill: Drill, region: str) -> Member:
    """Erase somebody after the backup; nothing but the list beside the archives knows of it."""
    creators = {people[0].name for people in drill.crowd.rooms.values()}
    victim = next(one for one in drill.crowd.members if one.region == region and one.name not in creators)
    for room, people in drill.crowd.rooms.items():
        drill.crowd.rooms[room] = [one for one in people if one is not victim]
    drill.crowd.members.remove(victim)
    async with drill.admin() as admin:
        await admin.rest.ask("DELETE", f"/v1/people/{victim.id}")
    drill.recorder.done(f"{victim.name} is erased, after the backup")
    shelf = shelf_of(drill.stage.world, drill.stage.state, region)
    if not await until(lambda: victim.id in shelf.erased(), NOTED_S):
        raise ConfigError(f"the erasure was not noted beside the backups within {NOTED_S:g} s")
    return victim


async def _lose(drill: Drill, stage: PrivateStage, region: str) -> Path:
    """Stop the world and delete the region's folder; the backup key was kept elsewhere."""
    key = stage.state.parent / "kept-elsewhere.key"
    shutil.copyfile(key_file(stage.state, region), key)
    await stage.stop_world()
    shutil.rmtree(stage.state / "regions" / region)
    for pattern in ("sites/*/sql", "sites/*/objects"):
        for node in stage.state.glob(pattern):
            if stage.world.site(node.parent.name).region == region:
                shutil.rmtree(node)
    drill.recorder.done(f"the disks of {region} are gone")
    return key


async def _restore(drill: Drill, region: str, taken: Taken, key: Path) -> Differences:
    started = time.monotonic()
    await _moonbow(drill, "backup", "restore", region, taken.data.id, "--key", str(key))
    drill.numbers["restore, s"] = round(time.monotonic() - started, 1)
    _, differences = await compare_region(drill.stage.world, drill.stage.state, region, taken.data.id)
    return differences


async def _sign_in_again(drill: Drill, region: str, erased: Member) -> None:
    """Everybody of the region has to; their old clients are told that their session is over."""
    crowd = drill.crowd
    again: dict[str, Member] = {}
    for old in crowd.members:
        if old.region == region:
            client = await sign_in(drill.stage, old.site, _login(drill, old), PASSWORD)
            again[old.name] = Member(f"{old.name}+", region, old.site, client)
    crowd.members = [again.get(one.name, one) for one in crowd.members]
    for room, people in crowd.rooms.items():
        crowd.rooms[room] = [again.get(one.name, one) for one in people]
    lost = [room for room in crowd.rooms if not await _stands(crowd.rooms[room][0], room)]
    drill.verdicts.append(laws.judge("finally_rooms_stand", f"{len(crowd.rooms)} rooms", iter(lost)))
    await crowd.listen(list(again.values()))
    drill.recorder.done(f"{len(again)} people of {region} have signed in again, without {erased.name}")


async def _stands(member: Member, room: str) -> bool:
    return room in {one.id for one in await member.client.rooms()}


def _login(drill: Drill, member: Member) -> str:
    return f"{member.name}-{drill.crowd.tag}@drill.test"


async def _cannot_sign_in(drill: Drill, erased: Member) -> laws.Verdict:
    faults: list[str] = []
    try:
        client = await sign_in(drill.stage, erased.site, _login(drill, erased), PASSWORD)
    except Refused:
        pass
    else:
        await client.rest.close()
        faults.append(f"{erased.name} signed in")
    return laws.judge("finally_erased_cannot_sign_in", "one person", iter(faults))


async def _rest_where_they_did(drill: Drill, region: str, planted: dict[str, bytes]) -> laws.Verdict:
    """In the region's store, whatever a restore had to leave beside it."""
    world, state = drill.stage.world, drill.stage.state
    objects, faults = open_objects(world, state, region), list[str]()
    if world.regions[region].data.objects != "directory":
        if not await until(lambda: not objects_folder(state, region).exists(), BROUGHT_IN_S):
            faults.append("not everything was brought into the store")
        objects = open_store(world, state, region)
    for key, content in planted.items():
        try:
            same = await objects.get(key) == content
        except Missing:
            same = False
        if not same:
            faults.append(f"{key} is not in the store as it was")
    return laws.judge("finally_objects_rest_where_they_did", f"{len(planted)} objects", iter(faults))


def _judge(drill: Drill, region: str, taken: Taken, erased: Member, differences: Differences, back_at: float) -> None:
    seen = drill.history
    author = {sent.client_id: sent for sent in seen.sent}
    answers = [one for one in seen.last_answers().values() if one.state == "placed" and one.client_id in author]
    texts = {room: {line.text for line in seen.final_of(room)} for room in seen.rooms()}

    def missing(wanted: list[str]) -> Iterator[str]:
        for client_id in wanted:
            sent = author[client_id]
            if sent.text not in texts.get(sent.room, ()):
                yield f"{sent.text!r} is not in {sent.room}"

    mine = [one.client_id for one in answers if author[one.client_id].author.startswith(region)]
    backed_up = [one.client_id for one in answers if one.client_id in mine and one.at < taken.began]
    backed_up = [one for one in backed_up if author[one].author != erased.name]
    since = [one.client_id for one in answers if author[one.client_id].at > back_at]
    others = [
        one.client_id
        for one in answers
        if one.client_id not in mine and author[one.client_id].room not in drill.near[region]
    ]
    drill.verdicts += [
        laws.judge("finally_backed_up_is_there", f"{len(backed_up)} messages", missing(backed_up)),
        laws.judge("finally_others_lost_nothing", f"{len(others)} messages of other regions", missing(others)),
        laws.judge("finally_all_goes_on", f"{len(since)} messages after the restore", missing(since)),
        laws.judge("finally_places_stand", "rows seen elsewhere before the loss", _moved(drill, region)),
        laws.judge("finally_erased_stays_erased", erased.name, _revived(drill, erased)),
        laws.judge(
            "finally_rows_and_objects_are_the_manifests",
            f"{sum(sum(one.rows.values()) for one in taken.data.payloads)} rows, {taken.data.objects} objects",
            _differing(taken, differences),
        ),
        laws.finally_no_message_stands_twice(seen),
        laws.finally_all_see_the_same_order(seen),
        laws.always_rows_come_once_and_in_order(seen),
    ]
    lost = [one for one in mine if one not in backed_up and one not in since]
    drill.numbers["texts of the region since the backup"] = len(lost)
    drill.numbers["of these lost"] = sum(1 for _ in missing(lost))


def _moved(drill: Drill, region: str) -> Iterator[str]:
    """What people of other regions had been shown stands where it stood."""
    final = {room: {line.seq: line for line in drill.history.final_of(room)} for room in drill.far}
    for shown in drill.history.shown:
        if shown.room in final and not shown.reader.startswith(region):
            stands = final[shown.room].get(shown.line.seq)
            if stands is None or (stands.kind, stands.id) != (shown.line.kind, shown.line.id):
                yield f"{shown.reader} saw {shown.line.id} at {shown.line.seq} of {shown.room}; there is {stands}"


def _revived(drill: Drill, erased: Member) -> Iterator[str]:
    for reader, rooms in drill.history.final.items():
        for room, lines in rooms.items():
            yield from (
                f"{reader} reads {one.text!r} in {room}" for one in lines if one.author == erased.id and one.text
            )


def _differing(taken: Taken, differences: Differences) -> Iterator[str]:
    for table, (lost, more) in differences.rows.items():
        if table.rpartition(".")[2] not in RENEWED | OF_ERASED:
            yield f"{table}: {lost} rows are missing, {more} are others"
    yield from (f"object {name}" for name in differences.objects)
    if taken.data.objects < OBJECTS:
        yield f"only {taken.data.objects} objects were copied"


async def _moonbow(drill: Drill, *words: str) -> None:
    """A command of the operator; `ConfigError` with its last words if it fails."""
    argv = (sys.executable, "-P", "-m", "moonbow.cli", *words, "--state", str(drill.stage.state))
    code, said = await run_program(COMMAND_S, *argv)
    if code:
        raise ConfigError(f"{' '.join(words)}: {said.strip()[-2000:]}")
