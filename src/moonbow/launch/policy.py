"""Decides which processes a world needs, when each may start, and what to do with one that fails.

Laws: the plan follows from world and folders alone; a process starts only after those it needs are ready; a restart
waits longer after every failure up to a bound and forgets failures after good conduct; a process is replaced only when
it is gone (that is the supervisor's part), so there are never two writers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from moonbow.backup.policy import why_not
from moonbow.balancer.listeners import metrics_address
from moonbow.balancer.model import Door
from moonbow.bus.policy import SERVERS, Server
from moonbow.data.policy import stop_turn
from moonbow.data.seaweed import keeps_objects, node_files, weed_ports
from moonbow.director.knot import knot_argv
from moonbow.world import Ports, SiteRef, World, door_address, objects_grpc_port, site_address, world_address

from .links import place_address, plan_links

PROBE_INTERVAL_S = 2.0  # of a process that is well; each look wakes it, and an idle world is made of wake-ups
DOUBT_INTERVAL_S = 0.25  # of one that is not, or missed its last probe
START_INTERVAL_S = 0.03  # of one that has not been ready yet
PROBE_S = 1.0  # to answer one probe
MISSED_MAX = 3  # probes in a row before a process counts as hung
START_S = 60.0  # to become ready for the first time; who keeps data may take longer, as long as it answers
LATE_S = 0.5  # a probe that ended this long after its time was up says more about the prober
SILENT_RATIO_MAX = 0.5  # of all processes: when more are silent, the machine is short of time, not its processes
GOOD_CONDUCT_S = 30.0  # without failure, after which earlier failures are forgotten
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 10.0
TERM_S = 3.0  # between SIGTERM and SIGKILL
DATA_TERM_S = 30.0  # the same, for who has pages to write
OUTSIDE = ""  # the "site" of processes that belong to none

Health = Literal["ready", "alive", "silent"]  # does its work; answers but cannot work now; does not answer
State = Literal["waiting", "starting", "ready", "alive", "backing off", "stopped", "killed"]


class Probe(NamedTuple):
    """How to ask a process whether it is well: `http` wants 200 at `path`, `dns` any answer, `unix` any line.

    `keys`: over TLS that proves both ends; PEM files of the authority, and of the asker's certificate and key.
    """

    kind: Literal["http", "dns", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""
    keys: tuple[Path, Path, Path] | None = None


class Listener(NamedTuple):
    """An address that a process will listen on."""

    kind: Literal["tcp", "udp"]
    host: str
    port: int


@dataclass(frozen=True)
class Spec:
    """One process: its place and name, how it starts, how its health is asked, and what must be ready before it."""

    site: str
    name: str
    argv: tuple[str, ...]
    probe: Probe
    log: Path
    after: tuple[str, ...] = ()
    listens: tuple[Listener, ...] = ()
    serves_people: bool = False  # holds people's connections: is asked to drain, and stops first
    keeps_data: bool = False  # others' data: is ready before the seed, and may take its time for that
    late: bool = False  # nobody waits for it: it starts when the world is ready
    stop_turn: int = 0  # the higher, the later it is stopped
    term_s: float = TERM_S
    env: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The name of the process in the world, as shown to people: `paris/gateway0`, `internet`."""
        return f"{self.site}/{self.name}" if self.site else self.name


@dataclass(frozen=True)
class Engines:
    """How programs are started here: this Python, the bus server's binary, and a door's command line."""

    python: str
    nats_server: str
    door_argv: Callable[[Door], Sequence[str]]


def plan_processes(world: World, state: Path, engines: Engines) -> tuple[Spec, ...]:
    """Every process of `world` on this machine: those outside the sites first, then site by site in file order."""
    specs = [_internet(world, state, engines)]
    if world.audit.every_h:
        specs.append(_watch(world, state, engines))
    for ref in world.sites():
        if ref.site.kind != "edge" and world.regions[ref.region].data.sql == "galera":
            specs.append(_data(world, ref, state, engines))
        if keeps_objects(world, ref):
            specs.append(_objects(world, ref, state, engines))
        if ref.site.kind == "primary":
            specs += (_bus(world, ref, state, engines, server) for server in SERVERS)
        if ref.site.kind != "witness":
            specs += (_door(world, ref, state, number, engines) for number in range(ref.site.doors))
        if ref.site.kind == "primary":
            specs += (_gateway(world, ref, state, number, engines) for number in range(ref.site.gateways))
            specs.append(_director(world, ref, state, engines))
            if world.dns.engine == "knot":
                specs.append(_knot(world, ref, state, engines))
            if ref == world.primaries(ref.region)[0] and not why_not("", world.regions[ref.region].data):
                specs.append(_backup(world, ref, state, engines))
    return tuple(specs)


def _module(engines: Engines, module: str, state: Path, *more: str) -> tuple[str, ...]:
    return (engines.python, "-P", "-m", module, "--state", str(state), *more)


