"""Two regions are cut from each other under load; gateways die between the two steps of messages that cross."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from moonbow.base.errors import Refused, Unavailable

from .. import laws
from ..crowd import Member
from ..drill import Drill
from ..stage import send_signal

BEFORE_S, CUT_S, AFTER_S = 3.0, 8.0, 4.0
INSIDE_S = 3.0  # the law: a room inside a region does not mind, though its gateways are being killed
HEALED_S = 10.0  # the law: what crossed is on every screen so long after the healing


@dataclass(frozen=True)
class Removed:
    """Somebody taken out of a room during the cut."""

    member: Member
    room: str


async def play(drill: Drill) -> None:
    """Cut the first two regions; redact and remove meanwhile; heal, and see that everything holds."""
    await drill.assemble()
    one, other = drill.stage.regions()[:2]
    before, cut, after = (drill.lasting(s) for s in (BEFORE_S, CUT_S, AFTER_S))
    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(drill.crowd.talk(drill.rate, before + cut + after))
        await asyncio.sleep(before)
        cut_at = drill.recorder.done(f"{one} and {other} are cut from each other")
        await drill.stage.cut(one, other)
        await asyncio.sleep(cut / 4)
        redacted = await _redact_some(drill)
        removed = await _remove_one(drill)
        for region in (one, other):
            await asyncio.sleep(cut / 4)
            await _kill_gateways(drill, region)
        await asyncio.sleep(cut / 4)
        healed_at = drill.recorder.done("the cut is healed")
        await drill.stage.heal()
    await drill.finish()
    seen = drill.history
    drill.verdicts.append(laws.eventually_shown(seen, "inside", drill.near_rooms(), (cut_at, healed_at), INSIDE_S))
    drill.verdicts.append(laws.eventually_shown(seen, "across", drill.far, (cut_at, healed_at), HEALED_S, healed_at))
    drill.verdicts.append(laws.finally_redacted_is_gone(seen, redacted))
    drill.verdicts.append(laws.finally_removed_sees_nothing_more(seen, _where(drill, removed)))
    drill.numbers["messages a second"] = round(talking.result(), 1)


async def _kill_gateways(drill: Drill, region: str) -> None:
    sites = drill.stage.primaries(region)
    gateways = [p for p in await drill.stage.processes() if p.site in sites and p.name.startswith("gateway")]
    victim = drill.rng.choice(gateways)
    drill.recorder.done(f"kill {victim.key}, between keeping and placing")
    send_signal(victim, signal.SIGKILL)


async def _redact_some(drill: Drill) -> set[str]:
    """In every far room a member from elsewhere erases an own message, placed or only kept."""
    gone: set[str] = set()
    for room in drill.far:
        author = next(m for m in drill.crowd.rooms[room] if m.region != drill.crowd.rooms[room][0].region)
        mine = {sent.client_id for sent in drill.history.sent if sent.author == author.name and sent.room == room}
        entries = [a.id for a in drill.history.answered if a.client_id in mine and a.id and a.state != "refused"]
        for entry in {*entries[:1], *entries[-1:]}:
            try:
                await author.client.redact(room, entry)
            except (Refused, Unavailable) as trouble:
                drill.recorder.done(f"{author.name} could not redact: {trouble.code}")
            else:
                gone.add(entry)
                drill.recorder.done(f"{author.name} redacts {entry}")
    return gone


async def _remove_one(drill: Drill) -> list[Removed]:
    """The creator of the first far room takes out a member of the other region, who goes on talking."""
    room = drill.far[0]
    creator, *others = drill.crowd.rooms[room]
    member = next(one for one in reversed(others) if one.region != creator.region)
    await creator.client.remove(room, member.id)
    drill.crowd.left.add((member.name, room))
    drill.recorder.done(f"{creator.name} removes {member.name}, who is out of reach and talks on")
    return [Removed(member, room)]


def _where(drill: Drill, removed: list[Removed]) -> dict[tuple[str, str], int]:
    """(reader, room) -> the seq of the removal; 0 when no removal was ever placed, which the law then shows."""
    found: dict[tuple[str, str], int] = {}
    for one in removed:
        lines = drill.history.final_of(one.room)
        seqs = [line.seq for line in lines if line.kind == "leave" and line.target == one.member.id]
        found[one.member.name, one.room] = max(seqs, default=0)
    return found
