"""A region's objects in SeaweedFS at two sites and a witness: who may enter, what rests, and what a lost site takes."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import urllib.error
import urllib.request

import pytest

from files.weeds import ALL, Weeds
from galera_cluster import REGION, SITES, WITNESS
from moonbow.base.errors import Unavailable
from moonbow.base.ids import new_id
from moonbow.data.seaweed import node_files, weed_ports
from moonbow.files.adapters.objects import ObjectsSites, S3Place, open_s3
from moonbow.watch.book import Book
from moonbow.watch.policy import judge_names, place_file
from moonbow.watch.tables import stores_in, walk_store
from moonbow.world import OBJECTS_USER, Ports, objects_grpc_port, objects_secret, objects_way, sql_client
from support import eventually, eventually_async

pytestmark = pytest.mark.engines
CONTENT_BYTES = 50_000
UPLOADERS = 4


class Uploads:
    """Objects put one after the other by several uploaders until `enough`: those that were acknowledged.

    Who is `patient` puts again what could not be put in time, as a person would.
    """

    def __init__(self, objects: ObjectsSites, *, patient: bool = False) -> None:
        self.objects, self.name, self.patient = objects, f"fil_{os.urandom(4).hex()}", patient
        self.acked: dict[str, bytes] = {}
        self.enough = False

    async def run(self, number: int) -> None:
        no = 0
        while not self.enough:
            key, content = f"{self.name}/{number}-{no}", os.urandom(CONTENT_BYTES)
            try:
                await self.objects.put(key, content)
            except Unavailable:
                if not self.patient:
                    raise
                continue
            self.acked[key], no = content, no + 1

    async def more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acked) + count
        await eventually_async(lambda: len(self.acked) >= wanted, within_s=120)


async def missing(objects: ObjectsSites, acked: dict[str, bytes]) -> list[str]:
    """Which of the objects are not there as they were put."""
    return [key for key, content in acked.items() if await objects.get(key) != content]


def test_what_one_site_has_acknowledged_its_sister_gives_at_once(weeds: Weeds) -> None:
    async def scenario() -> None:
        here, there = weeds.open(SITES[0]), weeds.open(SITES[1])
        for no in range(60):
            content = os.urandom(2_000)
            await here.put(f"fil_at_once/{no}", content)
            assert await there.get(f"fil_at_once/{no}") == content
        await there.delete([f"fil_at_once/{no}" for no in range(60)])
        assert await here.keys("fil_at_once", 100) == []

    asyncio.run(scenario())


def test_what_rests_is_encrypted_and_a_control_finds_what_is_not(weeds: Weeds) -> None:
    """No plain byte of an object is in any volume; what was put without asking for encryption is found twice."""
    secret, plain = os.urandom(4_096), os.urandom(4_096)
    way = objects_way(weeds.world, weeds.state, REGION)
    key = objects_secret(way.key.read_text(), "s3")
    unasked = open_s3(S3Place(way.endpoints[0], way.bucket, OBJECTS_USER, key, way.ca))

    async def put() -> None:
        await weeds.open(SITES[0]).put("fil_rests/a", secret)
        await unasked.put("fil_rests/b", plain)

    asyncio.run(put())
    rests = [path.read_bytes() for site in ALL for path in weeds.folder(site).glob("volumes/*.dat")]
    assert sum(plain[1_000:1_064] in found for found in rests) == 2, "two copies, at two sites"
    assert not any(secret[at : at + 64] in found for at in (0, 1_000, 4_032) for found in rests)


def test_nobody_enters_without_a_certificate_or_a_key(weeds: Weeds) -> None:
    """Plain HTTP and TLS without a node's certificate reach nothing; S3 wants a key."""
    for site in ALL:
        address, own = weeds.address(site), weed_ports(weeds.world.site(site))
        for port in own:
            assert not _is_served(f"http://{address}:{port}/", ssl.create_default_context())
        for port in (Ports.OBJECTS_MASTER, Ports.OBJECTS_VOLUME):
            assert _is_served(f"https://{address}:{port}/healthz", weeds.keys(site)), "the control"
            assert not _is_served(f"https://{address}:{port}/healthz", _stranger(weeds))
        for port in (objects_grpc_port(weeds.world, weeds.world.site(site), port) for port in own):
            assert _takes_grpc(address, port, weeds.keys(site)), "the control"
            assert not _takes_grpc(address, port, None)
            assert not _takes_grpc(address, port, _stranger(weeds))
            assert not _takes_grpc(address, port, _sql_user(weeds)), "of the same region, and no node"
    way = objects_way(weeds.world, weeds.state, REGION)
    assert not _is_served(f"{way.endpoints[0]}/{way.bucket}?list-type=2", _stranger(weeds))
    for who in ((OBJECTS_USER, "wrong"), ("somebody", "wrong")):
        store = open_s3(S3Place(way.endpoints[0], way.bucket, *who, way.ca))
        with pytest.raises(Unavailable):
            asyncio.run(store._sites[0].put("fil_nobody/a", b"x"))


def test_its_account_may_change_names_and_nothing_else(weeds: Weeds) -> None:
    files = [weeds.state / "pki" / f"objects-{REGION}.{end}" for end in ("crt", "key")]
    given = {"user": OBJECTS_USER, "ssl_cert": str(files[0]), "ssl_key": str(files[1]), "database": None}
    with weeds.cluster.connect(SITES[0], **given) as db, db.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        grants = sorted(str(row[0]) for row in cursor.fetchall())
    assert len(grants) == 2
    assert grants[0].startswith("GRANT SELECT, INSERT, UPDATE, DELETE ON `moonbow_objects`.`filemeta` TO")
    assert grants[1].startswith("GRANT USAGE ON *.* TO"), "which is nothing"