def _data(world: World, ref: SiteRef, state: Path, engines: Engines) -> Spec:
    host, site = site_address(world, ref), ref.site.name
    nodes = tuple(primary.site.name for primary in world.primaries(ref.region))
    ports = [Ports.DATA, Ports.DATA_PEERS, Ports.SQL_CLUSTER]
    if ref.site.kind == "primary":
        ports += (Ports.SQL, Ports.SQL_INCREMENT, Ports.SQL_SNAPSHOT)
    return Spec(
        site,
        "data",
        _module(engines, "moonbow.data", state, "--site", site),
        Probe("http", host, Ports.DATA, "/healthz"),
        state / "sites" / site / "logs" / "data.jsonl",
        listens=tuple(Listener("tcp", host, port) for port in ports),
        keeps_data=True,
        stop_turn=1 + stop_turn(nodes, site),
        term_s=DATA_TERM_S,
    )


def _objects(world: World, ref: SiteRef, state: Path, engines: Engines) -> Spec:
    """At a primary site, S3 says how it is, which answers once its filer has found the site's SQL; else the master."""
    host, site, serves = site_address(world, ref), ref.site.name, ref.site.kind == "primary"
    port, page = (Ports.OBJECTS_S3, "/healthz") if serves else (Ports.OBJECTS_MASTER, "/readyz")
    own = weed_ports(ref)
    ports = (*own, *(objects_grpc_port(world, ref, one) for one in own), Ports.OBJECTS_METRICS)
    return Spec(
        site,
        "objects",
        _module(engines, "moonbow.data.weed", state, "--site", site),
        Probe("http", host, port, page, node_files(ref, state)),
        state / "sites" / site / "logs" / "objects.log",  # not all of its lines are JSON
        after=(f"{site}/data",) if serves else (),
        listens=tuple(Listener("tcp", host, one) for one in ports),
        env=(("GOMAXPROCS", "2"), ("GOGC", "50")),
    )


def _director(world: World, ref: SiteRef, state: Path, engines: Engines) -> Spec:
    host, site = site_address(world, ref), ref.site.name
    answers = world.dns.engine == "embedded"  # else Knot does, and the director drives it
    pages = Probe("http", host, Ports.DIRECTOR, "/healthz")
    return Spec(
        site,
        "director",
        _module(engines, "moonbow.director", state, "--site", site),
        _answers_dns(world, host) if answers else pages,
        state / "sites" / site / "logs" / "director.jsonl",
        listens=(
            *(_dns_listeners(host) if answers else ()),
            *(Listener("tcp", host, port) for port in (Ports.DIRECTOR, Ports.VIEWS)),
        ),
    )


def _knot(world: World, ref: SiteRef, state: Path, engines: Engines) -> Spec:
    host, site = site_address(world, ref), ref.site.name
    argv, log = knot_argv(engines.python, state, site), state / "sites" / site / "logs" / "knot.log"
    return Spec(site, "knot", argv, _answers_dns(world, host), log, listens=_dns_listeners(host))


def _backup(world: World, ref: SiteRef, state: Path, engines: Engines) -> Spec:
    host, site = site_address(world, ref), ref.site.name
    return Spec(
        site,
        "backup",
        _module(engines, "moonbow.backup", state, "--region", ref.region),
        Probe("http", host, Ports.BACKUP, "/healthz"),
        state / "sites" / site / "logs" / "backup.jsonl",
        listens=(Listener("tcp", host, Ports.BACKUP),),
        late=True,
    )


def _answers_dns(world: World, host: str) -> Probe:
    return Probe("dns", host, Ports.DNS, f"door.{world.domain}")


def _dns_listeners(host: str) -> tuple[Listener, ...]:
    return (Listener("udp", host, Ports.DNS), Listener("tcp", host, Ports.DNS))


def _internet(world: World, state: Path, engines: Engines) -> Spec:
    listens = [Listener("tcp", *place_address(world, place)) for place in world.places]
    listens += (Listener("tcp", *link.listen) for link in plan_links(world))
    return Spec(
        OUTSIDE,
        "internet",
        _module(engines, "moonbow.launch.internet", state),
        Probe("unix", path=str(state / "world" / "internet.sock")),
        state / "world" / "logs" / "internet.jsonl",
        listens=tuple(listens),
    )


def _watch(world: World, state: Path, engines: Engines) -> Spec:
    host = world_address(world)
    return Spec(
        OUTSIDE,
        "watch",
        _module(engines, "moonbow.watch", state),
        Probe("http", host, Ports.WATCH, "/metrics"),
        state / "world" / "logs" / "watch.jsonl",
        listens=(Listener("tcp", host, Ports.WATCH),),
        late=True,
    )


def _bus(world: World, ref: SiteRef, state: Path, engines: Engines, server: Server) -> Spec:
    host = site_address(world, ref)
    border = (Ports.BORDER, Ports.BORDER_MONITOR, Ports.BORDER_ROUTES)
    client, monitor, others = border if server == "border" else (Ports.BUS, Ports.BUS_MONITOR, Ports.BUS_ROUTES)
    folder = state / "sites" / ref.site.name
    return Spec(
        ref.site.name,
        server,
        (engines.nats_server, "-c", str(folder / server / "nats.conf")),
        Probe("http", host, monitor, "/healthz"),
        folder / "logs" / f"{server}.log",
        listens=tuple(Listener("tcp", host, port) for port in (client, others, monitor)),
        # It writes lines of its own, without a zone; and the servers of one machine need a core each, not all of them.
        env=(("TZ", "UTC"), ("GOMAXPROCS", "1")),
    )


