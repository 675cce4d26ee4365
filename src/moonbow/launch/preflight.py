"""Looks at the machine before anything starts: everything that would stop a world is found at once, with its cure."""

from __future__ import annotations

import errno
import importlib.util
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from moonbow.backup.policy import restoring_folder
from moonbow.balancer.adapters.envoy import envoy_argv, envoy_binary
from moonbow.base.errors import ConfigError
from moonbow.data import weed
from moonbow.data.adapters.engine import find_programs
from moonbow.stores.mariadb_dump import find_tools
from moonbow.world import SITES_MAX, World

from .policy import Engines, Listener, Spec
from .proc import command_line, describe, open_files, parent, processes
from .watches import count_watchers, doors_of, make_room

DISK_BYTES_MIN = 200 * 1_048_576
LIBRARIES = (
    *("argon2", "cryptography", "dns", "httpx", "iptocc", "litestar", "msgspec", "nats", "picows"),
    *("prometheus_client", "uvicorn", "uvloop"),
)
CURE = "run ./moonbow in the project's folder, which installs what is needed"


def find_engines() -> Engines:
    """The programs this machine has; `ConfigError` naming every one that is missing and what brings it."""
    problems = [f"the library {name!r} is missing: {CURE}" for name in LIBRARIES if not importlib.util.find_spec(name)]
    beside = Path(sys.executable).parent / "nats-server"
    nats_server = str(beside) if beside.is_file() else shutil.which("nats-server")
    if nats_server is None:
        problems.append(f"the bus server nats-server is missing: {CURE}")
    try:
        envoy_binary()
    except ConfigError as error:
        problems += error.problems
    if sys.platform != "linux":
        problems.append(f"a world on one machine needs Linux (loopback addresses, pidfd); this is {sys.platform}")
    if problems:
        raise ConfigError(*problems)
    assert nats_server is not None
    return Engines(sys.executable, nats_server, envoy_argv)


def check_machine(world: World, state: Path, specs: Iterable[Spec]) -> tuple[str, ...]:
    """Every reason why these processes cannot run here now, each with its place."""
    places = (*_folder_problems(state), *_restore_problems(world, state))
    found = (*places, *_world_problems(world), *_port_problems(specs))
    if found:
        return found
    lacking = make_room(count_watchers(doors_of(world, state)))
    return (lacking,) if lacking else ()


def _folder_problems(state: Path) -> Iterator[str]:
    """Whether the state folder can be written and its disk has room."""
    try:
        with tempfile.TemporaryFile(dir=state) as file:
            file.write(b"room?")
            file.flush()
    except OSError as error:
        yield f"{state}: cannot be written: {error.strerror}"
        return
    free = shutil.disk_usage(state).free
    if free < DISK_BYTES_MIN:
        yield f"{state}: only {free // 1_048_576} MB free on its disk, {DISK_BYTES_MIN // 1_048_576} MB wanted"


def _restore_problems(world: World, state: Path) -> Iterator[str]:
    """Whether a restore was broken off: a region that is built in half must not begin with nobody in it."""
    for region in world.regions:
        if (folder := restoring_folder(state, region)).exists():
            yield f"{folder}: a restore was broken off; run it again, or remove the folder for {region} to begin anew"


def _world_problems(world: World) -> Iterator[str]:
    if len(world.sites()) > SITES_MAX:
        yield f"regions: {len(world.sites())} sites; one machine has link addresses for {SITES_MAX}"
    clusters = [name for name, region in world.regions.items() if region.data.sql == "galera"]
    for find in (find_programs, find_tools) if clusters else ():
        try:
            find()
        except ConfigError as error:
            yield f'regions.{clusters[0]}.data: sql = "galera": {error}'

    stores = [name for name, region in world.regions.items() if region.data.objects == "seaweedfs"]
    if stores:
        try:
            weed.find_weed()
        except ConfigError as error:
            yield f'regions.{stores[0]}.data: objects = "seaweedfs": {error}'


def _port_problems(specs: Iterable[Spec]) -> Iterator[str]:
    launchers: dict[Path, None] = {}
    problems = []
    for spec in specs:
        for listener in spec.listens:
            if reason := why_not(listener):
                problems.append(f"{spec.key}: {listener.host}:{listener.port} ({listener.kind}): {reason}")
                holder = find_holder(listener)
                if holder is not None and (launcher := launcher_of(holder)):
                    launchers[launcher] = None
    for launcher in launchers:
        yield f"another world of the same slot runs here, its launcher is {describe(launcher)}: {stop_hint(launcher)}"
    yield from problems


def launcher_of(process: Path) -> Path | None:
    """The launcher that started a process of a world."""
    above = parent(process)
    words = command_line(above) if above is not None else []
    return above if any(word in ("moonbow.launch", "moonbow.cli") for word in words) else None


def stop_hint(launcher: Path) -> str:
    """What the operator may do about another world."""
    words = command_line(launcher)
    state = words[words.index("--state") + 1] if "--state" in words[:-1] else ""
    return f"stop it (down{f' --state {state}' if state else ''}), or give this one another `slot` in its file"


def why_not(listener: Listener) -> str:
    """Why this address cannot be listened on, and who holds it; empty if it can."""
    kind = socket.SOCK_STREAM if listener.kind == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        try:
            if listener.kind == "tcp":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listener.host, listener.port))
            if listener.kind == "tcp":
                probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                holder = find_holder(listener)
                return f"is taken by {describe(holder) if holder else 'a process of somebody else'}"
            if error.errno == errno.EADDRNOTAVAIL:
                return "is not an address of this machine"
            return str(error.strerror)
    return ""


def find_holder(listener: Listener) -> Path | None:
    """The process that listens there; None if it cannot be seen.  Reads proc(5)."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(listener)}
    for folder in processes() if sockets else ():
        if not sockets.isdisjoint(open_files(folder)):
            return folder
    return None


def _inodes(listener: Listener) -> Iterator[str]:
    tables = ("tcp", "tcp6") if listener.kind == "tcp" else ("udp", "udp6")
    for table in tables:
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            address, _, port = words[1].partition(":")
            listening = words[3] == ("0A" if listener.kind == "tcp" else "07")
            if listening and int(port, 16) == listener.port and _same_host(address, listener.host):
                yield words[9]


def _same_host(found: str, wanted: str) -> bool:
    """Whether the hexadecimal address of a table row covers `wanted`: it is the same, or all addresses."""
    if set(found) == {"0"} or len(found) == 32:
        return True
    return socket.inet_ntoa(int(found, 16).to_bytes(4, "little")) == wanted
