"""The supervisor with small real processes: crash, hang, pause, kill, order, and a launcher that dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moonbow.base.errors import ConfigError
from moonbow.base.files import bound_log
from moonbow.launch.child import last_lines
from moonbow.launch.policy import Change, Probe, Spec
from moonbow.launch.supervisor import Supervisor
from support import eventually, eventually_async, free_port

HOST = "127.90.3.1"
SERVE = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("started", flush=True)
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


def _spec(tmp_path: Path, name: str, script: str = SERVE, site: str = "here", after: tuple[str, ...] = ()) -> Spec:
    port = free_port(HOST)
    argv = (sys.executable, "-S", "-c", script, HOST, str(port))
    return Spec(site, name, argv, Probe("http", HOST, port, "/"), tmp_path / f"{site}-{name}.log", after)


@asynccontextmanager
async def _running(*specs: Spec) -> AsyncIterator[tuple[Supervisor, list[Change]]]:
    changes: list[Change] = []
    supervisor = Supervisor(specs, changes.append)
    await supervisor.start()
    try:
        await supervisor.until_ready(15)
        yield supervisor, changes
    finally:
        await supervisor.close()
        assert not any(keeper.child and keeper.child.running for keeper in supervisor.keepers.values())


def _pid(supervisor: Supervisor, key: str) -> int:
    child = supervisor.keepers[key].child
    assert child is not None
    return child.pid


def _exists(pid: int) -> bool:
    """Whether a process lives; one that is dead and not yet reaped does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_crashed_process_comes_back_and_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        async with _running(_spec(tmp_path, "a")) as (supervisor, changes):
            first = _pid(supervisor, "here/a")
            os.kill(first, signal.SIGKILL)
            await eventually_async(lambda: supervisor.keepers["here/a"].restarts == 1)
            await supervisor.until_ready(15)
            assert _pid(supervisor, "here/a") != first
            assert any("SIGKILL" in change.reason for change in changes)

    asyncio.run(main())


def test_a_hung_process_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        async with _running(_spec(tmp_path, "a")) as (supervisor, changes):
            first = _pid(supervisor, "here/a")
            os.kill(first, signal.SIGSTOP)
            await eventually_async(lambda: supervisor.keepers["here/a"].restarts == 1, within_s=15)
            assert not _exists(first)
            assert any("hangs" in change.reason for change in changes)

    asyncio.run(main())


def test_killing_a_site_takes_all_of_it_and_nothing_else_until_it_is_started(tmp_path: Path) -> None:
    async def main() -> None:
        specs = [_spec(tmp_path, "a"), _spec(tmp_path, "b"), _spec(tmp_path, "c", site="there")]
        async with _running(*specs) as (supervisor, _):
            pids = [_pid(supervisor, "here/a"), _pid(supervisor, "here/b")]
            assert len({os.getpgid(pid) for pid in pids}) == 1
            assert os.getpgid(_pid(supervisor, "there/c")) != os.getpgid(pids[0])
            assert await supervisor.kill_sites(["here"]) == 2
            assert not any(map(_exists, pids))
            assert [keeper.state for keeper in supervisor.keepers.values()] == ["killed", "killed", "ready"]
            await supervisor.start(supervisor.of_site("here"))
            await supervisor.until_ready(15)

    asyncio.run(main())


def test_sites_of_a_region_are_killed_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        specs = [_spec(tmp_path, "a"), _spec(tmp_path, "c", site="there"), _spec(tmp_path, "d", site="away")]
        async with _running(*specs) as (supervisor, _):
            assert await supervisor.kill_sites(["here", "there"]) == 2
            assert [keeper.state for keeper in supervisor.keepers.values()] == ["killed", "killed", "ready"]

    asyncio.run(main())


def test_children_of_children_go_with_their_site(tmp_path: Path) -> None:
    script = f"import subprocess\nprint(subprocess.Popen(['sleep', '60']).pid, flush=True)\n{SERVE}"

    async def main() -> None:
        async with _running(_spec(tmp_path, "a", script)) as (supervisor, _):
            grandchild = int((tmp_path / "here-a.log").read_text().split()[0])
            assert _exists(grandchild)
            await supervisor.kill_sites(["here"])
            await eventually_async(lambda: not _exists(grandchild))

    asyncio.run(main())


def test_order_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        specs = [_spec(tmp_path, "late", after=("here/early",)), _spec(tmp_path, "early")]
        async with _running(*specs) as (_, changes):
            order = [change[:2] for change in changes if change.state in ("starting", "ready")]
            assert order.index(("here/early", "ready")) < order.index(("here/late", "starting"))

    asyncio.run(main())


def test_a_process_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        spec = _spec(tmp_path, "a", "raise SystemExit('the disk is made of cheese')")
        with pytest.raises(ConfigError, match=r"here/a: .*\n.*made of cheese"):
            async with _running(spec):
                pass

    asyncio.run(main())


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        spec = Spec("", "x", ("/nowhere/program",), Probe("http", HOST, 1, "/"), tmp_path / "log")
        with pytest.raises(ConfigError, match="/nowhere/program cannot be run"):
            async with _running(spec):
                pass

    asyncio.run(main())


def test_stubborn_processes_are_ended_too(tmp_path: Path) -> None:
    stubborn = SERVE.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")

    async def main() -> None:
        async with _running(_spec(tmp_path, "a", stubborn)) as (supervisor, _):
            await supervisor.stop()
            assert supervisor.keepers["here/a"].state == "stopped"

    asyncio.run(main())


def test_when_the_launcher_dies_even_a_hung_process_goes_with_it(tmp_path: Path) -> None:
    launcher = f"""
import asyncio, sys
from pathlib import Path
from moonbow.launch.policy import Probe, Spec
from moonbow.launch.supervisor import Supervisor
async def main():
    probe = Probe("http", "{HOST}", 1, "/")
    supervisor = Supervisor([Spec("", name, ("sleep", "60"), probe, Path("{tmp_path}") / name) for name in "ab"])
    await supervisor.start()
    await asyncio.sleep(0.2)
    print(*(keeper.child.pid for keeper in supervisor.keepers.values()), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGSTOP)
        process.kill()
    eventually(lambda: not any(map(_exists, pids)))


def test_a_log_is_bounded_and_keeps_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("a") as writer:
        writer.write("one\n" * 1000)
        writer.flush()
        assert not bound_log(path, bytes_max=4000)
        assert bound_log(path, bytes_max=3999)
        writer.write("two\n")
        writer.flush()
    assert path.read_text() == "two\n"
    assert last_lines(tmp_path / "log.1", 2) == ["one", "one"]
    assert last_lines(tmp_path / "none") == []