def test_the_audit_knows_every_file_and_judges_every_name(weeds: Weeds) -> None:
    own, foreign = new_id("fil", REGION), new_id("fil", "apac")
    store = weeds.open(SITES[0])
    asyncio.run(_put_both(store, own, foreign))
    try:
        book = Book()
        names = next(one for one in stores_in(weeds.world, weeds.state, []) if one.store == "objects")
        walk_store(weeds.world, names, book)
        assert {(found.code, found.of, found.table) for found in book.findings()} == {
            ("foreign_record", "apac", "filemeta")
        }
        assert book.rows > 2
    finally:
        asyncio.run(weeds.open(SITES[0]).delete([f"{foreign}/a"]))
    for site in ALL:
        paths = [path for path in weeds.folder(site).rglob("*") if path.is_file()] + [weeds.specs[site].log]
        places = {
            str(path.relative_to(weeds.state)): place_file(weeds.world, str(path.relative_to(weeds.state)))
            for path in paths
        }
        assert [
            path for path, where in places.items() if where is None or (not where.keeps and "/logs/" not in path)
        ] == []
        log = weeds.specs[site].log
        where = places[str(log.relative_to(weeds.state))]
        assert where is not None
        assert where.file.what == "the objects' store's log"
        assert judge_names(weeds.world, where, log.read_bytes()) is None


async def _put_both(store: ObjectsSites, *idents: str) -> None:
    for ident in idents:
        await store.put(f"{ident}/a", b"x")


def test_a_site_is_lost_with_its_disk_while_files_arrive(weeds: Weeds) -> None:
    """Every acknowledged object is read at the other site, and uploads there go on."""
    leader = eventually(weeds.leader, within_s=30)
    victim = next(site for site in reversed(SITES) if site != leader)
    survivor = next(site for site in SITES if site != victim)
    _lose(weeds, victim, survivor, patient=True)


@pytest.mark.long
def test_sites_with_the_leading_master_are_lost_and_return_empty_one_after_the_other(weeds: Weeds) -> None:
    """Uploads go on within the clients' 30 s; what returned empty is filled before the next one is lost."""
    for turn in range(4):
        leader = eventually(weeds.leader, within_s=60)
        victim = leader if leader != WITNESS else SITES[turn % 2]
        survivor = next(site for site in SITES if site != victim)
        _lose(weeds, victim, survivor)
        said = weeds.shell(survivor, "lock", "volume.fix.replication -apply", "unlock")
        assert "error" not in said.lower(), said


@pytest.mark.long
def test_the_power_of_the_whole_region_is_gone(weeds: Weeds) -> None:
    """All of it is killed at once while files arrive; what was acknowledged is there when it is back."""

    async def scenario() -> None:
        uploads = Uploads(weeds.open(SITES[0]))
        tasks = [asyncio.create_task(uploads.run(number)) for number in range(UPLOADERS)]
        await uploads.more(60)
        await asyncio.to_thread(weeds.kill, *ALL)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(weeds.heal)
        for site in SITES:
            assert await missing(weeds.open(site), uploads.acked) == []

    asyncio.run(scenario())


def _lose(weeds: Weeds, victim: str, survivor: str, *, patient: bool = False) -> None:
    """Lose a site while uploads arrive at it and at its sister; then have it back, empty."""

    async def scenario() -> None:
        uploads = [Uploads(weeds.open(site), patient=patient) for site in (victim, survivor)]
        for one in uploads:  # a master that has just begun to lead lets nobody write yet
            await one.objects.put(f"{one.name}/first", b"x")
        async with asyncio.TaskGroup() as tasks:
            for one in uploads:
                for number in range(UPLOADERS):
                    tasks.create_task(one.run(number))
            await asyncio.gather(*(one.more(20) for one in uploads))
            await asyncio.to_thread(weeds.lose, victim)
            await asyncio.gather(*(one.more(60) for one in uploads))
            for one in uploads:
                one.enough = True
        for one in uploads:
            assert await missing(weeds.open(survivor), one.acked) == []

    try:
        asyncio.run(scenario())
    finally:
        weeds.heal()


def _is_served(url: str, context: ssl.SSLContext) -> bool:
    """Whether what is asked for is given."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _takes_grpc(address: str, port: int, context: ssl.SSLContext | None) -> bool:
    """Whether HTTP/2 is spoken with us: its settings come at once."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
    try:
        with socket.create_connection((address, port), 5) as plain:
            if context is None:
                plain.sendall(preface)
                return plain.recv(9)[3:4] == b"\x04"
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(plain, server_hostname=address) as line:
                line.sendall(preface)
                return line.recv(9)[3:4] == b"\x04"
    except OSError:
        return False


def _stranger(weeds: Weeds) -> ssl.SSLContext:
    """Who trusts the region and has nothing to show."""
    return ssl.create_default_context(cafile=str(node_files(weeds.world.site(SITES[0]), weeds.state)[0]))


def _sql_user(weeds: Weeds) -> ssl.SSLContext:
    """Who may use the region's SQL."""
    context, stem = _stranger(weeds), weeds.state / "pki" / sql_client(REGION)
    context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
    return context
