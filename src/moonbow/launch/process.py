"""The launcher: makes a world's folders, starts its processes, answers its operator, and leaves nothing behind.

`run` is the whole life of a world on this machine.  The operator speaks to it over `STATE/control.sock`, see `answer`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from moonbow.balancer.process import Balancer
from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.bus.policy import SERVERS, render_server
from moonbow.data.seaweed import keeps_objects, weed_sockets
from moonbow.director.orders import Orders
from moonbow.world import World, load_world

from .census import ask_people, describe_process
from .control import Answer, ask, serve_lines
from .lock import only_launcher
from .opening import until_open
from .policy import Change, plan_processes
from .preflight import check_machine, find_engines
from .seed import seed_demo
from .service import DATA_READY_S, READY_S, Service
from .state import prepare_state, write_orders
from .supervisor import Supervisor

log = logging.getLogger("moonbow.launch")
Report = Callable[[Change], None]


class Launcher:
    """A world on this machine, from its first process to its last."""

    def __init__(self, world: World, state: Path, supervisor: Supervisor) -> None:
        self.world = world
        self.state = state
        self.supervisor = supervisor
        self.service = Service(world, state, supervisor)
        self.stopping = asyncio.Event()
        self.ready = False
        self.started_at = time.time()

    async def answer(self, request: dict[str, object]) -> Answer:
        """One request of the operator: `{"op": …, …}`; `ConfigError` or `Refused` for what cannot be done."""
        match request.get("op"):
            case "status":
                return await self.status()
            case "down":
                self.stopping.set()
                return {"pid": os.getpid()}
            case "cut" | "heal":
                return await asyncio.to_thread(ask, self.state / "world" / "internet.sock", request, 10.0)
            case "orders":
                return {"orders": [order._asdict() for order in self.service.orders.orders]}
            case "kill" | "start" | "drain" | "stop" | "order" | "undo":
                return await self.service.answer(str(request["op"]), request)
            case other:
                raise ConfigError(f"the launcher does not know {other!r}")

    async def status(self) -> Answer:
        """Every process and how it is, every site's people, and the links that are cut."""
        keepers = list(self.supervisor.keepers.values())
        people = await asyncio.gather(*(ask_people(keeper) for keeper in keepers))
        return {
            "world": self.world.name,
            "pid": os.getpid(),
            "ready": self.ready,
            "since": self.started_at,
            "drain": self.service.orders.drain,
            "down": self.service.orders.down,
            "orders": [order._asdict() for order in self.service.orders.orders],
            "cuts": await self._cuts(),
            "processes": [describe_process(keeper, found) for keeper, found in zip(keepers, people, strict=True)],
        }

    async def _cuts(self) -> object:
        try:
            shown = await asyncio.to_thread(ask, self.state / "world" / "internet.sock", {"op": "show"}, 1.0)
        except OSError:  # the internet itself is starting or gone; its row says so
            return []
        return shown["cuts"]


async def run(world_file: Path, state: Path, report: Report, on_ready: Callable[[World], None]) -> None:
    """Run the world of `world_file` in folder `state` until SIGINT, SIGTERM or the operator's `down`.

    `report` hears of every change of a process, `on_ready` once when all of them are ready.  `ConfigError` names all
    that must be mended; nothing has been started then, or everything has been stopped again.
    """
    world = load_world(world_file)
    os.umask(0o077)
    _make(state)
    with only_launcher(state):
        engines = find_engines()
        specs = plan_processes(world, state, engines)
        if problems := check_machine(world, state, specs):
            raise ConfigError(*problems)
        _raise_file_limit()
        balancers = _prepare(world, world_file, state)
        launcher = Launcher(world, state, Supervisor(specs, report))
        await _live(launcher, balancers, on_ready)


async def _live(launcher: Launcher, balancers: list[Balancer], on_ready: Callable[[World], None]) -> None:
    supervisor, state = launcher.supervisor, launcher.state
    async with AsyncExitStack() as stack:
        _listen_to_signals(launcher)
        stack.callback(_clean, launcher.world, state)
        stack.push_async_callback(supervisor.close)
        await stack.enter_async_context(serve_lines(state / "control.sock", launcher.answer))
        tending = asyncio.gather(launcher.service.mind_orders(), *(balancer.run() for balancer in balancers))
        stack.callback(tending.cancel)
        await _until(launcher.stopping, _start(launcher, balancers))
        if not launcher.stopping.is_set():
            launcher.ready = True
            log.info("ready", extra={"f": {"seconds": round(time.time() - launcher.started_at, 1)}})
            on_ready(launcher.world)
            await _until(launcher.stopping, tending)
        log.info("stopping")


async def _start(launcher: Launcher, balancers: list[Balancer]) -> None:
    data = [keeper for keeper in launcher.supervisor.keepers.values() if keeper.spec.keeps_data]
    await launcher.supervisor.start(data)
    await launcher.supervisor.until_ready(DATA_READY_S, data)
    await seed_demo(launcher.world, launcher.state)
    prompt = [keeper for keeper in launcher.supervisor.keepers.values() if not keeper.spec.late]
    await launcher.supervisor.start(prompt)
    await launcher.supervisor.until_ready(READY_S, prompt)
    await until_open(launcher.world, launcher.state, balancers)
    await launcher.supervisor.start()


async def _until(stopping: asyncio.Event, work: Awaitable[object]) -> None:
    """Return when `work` is done or the operator wants to stop; raises what `work` raises."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    else:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _listen_to_signals(launcher: Launcher) -> None:
    def stop() -> None:
        if launcher.stopping.is_set():  # asked twice: do not wait for anybody
            launcher.supervisor.kill_all()
        launcher.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _prepare(world: World, world_file: Path, state: Path) -> list[Balancer]:
    """Write what the processes read at their start; the balancers that keep the doors' part up to date."""
    prepare_state(world, world_file.read_text(), state)
    write_orders(state, Orders())
    balancers = []
    for ref in world.sites():
        if ref.site.kind == "primary":
            for server in SERVERS:
                folder = state / "sites" / ref.site.name / server
                folder.mkdir(mode=0o700, exist_ok=True)
                write_private(folder / "nats.conf", render_server(world, ref, state, server).encode())
        if ref.site.kind != "witness":
            balancers.append(Balancer(world, ref, state))
            balancers[-1].write_all()
    return balancers


def _clean(world: World, state: Path) -> None:
    """Remove what means nothing once nobody runs: the operator's word, and sockets that engines leave."""
    sockets = (path for ref in world.sites() if keeps_objects(world, ref) for path in weed_sockets(world, ref))
    for path in (state / "overrides.json", *state.glob("sites/*/door*/admin.sock"), *sockets):
        path.unlink(missing_ok=True)


def _make(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{state}: cannot be made: {error.strerror}") from error


def _raise_file_limit() -> None:
    """Raise the soft limit of open files, which processes inherit, to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
