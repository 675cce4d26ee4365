"""Drive a running knotd: newest decision in, one transaction with the record sets that changed out.

Observe (what does Knot hold?) -> plan (`knot_records`) -> apply.  What Knot holds is remembered only as long as the
zone's serial stays what our own commit made it: a restart, a foreign edit or an outcome that was not told is met by
reading the zone and comparing.  A transaction that somebody left open is aborted: the zone has one writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.rdatatype

from moonbow.base.errors import Unavailable
from moonbow.director.knot import InUse, read_labels, read_views, write_database, write_views
from moonbow.director.knot_buckets import build_database
from moonbow.director.knot_config import VIEWS_STATE, KnotSettings, fixed_sets, known_sets, soa_data, state_set
from moonbow.director.knot_records import (
    Edit,
    Key,
    Records,
    RecordSet,
    Views,
    bridge,
    decide_records,
    digest_of,
    keep_views,
    plan_edits,
)
from moonbow.director.model import Map
from moonbow.director.snapshot import Snapshot
from moonbow.director.zone import ZONE_TTL_S

from .knot_control import Command, Conversation, Rejected, Unit, records_of

TIMEOUT_S = 5.0  # for one step of a conversation
WATCH_S = 1.0  # between two looks at what Knot holds
RETRY_S = 0.25
SIGN_AGAIN_S = 86_400.0  # the geoip module signs its views when it is loaded, and never again
QUERY_S = 1.0
BUILD_AGAIN_S = 60.0

log = logging.getLogger("moonbow.director.knot")


@dataclass
class Counts:
    """What happened so far."""

    transactions: int = 0
    edits: int = 0
    foreign: int = 0  # transactions that somebody had left open
    repairs: int = 0  # times that Knot held something else than we had left there
    reloads: int = 0  # of views
    failures: int = 0


@dataclass(frozen=True)
class KnotStatus:
    """How well Knot follows.  `behind_s`: for how long a decision has been waiting; 0 when none is."""

    in_step: bool
    behind_s: float
    trouble: str
    snapshot: int
    applied_s: float  # from the newest decision that was applied to its commit
    counts: Counts


class KnotDriver:
    """The one writer of a knotd's zone.  `offer` never waits; `run` works until it is cancelled."""

    def __init__(
        self, settings: KnotSettings, clock: Callable[[], float] = time.monotonic, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.settings = settings
        self.counts = Counts()
        self._clock = clock
        self._timeout_s = timeout_s
        self.said: list[Unit] = []  # Knot's own counts
        self._domain = f"{settings.domain}."
        self._newest: Snapshot | None = None
        self._decided: tuple[Snapshot, Records] | None = None
        self._wake = asyncio.Event()
        self._waiting_since: float | None = None
        self._offered_at = 0.0
        self._applied = 0
        self._applied_s = 0.0
        self._trouble = "no decision yet"
        self._known: dict[Key, RecordSet] | None = None
        self._serial = ""
        self._loaded: Views = {}
        self._loaded_at: float | None = None  # None: knotd may have others, or old signatures
        self._in_use = InUse("", frozenset())
        self._committed_at = 0.0
        self._building: asyncio.Future[bytes] | None = None
        self._wanted_map = ""
        self._build_after = float("-inf")

    def offer(self, snapshot: Snapshot) -> None:
        """Make Knot answer as `snapshot` says, as soon as it can; an older one that still waits is forgotten."""
        now = self._clock()
        self._newest, self._offered_at = snapshot, now
        self._waiting_since = self._waiting_since if self._waiting_since is not None else now
        self._wake.set()

    @property
    def status(self) -> KnotStatus:
        """For people and metrics."""
        behind = self._clock() - self._waiting_since if self._waiting_since is not None else 0.0
        in_step = self._waiting_since is None and not self._trouble
        return KnotStatus(in_step, behind, self._trouble, self._applied, self._applied_s, self.counts)

    async def run(self) -> None:
        """Follow decisions, and look every second whether Knot still holds what it should."""
        wait_s = 0.0
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                self._wake.clear()
                wait_s = WATCH_S if await self.step() and await self.measure() else RETRY_S
        finally:
            if self._building is not None:
                self._building.cancel()

    async def step(self) -> bool:
        """Bring Knot to the newest decision once; False if it could not be done now."""
        snapshot, offered_at = self._newest, self._offered_at
        if snapshot is None:
            return True
        try:
            await self._follow(snapshot)
        except Unavailable as error:
            self.counts.failures += 1
            if self._trouble != error.detail:
                log.warning("knot", extra={"f": {"trouble": error.detail}})
            self._trouble, self._known = error.detail, None
            return False
        if self._trouble:
            log.info("knot", extra={"f": {"follows": snapshot.number}})
        self._trouble = ""
        if self._newest is snapshot:
            if self._waiting_since is not None:
                self._applied_s = self._committed_at - offered_at
            self._waiting_since, self._applied = None, snapshot.number
        return True

    async def measure(self) -> bool:
        """Ask Knot for its own counts; False if it does not give them."""
        try:
            async with Conversation(self.settings.socket, self._timeout_s) as talk:
                self.said = (await talk.ask({"cmd": "stats"}))[0]
        except Unavailable:
            return False
        return True

    async def _follow(self, snapshot: Snapshot) -> None:
        if self._decided is None or self._decided[0] is not snapshot:
            self._decided = (snapshot, decide_records(snapshot, self.settings.servers))
        records = self._decided[1]
        if self._loaded_at is None:
            self._loaded, self._in_use = read_views(self.settings), read_labels(self.settings)
        async with Conversation(self.settings.socket, self._timeout_s) as talk:
            await self._put(talk, records)
            self._committed_at = self._clock()
        swapped, trouble = False, None
        try:
            swapped = await self._refresh_database(snapshot.map)
        except Unavailable as error:  # the old database goes on, and so does the rest
            trouble, self._build_after = error, self._clock() + BUILD_AGAIN_S
        views = keep_views(records, self._loaded, self._in_use.labels)
        if swapped or await self._must_load(views):
            await self._load(views)
            self._in_use = read_labels(self.settings)
            async with Conversation(self.settings.socket, self._timeout_s) as talk:
                await self._put(talk, records)
        if trouble is not None:
            raise trouble

    async def _put(self, talk: Conversation, records: Records) -> None:
        """Make the record sets what they should be."""
        known = await self._observe(talk)
        sets = bridge(records, self._loaded, known, self._in_use.labels)
        if self._loaded_at is None:  # take nothing away that views may lead to
            sets = known | sets
        sets |= fixed_sets(self.settings)
        sets |= state_set(self._domain, digest_of(records.sets))
        if edits := plan_edits(known, sets):
            await self._transact(talk, edits)
        self._known = sets

    async def _observe(self, talk: Conversation) -> dict[Key, RecordSet]:
        """What Knot holds: as we remember it if the serial is still ours, read otherwise."""
        serial = await self._read_serial(talk)
        if self._known is not None and serial == self._serial:
            return self._known
        found: dict[Key, RecordSet] = {}
        if serial:
            found = known_sets(records_of(await talk.ask({"cmd": "zone-read", "zone": self._domain})))
        if self._known is not None and found != self._known:
            self.counts.repairs += 1
            log.warning("knot", extra={"f": {"trouble": "the zone is not as we left it", "serial": serial}})
        self._serial = serial
        return found

    async def _read_serial(self, talk: Conversation) -> str:
        """The zone's serial; empty for a zone that holds nothing yet."""
        soa: Command = {"cmd": "zone-read", "zone": self._domain, "owner": self._domain, "type": "SOA"}
        try:
            for _, _, _, data in records_of(await talk.ask(soa)):
                return data.split()[2]
        except Rejected:
            return ""
        return ""

    async def _transact(self, talk: Conversation, edits: list[Edit]) -> None:
        """All edits or none, and readers see no state between.  Whatever fails here is found out by reading."""
        self._known = None
        begin, abort, commit = ({"cmd": f"zone-{word}", "zone": self._domain} for word in ("begin", "abort", "commit"))
        try:
            await talk.ask(begin)
        except Rejected:
            await talk.ask(abort)  # ours that died, or somebody's who forgot it; or the zone is not there
            self.counts.foreign += 1
            log.warning("knot", extra={"f": {"trouble": "a transaction was open; it was aborted"}})
            await talk.ask(begin)
        if not self._serial:
            soa = soa_data(self.settings, int(time.time()))
            edits = [Edit("zone-set", self._domain, "SOA", ZONE_TTL_S, soa), *edits]
        try:
            await talk.ask(*(self._command(edit) for edit in edits))
            await talk.ask(commit)
        except Rejected:
            with contextlib.suppress(Unavailable):
                await talk.ask(abort)
            raise
        self.counts.transactions += 1
        self.counts.edits += len(edits)
        self._serial = await self._read_serial(talk)

    def _command(self, edit: Edit) -> Command:
        found: Command = {"cmd": edit.command, "zone": self._domain, "owner": edit.owner, "type": edit.kind}
        if edit.data:
            found["data"] = edit.data
        if edit.command == "zone-set":
            found["ttl"] = str(edit.ttl_s)
        return found

    async def _must_load(self, views: Views) -> bool:
        if views != self._loaded or self._loaded_at is None or self._clock() - self._loaded_at > SIGN_AGAIN_S:
            return True
        return not await self._is_loaded()

    async def _is_loaded(self) -> bool:
        """Whether knotd answers with the views that we take to be loaded."""
        said = await ask_text(self.settings.listen[0], f"{VIEWS_STATE}.{self._domain}")
        return said == digest_of(self._loaded)

    async def _load(self, views: Views) -> None:
        """Have knotd read the views and the database again.  Questions are answered meanwhile."""
        write_views(self.settings, views)
        async with Conversation(self.settings.socket, self._timeout_s) as talk:
            await talk.ask({"cmd": "zone-reload", "flags": "F", "zone": self._domain})
        self.counts.reloads += 1
        self._loaded, self._loaded_at = views, self._clock()
        if not await self._is_loaded():
            self._loaded_at = None
            raise Unavailable("knot_refused", "knotd did not take up the views; its log says why")

    async def _refresh_database(self, compiled: Map) -> bool:
        """Have the database of another map made beside, and put it in place when it is done; True at that moment."""
        if self._building is None:
            if compiled.digest == self._in_use.digest or compiled.digest == read_labels(self.settings).digest:
                return compiled.digest != self._in_use.digest
            if self._clock() < self._build_after:
                return False
            self._wanted_map = compiled.digest
            self._building = asyncio.ensure_future(_build_beside(compiled, self.settings.folder))
            self._building.add_done_callback(lambda _: self._wake.set())
            return False
        if not self._building.done():
            return False
        built, self._building = self._building, None
        if self._wanted_map != compiled.digest:
            return False
        await asyncio.to_thread(write_database, self.settings, compiled, await built)
        return True


async def _build_beside(compiled: Map, folder: Path) -> bytes:
    """Make a database in a process of its own, so that nothing here waits for it; `Unavailable` if that fails."""
    part = folder / ".buckets.part"
    builder = multiprocessing.get_context("spawn").Process(target=_build_into, args=(compiled, part), daemon=True)
    await asyncio.to_thread(builder.start)
    try:
        await asyncio.to_thread(builder.join)
    finally:
        builder.kill()
    if builder.exitcode:
        raise Unavailable("knot_database", f"the bucket database could not be made (exit code {builder.exitcode})")
    data = await asyncio.to_thread(part.read_bytes)
    part.unlink()
    return data


def _build_into(compiled: Map, path: Path) -> None:
    path.write_bytes(build_database(compiled))


async def ask_text(server: tuple[str, int], name: str) -> str:
    """What the TXT record at `name` says; empty if it says nothing.  `Unavailable` if nobody answers in time."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    loop = asyncio.get_running_loop()
    query = dns.message.make_query(name, dns.rdatatype.TXT)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(server)
            async with asyncio.timeout(QUERY_S):
                await loop.sock_sendall(sock, query.to_wire())
                while True:
                    reply = dns.message.from_wire(await loop.sock_recv(sock, 4_096))
                    if query.is_response(reply):
                        break
        except (OSError, TimeoutError, dns.exception.DNSException) as error:
            raise Unavailable("knot_gone", f"knotd does not answer questions: {error or 'in time'}") from error
    texts = [rr.to_text().strip('"') for found in reply.answer if found.rdtype == dns.rdatatype.TXT for rr in found]
    return texts[0] if texts else ""
