"""A private Moonbow world on this machine: started, filled with people, measured, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from moonbow.launch.control import ask
from moonbow.world import Ports, World, door_address, load_world

from .meter import Kinds
from .moonbow_client import Door, Http, Person

SLOT = 9
READY_S = 120.0
AT_ONCE = 6  # people made or signed in at one time: each costs the server an Argon2 hash
ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "lantern-harbour-quartz"


class RunningWorld:
    """A world that runs.  Its launcher belongs to us and ends with us."""

    def __init__(self, state: Path, launcher: subprocess.Popen[bytes]) -> None:
        self.state, self.launcher = state, launcher
        self.world: World = load_world(state / "world.toml")
        self.tls = ssl.create_default_context(cafile=str(state / "pki" / "ca.crt"))
        self._number = 0

    def kinds(self) -> Kinds:
        """Every process of the world and its kind."""
        answer = ask(self.state / "control.sock", {"op": "status"}, 30.0)
        processes = msgspec.convert(answer["processes"], list[dict[str, Any]])
        found = {self.launcher.pid: "others"}
        for process in processes:
            if process["pid"] is None:
                raise RuntimeError(f"{process['site']}/{process['name']} is {process['state']}: {process['reason']}")
            found[process["pid"]] = kind_of(process["name"])
        return found

    def doors(self, region: str) -> list[Door]:
        """All doors of a region's primary sites, the sites in turn."""
        by_site = [
            [
                Door(door_address(self.world, ref, number), Ports.DOOR, self.world.domain, self.tls)
                for number in range(ref.site.doors)
            ]
            for ref in self.world.primaries(region)
        ]
        most = max(map(len, by_site))
        return [doors[no % len(doors)] for no in range(most) for doors in by_site]

    async def owner(self) -> Person:
        """The owner of the demo company, signed in."""
        demo = msgspec.json.decode((self.state / "world" / "demo.json").read_bytes())
        people = [p for company in demo["companies"] if not company["sealed"] for p in company["people"]]
        found = next(p for p in people if p["role"] == "owner")
        return await self._sign_in(Http(self.doors(found["region"])[0]), found["login"], found["password"])

    async def people(self, owner: Person, region: str, count: int) -> list[Person]:
        """So many new people of a region, each signed in once, a few at a time."""
        logins = asyncio.Queue[str]()
        for _ in range(count):
            self._number += 1
            logins.put_nowait(f"load{self._number}@lunar.example")
        found: list[Person] = []
        home = self.doors(owner.ident.split("_")[1])
        entries = self.doors(region)

        async def work(no: int) -> None:
            maker, entry = Http(home[no % len(home)]), Http(entries[no % len(entries)])
            while not logins.empty():
                login = logins.get_nowait()
                wanted = {"login": login, "password": PASSWORD, "name": login.split("@")[0], "region": region}
                await maker.must("POST", "/v1/people", owner.token, wanted)
                found.append(await self._sign_in(entry, login, PASSWORD))
            maker.close()
            entry.close()

        await asyncio.gather(*(work(no) for no in range(min(AT_ONCE, count))))
        return found

    async def _sign_in(self, http: Http, login: str, password: str) -> Person:
        session = await http.must("POST", "/v1/sessions", body={"login": login, "password": password})
        return Person(session["person"]["id"], session["access_token"])


def kind_of(name: str) -> str:
    """What a process is, by its name in the launcher's table."""
    for start, kind in (("door", "doors"), ("gateway", "gateways"), ("bus", "bus"), ("border", "bus")):
        if name.startswith(start):
            return kind
    return "others"


@contextlib.asynccontextmanager
async def running_world(folder: Path, source: Path) -> AsyncIterator[RunningWorld]:
    """The world of file `source`, moved to our slot, running with its state below `folder` while the block runs."""
    state, file = folder / "state", folder / "world.toml"
    _write_world(file, source)
    launcher = await asyncio.to_thread(_launch, file, state, folder / "launcher.jsonl")
    try:
        await asyncio.wait_for(asyncio.to_thread(_await_ready, launcher), READY_S)
        yield RunningWorld(state, launcher)
    finally:
        await asyncio.to_thread(stop, launcher)


def _write_world(file: Path, source: Path) -> None:
    """The world of `source` in our slot."""
    file.write_text(f"slot = {SLOT}\n" + source.read_text())


def _launch(file: Path, state: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "moonbow.launch", "--world", str(file), "--state", str(state)]
    with log.open("wb") as stream:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stream, start_new_session=True
        )


def _await_ready(launcher: subprocess.Popen[bytes]) -> None:
    assert launcher.stdout is not None
    for line in launcher.stdout:
        said = msgspec.json.decode(line)
        if said.get("ready"):
            return
        if problems := said.get("problems"):
            raise RuntimeError("the world cannot start:\n" + "\n".join(problems))
    raise RuntimeError(f"the launcher ended with code {launcher.wait()}")


def stop(process: subprocess.Popen[bytes], within_s: float = 20.0) -> None:
    """SIGTERM, and SIGKILL to one that does not heed it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def work_folder() -> Any:
    """A folder on the checkout's disk, gone afterwards."""
    folder = ROOT / "build" / "bench" / f"{time.strftime('%H%M%S')}-{os.getpid()}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def file_system(path: Path) -> str:
    """The type of file system that holds `path`."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if str(path).startswith(where) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def spread(items: Sequence[Any], no: int) -> Any:
    """The item for number `no`, in turn."""
    return items[no % len(items)]
