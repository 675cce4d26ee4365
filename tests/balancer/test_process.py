"""The controller as a task: it notices files, keeps the last good word, and sees what Envoy refuses."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from balancer.stage import Signer, Stage
from moonbow.balancer.process import Balancer, door_argv
from support import eventually, eventually_async

pytestmark = pytest.mark.engines


@asynccontextmanager
async def running(stage: Stage, site: str) -> AsyncIterator[Balancer]:
    balancer = Balancer(stage.world, stage.ref(site), stage.state)
    balancer.write_all()
    task = asyncio.create_task(balancer.run())
    try:
        yield balancer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def accepts(stage: Stage, token: str) -> bool:
    return stage.ask("frankfurt", "/v1/me", token=token).status == 200


def test_published_keys_and_the_operators_word_reach_the_door(stage: Stage) -> None:
    new = Signer("emea")

    async def story() -> None:
        async with running(stage, "frankfurt"):
            stage.publish("frankfurt", new, stage.signers["apac"])
            await eventually_async(lambda: asyncio.to_thread(accepts, stage, new.token()))
            stage.write("sites/frankfurt/jwks.json", {"emea": [{"kid": "bad", "x": "short"}]})
            stage.write("overrides.json", {"down": ["frankfurt"]})
            await eventually_async(lambda: asyncio.to_thread(health, stage, 503))
            assert await asyncio.to_thread(accepts, stage, new.token())  # the last good keys stand
            stage.publish("frankfurt", *stage.signers.values())
            stage.write("overrides.json", {})
            await eventually_async(lambda: asyncio.to_thread(health, stage, 200))
            await eventually_async(lambda: asyncio.to_thread(accepts, stage, stage.signers["emea"].token()))

    asyncio.run(story())


def health(stage: Stage, status: int) -> bool:
    return stage.ask("frankfurt", "/healthz").status == status


def test_a_file_that_envoy_refuses_is_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with running(stage, "frankfurt") as balancer:
            await eventually_async(lambda: "rds-door.json" in balancer.doors[0].written)
            broken = json.loads(balancer.doors[0].written["rds-door.json"])
            broken["resources"][0]["virtual_hosts"][0]["domains"] = []
            stage.write("sites/frankfurt/door0/rds-door.json", broken)
            await eventually_async(lambda: asyncio.to_thread(lambda: bool(stage.rejected("frankfurt"))))
            assert await asyncio.to_thread(accepts, stage, stage.signers["emea"].token())  # the old table serves
            stage.publish("frankfurt", *stage.signers.values(), Signer("na"))
            stage.write("sites/frankfurt/jwks.json", {"emea": [stage.signers["emea"].public()] * 2})
            await eventually_async(lambda: any("refused a file" in record.message for record in caplog.records))

    with caplog.at_level(logging.ERROR, "moonbow.balancer"):
        asyncio.run(story())
    stage.publish("frankfurt", *stage.signers.values())
    balancer = Balancer(stage.world, stage.ref("frankfurt"), stage.state)
    balancer.write_all()
    eventually(lambda: accepts(stage, stage.signers["apac"].token()))


def test_a_door_without_keys_serves_the_anonymous_and_lets_nobody_in(stage: Stage) -> None:
    """And a door whose administration is silent has its files written all the same."""
    stage.kill("door-singapore")
    keys = stage.state / "sites/singapore/jwks.json"
    keys.unlink()
    stage.start_door("singapore", keys=False)
    eventually(lambda: stage.ask("singapore", "/v1/bootstrap").status == 200, within_s=8)
    token = stage.signers["apac"].token()
    assert stage.ask("singapore", "/v1/me", token=token).json["code"] == "token_invalid"
    stage.publish("singapore", *stage.signers.values())
    stage.balancers["singapore"].write_all()
    eventually(lambda: stage.ask("singapore", "/v1/me", token=token).status == 200)
    eventually(lambda: stage.ask("paris", "/v1/me", token=token).status == 200, within_s=8)


def test_the_command_line_needs_no_shared_memory_and_one_thread(stage: Stage) -> None:
    argv = door_argv(stage.world, stage.ref("paris"), 0, stage.state)
    assert argv[argv.index("-c") + 1] == str(stage.state / "sites/paris/door0/bootstrap.json")
    assert "--disable-hot-restart" in argv
    assert argv[argv.index("--concurrency") + 1] == "1"
