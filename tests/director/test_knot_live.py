"""A real knotd, driven by decisions: it answers as they say, through restarts, strangers and half-done work."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import dns.rdatatype
import msgspec
import pytest

from director.conftest import shipped
from director.knotd import HOME, Knotd, free_udp_port, in_loop, knotd_of, needs_knot
from moonbow.director.adapters.keyfiles import keep_secrets
from moonbow.director.adapters.knot import SIGN_AGAIN_S, KnotDriver
from moonbow.director.adapters.knot_control import Conversation
from moonbow.director.addresses import Ranges, encode, make_ranges
from moonbow.director.answers import Answers
from moonbow.director.atlas import compile_map, find
from moonbow.director.knot import knot_argv, knot_settings, prepare, program, write_views
from moonbow.director.knot_config import RRSIG_LIFETIME_S
from moonbow.director.knot_records import decide_records, service_names
from moonbow.director.metrics import render_metrics
from moonbow.director.model import SERVICES, Map, Overrides
from moonbow.director.policy import TTL_DEGRADED_S, TTL_S
from moonbow.director.slices import cell_scope, slice_of
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.zone import addresses_of
from moonbow.world import World
from moonbow.world.model import Dns
from support import eventually_async

pytestmark = [needs_knot, pytest.mark.slow]


@pytest.fixture(scope="module")
def compiled(planet: World, ranges: Ranges) -> Map:
    return compile_map(planet, ranges)


@pytest.fixture(scope="module")
def planet_text() -> str:
    return shipped("planet")[1]


@pytest.fixture(scope="module")
def knotd(planet: World, ranges: Ranges, compiled: Map, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knotd]:
    """One for all tests: each begins by bringing it to a decision of its own."""
    with knotd_of(take_snapshot(planet, ranges, compiled), tmp_path_factory.mktemp("knot")) as running:
        yield running


class Bench:
    """Makes decisions, and looks at what is answered."""

    def __init__(self, knotd: Knotd, planet: World, ranges: Ranges, compiled: Map) -> None:
        self.knotd, self.planet, self.ranges, self.compiled = knotd, planet, ranges, compiled
        self.number = 0

    def decide(self, **wishes: object) -> Snapshot:
        self.number += 1
        wanted = Overrides(**wishes)  # type: ignore[arg-type]
        return take_snapshot(self.planet, self.ranges, self.compiled, overrides=wanted, number=self.number)

    def driver(self, timeout_s: float = 5.0) -> KnotDriver:
        return KnotDriver(self.knotd.settings, timeout_s=timeout_s)

    async def put(self, driver: KnotDriver, snapshot: Snapshot) -> None:
        driver.offer(snapshot)

        async def done() -> bool:
            assert await driver.step(), driver.status.trouble
            return driver.status.in_step

        await eventually_async(done)

    def check(self, snapshot: Snapshot, service: str, client: str) -> None:
        """Every name of a service gives this client its pool, and says for whom that is true."""
        address = ip_address(client)
        bits, table = (32, snapshot.map.v4) if address.version == 4 else (128, snapshot.map.v6)
        at = find(table, int(address))
        pool = snapshot.plans[service].pool(table.buckets[at], slice_of(bits, int(address)))
        for name in service_names(service, f"{self.planet.domain}."):
            reply = self.knotd.ask(name, client, bits)
            assert reply.addresses == set(addresses_of(snapshot, service, pool.sites)), (name, client)
            assert reply.scope == cell_scope(table, at, int(address), True)
            assert reply.scope >= cell_scope(table, at, int(address), False) > 0
            if name != f"{self.planet.domain}.":  # its views have one time to live
                assert reply.ttl_s == (TTL_DEGRADED_S if pool.degraded else TTL_S)

    def clients(self, seed: int) -> list[str]:
        """One of every range of both families, and some from anywhere."""
        chance = random.Random(seed)
        found: list[str] = []
        for table, lowest in ((self.compiled.v4, 0), (self.compiled.v6, 1 << 96)):
            ends = (*table.starts[1:], 1 << table.bits)
            places = [chance.randrange(max(lowest, start), end) for start, end in zip(table.starts, ends, strict=True)]
            places += (chance.randrange(lowest, 1 << table.bits) for _ in range(10))
            found += (str(ip_address(place.to_bytes(table.bits // 8, "big"))) for place in places)
        return found


@pytest.fixture
def bench(knotd: Knotd, planet: World, ranges: Ranges, compiled: Map) -> Bench:
    return Bench(knotd, planet, ranges, compiled)


US, DE, CN = "12.1.2.3", "53.1.2.3", "101.5.0.9"


@in_loop
async def test_every_client_is_answered_as_decided(bench: Bench) -> None:
    driver = bench.driver()
    snapshot = bench.decide()
    await bench.put(driver, snapshot)
    for client in bench.clients(1):
        bench.check(snapshot, "door", client)
    for service in SERVICES:
        for client in bench.clients(2)[::5]:
            bench.check(snapshot, service, client)


@in_loop
async def test_a_flip_changes_only_whom_it_concerns_and_comes_back(bench: Bench) -> None:
    driver = bench.driver()
    await bench.put(driver, bench.decide())
    before = driver.counts.edits
    fallen = bench.decide(down=frozenset({"frankfurt"}))
    await bench.put(driver, fallen)
    first = driver.counts.edits - before
    assert 0 < first < 100
    for service in SERVICES:
        for client in bench.clients(3)[::5]:
            bench.check(fallen, service, client)
    well = bench.decide()
    await bench.put(driver, well)
    for client in (US, DE, CN):
        bench.check(well, "door", client)
    await bench.put(driver, bench.decide())  # decided again, nothing new
    assert driver.counts.edits - before <= 2 * first


@in_loop
async def test_slices_are_split_by_weight_and_joined_again(bench: Bench) -> None:
    driver = bench.driver()
    await bench.put(driver, bench.decide())
    split = bench.decide(weights={"ashburn": 30, "frankfurt": 60})
    await bench.put(driver, split)
    american = [f"12.{number}.0.1" for number in range(24)]
    german = [f"53.{number}.0.1" for number in range(24)]
    assert len({frozenset(bench.knotd.ask(f"door.{bench.planet.domain}", client).addresses) for client in german}) > 1
    for client in (*american, *german):
        for service in SERVICES:
            bench.check(split, service, client)
    fallen = bench.decide(weights={"ashburn": 30, "frankfurt": 60}, down=frozenset({"frankfurt", "montreal"}))
    await bench.put(driver, fallen)
    for client in (*american, *german):
        bench.check(fallen, "door", client)
    whole = bench.decide()
    await bench.put(driver, whole)
    for client in (*american, *german):
        bench.check(whole, "door", client)
    async with Conversation(bench.knotd.settings.socket, 5) as talk:
        units = (await talk.ask({"cmd": "zone-read", "zone": bench.planet.domain}))[0]
    pools = {unit["owner"] for unit in units if unit.get("type") == "A" and ".pool." in unit["owner"]}
    assert pools == {owner for owner, kind in decide_records(whole, {"ns": ("127.0.0.1",)}).sets if ".pool." in owner}


@in_loop
async def test_signatures_hold_before_and_after_a_flip(bench: Bench) -> None:
    driver, domain = bench.driver(), bench.planet.domain
    for snapshot in (bench.decide(), bench.decide(down=frozenset({"berlin", "paris"}), weights={"ashburn": 50})):
        await bench.put(driver, snapshot)
        for client in (US, DE, CN):
            for name in (f"door.{domain}", f"media.{domain}"):
                assert bench.knotd.validate(bench.knotd.ask(name, client, do=True).message) == 2  # CNAME and A
            assert bench.knotd.validate(bench.knotd.ask(domain, client, do=True).message) == 1
        assert bench.knotd.validate(bench.knotd.ask(domain, kind="SOA", do=True).message) == 1
        denied = bench.knotd.ask(f"nobody.{domain}", US, do=True).message
        assert denied.rcode() == 3
        assert bench.knotd.validate(denied) >= 2  # SOA, and who stands around the gap


@in_loop
async def test_a_sealed_region_never_leaks(bench: Bench) -> None:
    driver = bench.driver()
    own = {site: set(addresses_of(bench.decide(), "door", [site])) for site in ("shanghai", "lyon")}
    everybody = frozenset(ref.site.name for ref in bench.planet.sites())
    for gone in (frozenset({"shanghai"}), everybody - {"shanghai", "lyon"}, frozenset()):
        snapshot = bench.decide(down=gone)
        await bench.put(driver, snapshot)
        for client in bench.clients(5)[::2]:
            sealed = bench.compiled.buckets[
                (bench.compiled.v4.buckets if "." in client else bench.compiled.v6.buckets)[
                    find(bench.compiled.v4 if "." in client else bench.compiled.v6, int(ip_address(client)))
                ]
            ].region
            found = bench.knotd.ask(f"door.{bench.planet.domain}", client, 32 if "." in client else 128).addresses
            assert (found <= own["shanghai"]) == (sealed == "cn"), client
            assert not found & own["lyon"] or sealed == "frhealth"


@in_loop
async def test_a_restart_keeps_the_last_decision_and_needs_no_driver(bench: Bench) -> None:
    driver = bench.driver()
    fallen = bench.decide(down=frozenset({"frankfurt"}))
    await bench.put(driver, fallen)
    for how in (signal.SIGTERM, signal.SIGKILL):
        bench.knotd.stop(how)
        bench.knotd.start()
        for client in (US, DE, CN):
            bench.check(fallen, "door", client)
        assert bench.knotd.validate(bench.knotd.ask(f"door.{bench.planet.domain}", DE, do=True).message) == 2
        await bench.put(driver, fallen)
        assert driver.counts.repairs == 0


@in_loop
async def test_a_lost_journal_is_filled_again(bench: Bench) -> None:
    driver = bench.driver()
    fallen = bench.decide(down=frozenset({"frankfurt"}))
    await bench.put(driver, fallen)
    bench.knotd.stop()
    shutil.rmtree(bench.knotd.settings.folder / "db" / "journal")
    bench.knotd.start()
    await bench.put(driver, fallen)
    assert driver.counts.repairs == 1
    for client in (US, DE, CN):
        bench.check(fallen, "door", client)


@in_loop
async def test_somebody_elses_open_transaction_is_aborted(bench: Bench) -> None:
    driver, zone = bench.driver(), f"{bench.planet.domain}."
    await bench.put(driver, bench.decide())
    async with Conversation(bench.knotd.settings.socket, 5) as talk:
        await talk.ask({"cmd": "zone-begin", "zone": zone})
        await talk.ask({"cmd": "zone-set", "zone": zone, "owner": f"x.{zone}", "type": "TXT", "ttl": "9", "data": "x"})
    fallen = bench.decide(down=frozenset({"frankfurt"}))
    await bench.put(driver, fallen)
    assert driver.counts.foreign == 1
    bench.check(fallen, "door", DE)
    assert bench.knotd.ask(f"x.{zone}", kind="TXT").message.rcode() == 3


@in_loop
async def test_somebody_elses_edit_is_undone(bench: Bench) -> None:
    driver, zone = bench.driver(), f"{bench.planet.domain}."
    snapshot = bench.decide()
    await bench.put(driver, snapshot)
    target = bench.knotd.ask(f"door.{zone}", CN).message.answer[-1].name.to_text()
    async with Conversation(bench.knotd.settings.socket, 5) as talk:
        edit = {"zone": zone, "owner": target, "type": "A"}
        await talk.ask(
            {"cmd": "zone-begin", "zone": zone},
            {"cmd": "zone-unset", **edit},
            {"cmd": "zone-set", **edit, "ttl": "3600", "data": "192.0.2.1"},
            {"cmd": "zone-commit", "zone": zone},
        )
    assert bench.knotd.ask(f"door.{zone}", CN).addresses == {"192.0.2.1"}
    assert await driver.step()
    assert driver.counts.repairs == 1
    bench.check(snapshot, "door", CN)


@pytest.mark.parametrize("done", [0, 1, 7])
@in_loop
async def test_a_driver_that_dies_half_way_changes_nothing_and_is_followed(bench: Bench, done: int) -> None:
    first = bench.driver()
    well, fallen = bench.decide(), bench.decide(down=frozenset({"frankfurt"}))
    await bench.put(first, well)
    seen: list[object] = []

    class Dies(Exception):
        pass

    def command(edit):  # type: ignore[no-untyped-def]
        seen.append(edit)
        if len(seen) > done:
            raise Dies
        return KnotDriver._command(first, edit)

    dying = bench.driver()
    dying._command = command  # type: ignore[method-assign]
    dying.offer(fallen)
    with pytest.raises(Dies):
        await dying.step()
    bench.check(well, "door", DE)
    after = bench.driver()
    await bench.put(after, fallen)
    assert after.counts.foreign == 1
    for client in bench.clients(6)[::3]:
        bench.check(fallen, "door", client)


@in_loop
async def test_views_that_were_written_and_not_loaded_are_loaded(bench: Bench) -> None:
    driver = bench.driver()
    await bench.put(driver, bench.decide())
    split = bench.decide(weights={"ashburn": 30})
    write_views(bench.knotd.settings, decide_records(split, bench.knotd.settings.servers).views)
    after = bench.driver()
    await bench.put(after, split)
    for number in range(8):
        bench.check(split, "door", f"12.{number}.0.1")


@in_loop
async def test_while_knot_is_gone_the_newest_decision_waits(bench: Bench) -> None:
    driver = bench.driver()
    await bench.put(driver, bench.decide())
    bench.knotd.stop(signal.SIGKILL)
    driver.offer(bench.decide(down=frozenset({"frankfurt"})))
    assert not await driver.step()
    assert not driver.status.in_step
    assert "no knotd" in driver.status.trouble
    newest = bench.decide(down=frozenset({"berlin"}))
    driver.offer(newest)
    assert not await driver.step()
    assert driver.status.behind_s > 0
    transactions = driver.counts.transactions
    bench.knotd.start()
    await bench.put(driver, newest)
    assert driver.counts.transactions == transactions + 1
    assert driver.status.behind_s == 0
    for client in (US, DE, CN):
        bench.check(newest, "door", client)


@in_loop
async def test_a_knotd_that_hangs_is_given_up_and_met_again(bench: Bench) -> None:
    driver = bench.driver(timeout_s=0.3)
    await bench.put(driver, bench.decide())
    assert bench.knotd.process is not None
    bench.knotd.process.send_signal(signal.SIGSTOP)
    fallen = bench.decide(down=frozenset({"frankfurt"}))
    driver.offer(fallen)
    assert not await driver.step()
    assert "did not answer" in driver.status.trouble
    bench.knotd.process.send_signal(signal.SIGCONT)
    await bench.put(bench.driver(), fallen)
    bench.check(fallen, "door", DE)


@in_loop
async def test_run_follows_until_it_is_cancelled(bench: Bench) -> None:
    driver = bench.driver()
    running = asyncio.ensure_future(driver.run())
    for gone in ("frankfurt", "berlin"):
        snapshot = bench.decide(down=frozenset({gone}))
        driver.offer(snapshot)
        await eventually_async(
            lambda number=snapshot.number: driver.status.snapshot == number and driver.status.in_step
        )
        bench.check(snapshot, "door", DE)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@in_loop
async def test_views_are_signed_again_long_before_their_signatures_end(bench: Bench) -> None:
    now = [0.0]
    driver = KnotDriver(bench.knotd.settings, clock=lambda: now[0])
    await bench.put(driver, bench.decide())
    assert await driver.step()
    assert driver.counts.reloads == 1  # how old the signatures are is not known at the start
    now[0] += SIGN_AGAIN_S / 2
    assert await driver.step()
    assert driver.counts.reloads == 1
    now[0] += SIGN_AGAIN_S
    assert await driver.step()
    assert driver.counts.reloads == 2
    assert SIGN_AGAIN_S < RRSIG_LIFETIME_S / 4


@in_loop
async def test_a_new_map_is_made_beside_and_swapped(bench: Bench, planet: World, ranges: Ranges) -> None:
    driver = bench.driver()
    await bench.put(driver, bench.decide())
    turned = make_ranges(
        "turned",
        [(start, "BR" if number % 2 else "SE") for number, start in enumerate(ranges.v4)],
        [(0x2001 << 48, "BR")],
    )
    new = take_snapshot(planet, turned, compile_map(planet, turned), number=99)
    driver.offer(new)
    while driver._building is None:
        assert await driver.step()
    for client in (US, DE, CN):  # those of the old map are still answered
        assert bench.knotd.ask(f"door.{planet.domain}", client).addresses
    while driver.settings.database.stat().st_mtime_ns and driver._in_use.digest != new.map.digest:
        assert await driver.step()
        assert bench.knotd.ask(f"door.{planet.domain}", DE).addresses
        await asyncio.sleep(0)
    bench.compiled = new.map
    for client in bench.clients(7):
        bench.check(new, "door", client)
    await bench.put(driver, bench.decide())


@in_loop
async def test_a_director_answers_through_knot_where_the_world_says_so(
    planet: World, ranges: Ranges, compiled: Map, tmp_path: Path
) -> None:
    world = msgspec.structs.replace(planet, dns=Dns(engine="knot"))
    state, port = tmp_path, free_udp_port()
    first = take_snapshot(world, ranges, compiled, number=1)
    answers = Answers(world, state, [HOME], port, first)
    settings = knot_settings(world, state, HOME, port)._replace(replies_per_s_max=0)
    prepare(settings, first)
    knotd = Knotd(settings)
    knotd.start()
    try:
        answers.bind()
        await answers.open()
        await eventually_async(lambda: answers.counts().knot["in_step"])
        fallen = take_snapshot(world, ranges, compiled, overrides=Overrides(down=frozenset({"frankfurt"})), number=2)
        answers.serve(fallen)
        answers.refresh()
        await eventually_async(lambda: answers.counts().knot["snapshot"] == 2)
        bench = Bench(knotd, world, ranges, compiled)
        bench.check(fallen, "door", DE)
        reply = knotd.ask(f"door.{world.domain}", DE, do=True).message
        key = keep_secrets(state / "world" / "director", world.domain).key  # the one that embedded directors sign with
        signatures = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.RRSIG]
        assert signatures
        assert {rr.key_tag for rrset in signatures for rr in rrset} == {key.tag}
        await eventually_async(lambda: answers.counts().replies["knot", 0])
        page = render_metrics(fallen, answers.counts(), {}, {}).decode()
        assert "moonbow_director_knot_in_step 1.0" in page
        assert "moonbow_director_knot_transactions_total" in page
    finally:
        await answers.close()
        knotd.stop()


def test_the_child_lays_out_its_files_from_the_state_folder(planet_text: str, ranges: Ranges, tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text(planet_text + '\n[dns]\nengine = "knot"\n')
    map_path = tmp_path / "addresses.bin"
    map_path.write_bytes(encode(ranges))
    argv = (*knot_argv(sys.executable, tmp_path, "paris"), "--prepare-only")
    done = subprocess.run(argv, env=os.environ | {"MOONBOW_ADDRESSES": str(map_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "sites" / "paris" / "knot"
    assert {"knot.conf", "views.conf", "buckets.mmdb", "buckets.json"} <= {path.name for path in folder.iterdir()}
    assert list(folder.glob("db/keys/keys/*.pem"))
    assert (
        subprocess.run((program("knotc"), "-c", folder / "knot.conf", "conf-check"), capture_output=True).returncode
        == 0
    )


def test_the_folder_is_nobody_elses(knotd: Knotd) -> None:
    for path in (knotd.settings.folder, *Path(knotd.settings.folder).iterdir()):
        if path.name not in ("log", path.name * path.is_dir()):
            assert not path.stat().st_mode & 0o077, path
