"""The operator's hand on a world, without its processes: orders end in time, whatever else goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from moonbow.director.orders import parse_orders
from moonbow.launch.orders import Request
from moonbow.launch.service import Service
from moonbow.launch.supervisor import Supervisor
from moonbow.world import load_world
from support import eventually_async

WORLD = load_world(Path(__file__).parents[2] / "worlds" / "laptop.toml")


def test_orders_end_in_time_while_another_request_takes_long(tmp_path: Path) -> None:
    async def play() -> None:
        service = Service(WORLD, tmp_path, Supervisor(()))
        minding = asyncio.create_task(service.mind_orders())
        wanted: Request = {"kind": "drain", "target": "capetown", "for_s": 1, "wait": False}
        await service.answer("order", wanted)
        async with service._one_at_a_time:  # as `start` does for as long as a site takes
            assert parse_orders((tmp_path / "overrides.json").read_bytes()).drain == ("capetown",)
            await eventually_async(lambda: not parse_orders((tmp_path / "overrides.json").read_bytes()).drain)
        assert not minding.done()
        minding.cancel()
        await asyncio.gather(minding, return_exceptions=True)
        await eventually_async(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(play())


def test_an_order_that_cannot_be_written_is_not_taken_for_given(tmp_path: Path) -> None:
    """A full disk: what the launcher says is what others read."""

    async def play() -> None:
        service = Service(WORLD, tmp_path / "gone", Supervisor(()))
        wanted: Request = {"kind": "weight", "target": "paris", "value": 50, "wait": False}
        try:
            await service.answer("order", wanted)
        except OSError:
            assert not service.orders.orders
        else:
            raise AssertionError("it was written nowhere")

    asyncio.run(play())
