"""The shared plane: a closed list of types, and copies that converge whatever the way does to messages."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory_stores import open_directory_at
from moonbow.base.errors import Refused, Unavailable
from moonbow.federation.shared import LOG_OP, Head, SharedPlane, decide_entry, key_of, may_say, newer
from moonbow.stores.directory_sql import DirectorySql
from moonbow.stores.home import HomeRegion
from moonbow.wire import shared
from moonbow.wire.shared import CompanyRegions, LogEntry, Login, PublicKey, SharedRecord
from support import eventually_async

GOLDEN = Path(__file__).with_name("golden_shared_types.json")
REGIONS = ("apac", "emea", "na")
OPEN = frozenset(REGIONS)
NOW = 1_800_000_000.0


def org(region: str, no: int = 0) -> str:
    return f"org_{region}_{no:026}"


def key(region: str, no: int = 0, **more: Any) -> PublicKey:
    return PublicKey(**{"region": region, "kid": f"key_{region}_{no:026}", "x": "x", "version": 0, **more})


def login(no: int, region: str, **more: Any) -> Login:
    return Login(**{"hash": f"{no:064x}", "key_id": "k", "region": region, "version": 0, **more})


def test_the_list_of_shared_types_is_closed() -> None:
    """To change what crosses is a decision about residency: change the golden file with it."""
    found = {
        kind.__name__: [f"{field.name}: {field.type}" for field in msgspec.structs.fields(kind)]
        for kind in (*get_args(shared.SharedRecord), LogEntry)
    }
    assert found == json.loads(GOLDEN.read_text())
    subclasses = {kind.__name__ for kind in shared.Shared.__subclasses__()}
    assert subclasses == {kind.__name__ for kind in get_args(shared.SharedRecord)}


versions = st.builds(
    Login, hash=st.just("h"), key_id=st.just("k"), region=st.sampled_from(REGIONS),
    version=st.integers(1, 3), gone=st.booleans(),
)  # fmt: skip


@given(versions, versions, versions)
def test_which_record_counts_does_not_depend_on_the_order(a: Login, b: Login, c: Login) -> None:
    assert newer(a, b) == newer(b, a)
    assert newer(newer(a, b), c) == newer(a, newer(b, c))
    assert newer(a, a) == a
    assert newer(a, b).version == max(a.version, b.version)


@pytest.mark.parametrize(
    ("head", "entry", "verdict"),
    [
        (Head(0, 0), (1, 1), "restart"), (Head(0, 0), (1, 2), "gap"), (Head(1, 1), (1, 2), "apply"),
        (Head(1, 1), (1, 1), "known"), (Head(1, 1), (1, 3), "gap"), (Head(2, 1), (1, 2), "known"),
        (Head(1, 9), (2, 1), "restart"), (Head(1, 9), (2, 2), "gap"),
    ],
)  # fmt: skip
def test_what_a_copy_does_with_an_entry(head: Head, entry: tuple[int, int], verdict: str) -> None:
    assert decide_entry(head, LogEntry("emea", *entry, key("emea"))) == verdict


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (key("emea"), True), (key("apac"), False), (key("emea", kid=key("apac").kid), False),
        (login(1, "apac"), True), (login(1, "cn"), False),
        (CompanyRegions(company=org("emea"), home="emea", regions=("apac",), version=1), True),
        (CompanyRegions(company=org("emea"), home="emea", regions=("cn",), version=1), False),
        (CompanyRegions(company=org("apac"), home="apac", regions=("apac",), version=1), False),
        (CompanyRegions(company=org("apac"), home="emea", regions=("apac",), version=1), False),
    ],
)  # fmt: skip
def test_a_region_speaks_for_itself(record: SharedRecord, said: bool) -> None:
    assert may_say("emea", record, OPEN) is said


class Wire:
    """A way that keeps live messages until told to deliver, double or lose them; requests pass unless cut."""

    def __init__(self) -> None:
        self.planes: dict[str, SharedPlane] = {}
        self.flying: list[tuple[str, str, bytes]] = []
        self.cut: set[str] = set()

    def bus(self, region: str) -> WireBus:
        return WireBus(self, region)

    async def deliver(self, flight: tuple[str, str, bytes]) -> None:
        source, subject, payload = flight
        for region, bus in self.buses.items():
            if region != source and not self.cut & {source, region}:
                for pattern, handler in bus.listeners:
                    if fnmatchcase(subject, pattern):
                        await handler(subject, payload)

    buses: dict[str, WireBus] = {}


class WireBus:
    def __init__(self, wire: Wire, region: str) -> None:
        self.wire, self.region = wire, region
        self.listeners: list[tuple[str, Any]] = []

    async def publish(self, subject: str, payload: bytes) -> None:
        self.wire.flying.append((self.region, subject, payload))

    async def listen(self, subject: str, handler: Any, queue: str = "") -> None:
        self.listeners.append((subject, handler))

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = 1.0) -> bytes:
        assert op == LOG_OP
        if self.wire.cut & {region, self.region}:
            raise Unavailable("home_unreachable", "cut", region=region)
        return await self.wire.planes[region].serve(self.region, payload)

    def on_trouble(self, callback: Callable[[str], None]) -> None:
        return


async def planes(folder: Path, *regions: str) -> tuple[Wire, dict[str, DirectorySql]]:
    wire, stores = Wire(), {}
    wire.buses = {region: wire.bus(region) for region in regions}
    for region in regions:
        stores[region] = open_directory_at(folder / f"{region}.db", HomeRegion(region))
        wire.planes[region] = SharedPlane(region, OPEN, stores[region].shared, wire.buses[region], announce_s=0.05)
        await wire.planes[region].start()
    return wire, stores


async def view(store: DirectorySql) -> tuple[object, ...]:
    """Everything a region knows of the shared plane."""
    logins = [await store.shared.login(f"{no:064x}") for no in range(4)]
    companies = [await store.shared.company(org(region)) for region in REGIONS]
    heads = await store.shared.heads()
    return (logins, companies, await store.shared.keys(), sorted(heads.items()))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(REGIONS), st.integers(0, 3), st.sampled_from(REGIONS)),
        st.tuples(st.just("erase"), st.sampled_from(REGIONS), st.integers(0, 3), st.just("")),
        st.tuples(st.sampled_from(["deliver", "double", "lose"]), st.just(""), st.integers(0, 99), st.just("")),
        st.tuples(st.sampled_from(["cut", "heal", "ask"]), st.sampled_from(REGIONS), st.just(0), st.just("")),
        st.tuples(st.just("restore"), st.sampled_from(REGIONS), st.just(0), st.just("")),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps=steps, seed=st.integers(0, 9))
def test_copies_converge_whatever_the_way_does(steps: list[tuple[str, str, int, str]], seed: int) -> None:
    async def scenario(folder: Path) -> None:
        wire, stores = await planes(folder, *REGIONS)
        clock = NOW
        for region in REGIONS:
            record = CompanyRegions(company=org(region), home=region, regions=REGIONS, version=0)
            await wire.planes[region].append([key(region), record], clock)
        for what, region, number, other in steps:
            clock += 1
            flight = wire.flying.pop(number % len(wire.flying)) if wire.flying and region == "" else None
            if what == "write":
                await wire.planes[region].append([login(number, other)], clock)
            elif what == "erase":
                await wire.planes[region].append([login(number, region, gone=True)], clock)
            elif what == "cut":
                wire.cut.add(region)
            elif what == "heal":
                wire.cut.discard(region)
            elif what == "ask":
                for peer in OPEN - {region}:
                    try:
                        await wire.planes[region].catch_up(peer)
                    except Unavailable:
                        assert wire.cut
            elif what == "restore":
                head = (await stores[region].shared.heads())[region]
                beyond = Head(head.epoch, head.seq + 1)
                await wire.planes[region].tell(await stores[region].shared.begin_epoch(beyond, clock))
            elif flight and what != "lose":
                await wire.deliver(flight)
                if what == "double":
                    wire.flying.append(flight)
        wire.cut.clear()
        random.Random(seed).shuffle(wire.flying)
        for flight in wire.flying[::2]:
            await wire.deliver(flight)
        for region in REGIONS:
            for peer in OPEN - {region}:
                await wire.planes[region].catch_up(peer)
        views = [await view(stores[region]) for region in REGIONS]
        assert views[0] == views[1] == views[2]
        assert len(views[0][2]) == len(REGIONS)  # type: ignore[arg-type]
        for region in REGIONS:
            assert wire.planes[region].refused_total == 0
            head = (await stores[region].shared.heads())[region]
            log = await stores[region].shared.tail(region, head.epoch, 0, 10_000)
            assert [entry.seq for entry in log] == list(range(1, head.seq + 1))
            await stores[region].close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


def test_what_a_region_may_not_say_stops_at_the_border(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire, stores = await planes(tmp_path, *REGIONS)
        encode = msgspec.msgpack.encode
        forged = [
            ("shared.emea.log", [LogEntry("emea", 1, 1, key("apac", 7))]),
            ("shared.emea.log", [LogEntry("na", 1, 1, key("na", 7))]),
            ("shared.emea.log", [LogEntry("na", 1, 1, key("emea", 7))]),
            ("shared.emea.log", [LogEntry("emea", 1, 1, login(1, "cn"))]),
            ("shared.emea.log", [["emea", 1, 1, ["profile", "usr_emea_1", "Ada"]]]),
            ("shared.cn.log", [LogEntry("cn", 1, 1, key("cn", 7))]),
            ("shared.emea.log", "nonsense"),
            ("shared.emea.heads", "nonsense"),
        ]
        for subject, payload in forged:
            await wire.deliver((subject.split(".")[1], subject, encode(payload)))
        assert await stores["apac"].shared.heads() == {}
        assert wire.planes["apac"].refused_total == 7
        good = [LogEntry("emea", 1, 1, key("emea")), LogEntry("emea", 1, 2, key("na"))]
        await wire.deliver(("emea", "shared.emea.log", encode(good)))
        assert await stores["apac"].shared.heads() == {"emea": Head(1, 1)}
        for region in ("cn", "emea", "mars"):
            with pytest.raises(Refused, match="not_yours"):
                await wire.planes["emea"].serve(region, encode([1, 0, 10]))
        for store in stores.values():
            await store.close()

    asyncio.run(scenario())


def test_a_sealed_region_is_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire, stores = await planes(tmp_path, *REGIONS)
        store = open_directory_at(tmp_path / "cn.db", HomeRegion("cn"))
        wire.buses["cn"] = wire.bus("cn")
        sealed = SharedPlane("cn", OPEN, store.shared, wire.buses["cn"])
        await sealed.start()
        await sealed.run()  # nothing to do
        await sealed.append([key("cn"), login(1, "cn")], NOW)
        assert wire.flying == []
        assert wire.buses["cn"].listeners == []
        await wire.planes["emea"].append([key("emea")], NOW)
        await wire.deliver(wire.flying.pop())
        assert set(await store.shared.heads()) == {"cn"}
        assert set(await stores["apac"].shared.heads()) == {"emea"}
        with pytest.raises(Refused, match="not_yours"):
            await sealed.serve("emea", msgspec.msgpack.encode([1, 0, 10]))
        await store.close()
        for other in stores.values():
            await other.close()

    asyncio.run(scenario())


def test_lost_messages_are_found_by_announcements_and_a_lost_end_begins_an_epoch(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire, stores = await planes(tmp_path, *REGIONS)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(plane.run()) for plane in wire.planes.values()]
            await wire.planes["emea"].append([key("emea", no) for no in range(5)], NOW)

            async def pump(*losing: str) -> None:
                while wire.flying:
                    flight = wire.flying.pop(0)
                    if not flight[1].endswith(losing):
                        await wire.deliver(flight)

            async def knows(region: str, head: Head) -> bool:
                await pump(".log")
                return (await stores[region].shared.heads()).get("emea") == head

            await eventually_async(lambda: knows("apac", Head(1, 5)), 8)
            await eventually_async(lambda: knows("na", Head(1, 5)), 8)
            # emea is restored from a backup that holds two of its five entries
            lost, stores["emea"] = stores["emea"], open_directory_at(tmp_path / "restored.db", HomeRegion("emea"))
            await stores["emea"].shared.append([key("emea", no) for no in range(2)], NOW)
            wire.planes["emea"].store = stores["emea"].shared
            await eventually_async(lambda: knows("emea", Head(2, 2)), 8)
            await eventually_async(lambda: knows("apac", Head(2, 2)), 8)
            await eventually_async(lambda: knows("na", Head(2, 2)), 8)
            views = [await stores[region].shared.keys() for region in REGIONS]
            assert views[0] == views[1] == views[2]
            assert len(views[0]) == 2
            for task in running:
                task.cancel()
        for store in (*stores.values(), lost):
            await store.close()

    asyncio.run(scenario())


def test_records_that_stand_are_not_written_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_directory_at(tmp_path / "emea.db", HomeRegion("emea"))
        (first,) = await store.shared.append([key("emea")], NOW)
        assert await store.shared.append([key("emea")], NOW + 5) == []
        (second,) = await store.shared.append([key("emea", gone=True)], NOW - 500)
        assert second.record.version > first.record.version  # though the clock went back
        assert key_of(first.record) == key_of(second.record)
        assert await store.shared.keys() == []
        await store.close()

    asyncio.run(scenario())