def _door(world: World, ref: SiteRef, state: Path, number: int, engines: Engines) -> Spec:
    door = Door(world, ref, number, state)
    host = door_address(world, ref, number)
    metrics = metrics_address(door)
    ports = [Ports.DOOR] if door.is_edge else [Ports.DOOR, Ports.MESH]
    return Spec(
        ref.site.name,
        f"door{number}",
        tuple(engines.door_argv(door)),
        Probe("http", *metrics, "/ready"),
        state / "sites" / ref.site.name / "logs" / f"door{number}.envoy.jsonl",
        listens=(*(Listener("tcp", host, port) for port in ports), Listener("tcp", *metrics)),
    )


def _gateway(world: World, ref: SiteRef, state: Path, number: int, engines: Engines) -> Spec:
    host, site = site_address(world, ref), ref.site.name
    rest, stream = Ports.REST + number, Ports.STREAM + number
    needed = (*SERVERS, "data") if world.regions[ref.region].data.sql == "galera" else SERVERS
    return Spec(
        site,
        f"gateway{number}",
        _module(engines, "moonbow.gateway", state, "--site", site, "--number", str(number)),
        Probe("http", host, rest, "/healthz"),
        state / "sites" / site / "logs" / f"gateway{number}.jsonl",
        after=tuple(f"{site}/{name}" for name in needed),
        listens=(Listener("tcp", host, rest), Listener("tcp", host, stream)),
        serves_people=True,
    )


class Change(NamedTuple):
    """A process went into another state; `reason` is a sentence, empty if there is nothing to say."""

    key: str
    state: State
    reason: str = ""


class Record(NamedTuple):
    """What is known of one process since it last started.  Times are seconds of one monotonic clock."""

    started_at: float
    ready_at: float | None = None  # first time it was ready
    heard_at: float | None = None  # last time it answered
    ready: bool = False  # by its last answer
    missed: int = 0  # probes in a row without answer
    failures: int = 0  # in a row, each without good conduct in between


class Verdict(NamedTuple):
    """Whether a process must be replaced, and why as a sentence."""

    replace: bool
    reason: str


def note_probe(record: Record, health: Health, now: float, took_s: float = 0.0) -> Record:
    """The record after one probe that took `took_s`; a miss counts only if the prober itself was in time."""
    if health == "silent":
        return record if took_s > PROBE_S + LATE_S else record._replace(missed=record.missed + 1)
    ready_at = now if record.ready_at is None and health == "ready" else record.ready_at
    return record._replace(missed=0, ready_at=ready_at, heard_at=now, ready=health == "ready")


def probe_interval_s(record: Record) -> float:
    """How often to ask a process: seldom when it is well, and a hung one is found in 3.5 to 5.5 s."""
    if record.ready_at is None:
        return START_INTERVAL_S
    return DOUBT_INTERVAL_S if record.missed or not record.ready else PROBE_INTERVAL_S


def judge(record: Record, now: float, silent_ratio: float = 0.0, patient: bool = False) -> Verdict:
    """Whether a living process hangs: three probes in a row unanswered, or not ready in time after its start.

    `silent_ratio` is the part of all processes that missed their last probe.  To a `patient` judge it is enough that a
    process which is not ready yet answers.
    """
    if record.ready_at is None:
        since = record.heard_at if patient and record.heard_at is not None else record.started_at
        if now - since > START_S:
            return Verdict(True, f"was not ready within {START_S:.0f} s of its start")
        return Verdict(False, "is starting")
    if record.missed >= MISSED_MAX:
        if silent_ratio > SILENT_RATIO_MAX:
            return Verdict(False, "is silent, like most: the machine is overloaded")
        return Verdict(True, f"hangs: {record.missed} probes in a row were not answered")
    return Verdict(False, "is well" if not record.missed else f"missed {record.missed} of {MISSED_MAX} probes")


def count_failure(record: Record, now: float) -> int:
    """Failures in a row, this one included; a process of good conduct starts again from one."""
    well_for = now - record.ready_at if record.ready_at is not None else 0.0
    return 1 if well_for > GOOD_CONDUCT_S else record.failures + 1


def backoff_s(failures: int) -> float:
    """How long to wait before the next start after `failures` in a row."""
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** (min(failures, 20) - 1)) if failures > 0 else 0.0


def may_start(spec: Spec, states: Mapping[str, State]) -> bool:
    """Whether everything that `spec` needs has been ready, or has been taken away on purpose."""
    return all(states.get(key, "ready") in ("ready", "alive", "stopped", "killed") for key in spec.after)


def stop_turns(specs: Iterable[Spec]) -> tuple[int, ...]:
    """The turns in which processes are stopped, first to last."""
    return tuple(sorted({turn_of(spec) for spec in specs}))


def turn_of(spec: Spec) -> int:
    """When a process is stopped: those that hold people's connections before all others."""
    return -1 if spec.serves_people else spec.stop_turn
