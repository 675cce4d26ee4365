"""A body that was on its way while its redaction was committed here is not shown, and not kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

from federation_pair import Side, with_sides
from moonbow.base.limits import RPC_TIMEOUT_S
from moonbow.gateway.flow import Flow
from moonbow.timeline import transactions
from support import eventually_async
from timeline_stores import make_room, person, room, rows, say

ADA, FAR = person(1), person(1, "apac")
HERE = room(1)


def test_a_redaction_overtakes_a_body(tmp_path: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        await make_room(emea.store, HERE, ADA, FAR)
        await eventually_async(lambda: _has(apac, 2))
        answer = await say(apac.store, FAR, HERE, "soon regretted")
        await eventually_async(lambda: _has(emea, 3))
        flow = Flow("gwy_emea_test", emea.store)
        flow.federation = emea.federation
        entries = (await rows(emea.store, HERE))[-1:]
        straight = emea.line.request

        async def slow(region: str, op: str, payload: bytes, timeout_s: float = RPC_TIMEOUT_S) -> bytes:
            found = await straight(region, op, payload, timeout_s)
            await emea.store.write(transactions.redact, ADA, HERE, answer.entry or "")
            return found

        emea.line.request = slow  # type: ignore[method-assign]
        for _ in range(2):
            assert await flow.foreign.fetch_now(entries) == {answer.entry: ("erased", None)}
        assert flow.live.bodies.get(answer.entry or "", flow.clock()) is None

    asyncio.run(with_sides(tmp_path, go, "emea", "apac"))


async def _has(side: Side, head: int) -> bool:
    return len(await rows(side.store, HERE)) >= head
