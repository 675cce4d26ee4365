"""Doors follow what their site's director has decided, and the operator alone while no director follows him."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from balancer.stage import Stage
from balancer.test_process import health, running
from moonbow.wire.views import SiteVerdict, Verdicts, encode_verdicts
from support import eventually_async

pytestmark = pytest.mark.engines


def decide(stage: Stage, site: str, drain: tuple[str, ...] = (), unfit: tuple[str, ...] = ()) -> Path:
    """Write the verdicts of a site's director."""
    sites = {ref.site.name: SiteVerdict(2 if ref.site.name in unfit else 0, "") for ref in stage.world.sites()}
    path = stage.state / "sites" / site / "director" / "verdicts.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode_verdicts(Verdicts(1, 0.0, False, "", drain, (), sites)))
    return path


def wishes(stage: Stage, site: str) -> set[str | None]:
    """What the door's file says of the endpoints of sister sites."""
    path = stage.state / "sites" / site / "door0" / "eds-local-rest.json"
    far = json.loads(path.read_text())["resources"][0]["endpoints"][1:]
    return {one.get("health_status") for locality in far for one in locality["lb_endpoints"]}


def test_the_directors_word_reaches_the_door(stage: Stage) -> None:
    async def story() -> None:
        async with running(stage, "frankfurt"):
            path = decide(stage, "frankfurt", unfit=("paris", "frankfurt"))
            await eventually_async(lambda: wishes(stage, "frankfurt") == {"DEGRADED"})
            assert await asyncio.to_thread(health, stage, 200), "its own gateways are its own business"
            decide(stage, "frankfurt", drain=("frankfurt",))
            await eventually_async(lambda: asyncio.to_thread(health, stage, 503))
            decide(stage, "frankfurt")
            await eventually_async(lambda: asyncio.to_thread(health, stage, 200))
            path.unlink()

    before = stage.rejected("frankfurt")  # another test of this stage has a file refused
    try:
        asyncio.run(story())
        assert stage.rejected("frankfurt") == before
    finally:
        (stage.state / "sites/frankfurt/director/verdicts.json").unlink(missing_ok=True)


def test_a_director_that_does_not_follow_the_operator_is_not_followed(stage: Stage) -> None:
    async def story() -> None:
        async with running(stage, "frankfurt") as balancer:
            path = decide(stage, "frankfurt", unfit=("paris",))
            await eventually_async(lambda: wishes(stage, "frankfurt") == {"DEGRADED"})
            stage.write("overrides.json", {})
            for file, age_s in ((path, 60.0), (stage.state / "overrides.json", 30.0)):
                os.utime(file, (time.time() - age_s,) * 2)
            await eventually_async(lambda: wishes(stage, "frankfurt") == {None})
            assert balancer.verdicts is None
            path.unlink()

    asyncio.run(story())


def test_an_edge_follows_the_director_that_spoke_last(stage: Stage) -> None:
    async def story() -> None:
        async with running(stage, "capetown") as balancer:
            old, new = decide(stage, "paris", drain=("capetown",)), decide(stage, "frankfurt")
            os.utime(old, (time.time() - 60.0,) * 2)
            await eventually_async(lambda: balancer.verdicts is not None and balancer.verdicts.drain == ())
            decide(stage, "paris", drain=("capetown",))
            await eventually_async(lambda: balancer.verdicts is not None and balancer.verdicts.drain == ("capetown",))
            old.unlink()
            new.unlink()

    asyncio.run(story())
