"""The directory over the real bus: sign-in at any door, the shared log, ended sessions, a region cut off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from bus_servers import Links, Servers, running
from directory_house import CLIENT, refusal, trouble
from moonbow.base.errors import Broken, Refused
from moonbow.bus import Bus
from moonbow.directory.demo import Demo, DemoPerson
from moonbow.directory.process import Directory
from moonbow.directory.seed import seed
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_erasing, open_keys
from moonbow.wire.rest import NewPerson
from moonbow.world import load_world
from support import eventually_async

pytestmark = pytest.mark.engines
SITES = ("paris", "tokyo")
LAPTOP = Path(__file__).parents[2] / "worlds" / "laptop.toml"
NEW = NewPerson(login="nova@lunar.example", password="a long pass-phrase", name="Nova Star", region="apac")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The laptop's world in this room's slot, after its first start."""
    text = LAPTOP.read_text().replace('name = "laptop"', 'name = "laptop"\nslot = 6', 1)
    (tmp_path / "world.toml").write_text(text)
    asyncio.run(seed(tmp_path, time.time()))
    return tmp_path


@pytest.fixture
def servers(state: Path) -> Iterator[tuple[Servers, Links]]:
    with running(load_world(state / "world.toml"), state, *SITES) as found:
        yield found


@asynccontextmanager
async def directory(servers: Servers, site: str) -> AsyncIterator[Directory]:
    """What a gateway does with it."""
    ref = servers.world.site(site)
    bus = await Bus.connect(servers.world, servers.state, ref, f"test-{site}")
    keys = open_keys(servers.world, servers.state, HomeRegion.of(ref))
    erasing = open_erasing(servers.world, servers.state, HomeRegion.of(ref), keys)
    made = Directory.open(servers.world, servers.state, ref, bus, keys, erasing)

    async def serve(caller: str, op: str, payload: bytes) -> bytes:
        answer = await made.serve(caller, op, payload)
        if answer is None:
            raise Broken(f"nobody serves {op}")
        return answer

    try:
        await bus.serve(serve)
        await made.start()
        yield made
    finally:
        await made.close()
        await bus.close()
        await erasing.close()
        await keys.close()


def someone(state: Path, region: str) -> DemoPerson:
    demo = msgspec.json.decode((state / "world" / "demo.json").read_bytes(), type=Demo)
    return next(person for person in demo.companies[0].people if person.region == region)


def test_over_the_real_bus(servers: tuple[Servers, Links], state: Path) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            paris, sister, tokyo = [
                await stack.enter_async_context(directory(servers[0], site)) for site in ("paris", "paris", "tokyo")
            ]
            ada, priya = someone(state, "emea"), someone(state, "apac")
            await eventually_async(lambda: paris._bus.reachable("apac") and tokyo._bus.reachable("emea"))
            session = await tokyo.sign_in(ada.login, ada.password, client=CLIENT)
            claims = paris.check(session.access_token)
            wrong = await refusal(tokyo.sign_in(ada.login, "wrong", client=CLIENT))
            assert (wrong.code, wrong.status) == ("sign_in_refused", 401)
            assert (await refusal(tokyo.sign_in("nobody@x.example", "wrong", client=CLIENT))).code == wrong.code

            added = await paris.add_person(claims, NEW)
            assert added.region == "apac"
            login_hash = paris._staffing._key.hash(NEW.login)

            async def copied() -> bool:
                return (await tokyo.store.shared.login(login_hash)) is not None

            await eventually_async(copied)
            assert {p.region for p in (await tokyo.people(claims.org))[0]} == {"emea", "apac"}

            ended: list[str | None] = []
            sister.on_revoked(lambda _person, sid, _before: ended.append(sid))
            renewed = await tokyo.refresh(session.refresh_token)
            await paris.sign_out(claims)
            await eventually_async(lambda: ended == [claims.sid])
            with pytest.raises(Refused, match="token_revoked"):
                sister.check(renewed.access_token)

            servers[1].sever("paris", "tokyo")
            await eventually_async(lambda: not paris._bus.reachable("apac"))
            gone = await trouble(paris.sign_in(priya.login, priya.password, client=CLIENT))
            assert (gone.code, gone.region) == ("home_unreachable", "apac")
            unsure = await trouble(paris.sign_in("nobody@x.example", "wrong", client=CLIENT))
            assert unsure.code == "directory_incomplete"
            await paris.rotate()
            servers[1].heal("paris", "tokyo")
            jwks = state / "sites" / "tokyo" / "jwks.json"
            await eventually_async(lambda: len(msgspec.json.decode(jwks.read_bytes())["emea"]) == 2, within_s=15)
            await eventually_async(lambda: paris._bus.reachable("apac"))
            assert (await paris.sign_in(priya.login, priya.password, client=CLIENT)).person.region == "apac"

    asyncio.run(asyncio.wait_for(scenario(), 60))
