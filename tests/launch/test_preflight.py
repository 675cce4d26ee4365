"""What stops a world before it starts is found at once, with who and where; nothing is left behind."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from moonbow.base import programs
from moonbow.base.errors import ConfigError
from moonbow.director.orders import Order, Orders
from moonbow.launch import preflight, watches
from moonbow.launch.lock import only_launcher
from moonbow.launch.policy import Listener, Spec, plan_processes
from moonbow.launch.preflight import check_machine, find_engines, why_not
from moonbow.launch.state import prepare_state, read_orders, write_orders
from moonbow.launch.watches import count_watchers, doors_of, make_room
from moonbow.world import Ports, World, load_world, site_address
from support import eventually, free_port

WORLD_FILE = Path("worlds/laptop.toml")
WORLD = msgspec.structs.replace(load_world(WORLD_FILE), slot=11)  # where no other test starts anything
HOST = "127.90.4.1"


def _specs(world: World, state: Path) -> tuple[Spec, ...]:
    return plan_processes(world, state, find_engines())


def test_a_free_machine_has_nothing_against_a_world(tmp_path: Path) -> None:
    assert check_machine(WORLD, tmp_path, _specs(WORLD, tmp_path)) == ()


def test_a_missing_seaweedfs_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = msgspec.structs.replace(load_world(Path("worlds/laptop-engines.toml")), slot=11)
    specs = _specs(world, tmp_path)
    assert not any("seaweedfs" in problem for problem in check_machine(world, tmp_path, specs))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (problem,) = [problem for problem in check_machine(world, tmp_path, specs) if "seaweedfs" in problem]
    assert problem.startswith("regions.emea.data: ")
    assert "`./moonbow up`" in problem


def test_every_busy_port_is_named_with_who_holds_it(tmp_path: Path) -> None:
    address = site_address(WORLD, WORLD.site("tokyo"))
    with socket.create_server((address, Ports.BUS)), socket.create_server((address, Ports.REST)):
        problems = check_machine(WORLD, tmp_path, _specs(WORLD, tmp_path))
    assert len(problems) == 2
    me = f"(pid {os.getpid()})"
    assert problems[0].startswith(f"tokyo/bus: {address}:{Ports.BUS} (tcp): is taken by ")
    assert problems[1].startswith(f"tokyo/gateway0: {address}:{Ports.REST} (tcp): is taken by ")
    assert all(problem.endswith(me) for problem in problems)


def test_a_listener_on_all_addresses_is_seen(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert f"(pid {os.getpid()})" in why_not(Listener("tcp", HOST, server.getsockname()[1]))


def test_a_busy_udp_port_is_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        assert f"(pid {os.getpid()})" in why_not(Listener("udp", HOST, server.getsockname()[1]))


def test_a_port_that_was_just_left_is_free() -> None:
    port = free_port(HOST)
    with socket.create_server((HOST, port)) as server, socket.create_connection((HOST, port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # this side closes first, so it stays in TIME_WAIT
        client.recv(1)
    assert why_not(Listener("tcp", HOST, port)) == ""


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    assert why_not(Listener("tcp", "192.0.2.1", 4222)) == "is not an address of this machine"


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "DISK_BYTES_MIN", 1 << 60)
    (problem,) = check_machine(WORLD, tmp_path, ())
    assert "MB free on its disk" in problem


def test_a_state_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (problem,) = check_machine(WORLD, tmp_path / "file", ())
    assert "file: cannot be written" in problem
    with pytest.raises(ConfigError, match="cannot be prepared"):
        prepare_state(WORLD, WORLD_FILE.read_text(), tmp_path / "file")


def test_missing_libraries_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "LIBRARIES", ("msgspec", "no_such_library", "nor_this_one"))
    with pytest.raises(ConfigError) as caught:
        find_engines()
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["no_such_library", "nor_this_one"]


def test_a_missing_engine_is_named_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = msgspec.structs.replace(load_world(Path("worlds/laptop-engines.toml")), slot=11)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "PROGRAM_FOLDERS", ())
    place, line = 'regions.emea.data: sql = "galera": ', "apt-get install --no-install-recommends"
    assert check_machine(world, tmp_path, ()) == (
        f"{place}mariadbd is not installed; on Debian: {line}"
        " mariadb-server galera-4 galera-arbitrator-4 mariadb-backup socat",
        f"{place}mariadb-dump is not installed; on Debian: {line} mariadb-client",
    )
    assert check_machine(WORLD, tmp_path, ()) == ()


def test_no_world_starts_beside_half_a_restore(tmp_path: Path) -> None:
    half = tmp_path / "regions" / ".restoring.apac"
    half.mkdir(parents=True)
    (problem,) = check_machine(WORLD, tmp_path, ())
    assert problem.startswith(f"{half}: a restore was broken off; run it again")
    half.rmdir()
    assert check_machine(WORLD, tmp_path, ()) == ()


def test_too_few_file_watchers_are_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = count_watchers(doors_of(WORLD, tmp_path))
    assert needed >= 2 * len(list(doors_of(WORLD, tmp_path)))
    limit = tmp_path / "readonly" / "limit"
    limit.parent.mkdir()
    limit.write_text("0\n")
    monkeypatch.setattr(watches, "LIMIT", limit)
    assert make_room(10) == ""  # it may be raised, so it is
    assert int(limit.read_text()) >= 10
    monkeypatch.setattr(watches, "LIMIT", Path("/proc/sys/fs/inotify/max_user_instances"))
    assert make_room(0) == ""


def test_a_second_launcher_is_told_who_is_first(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from moonbow.launch.lock import only_launcher\n"
        f"with only_launcher(Path({str(tmp_path)!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"pid {first.pid}.*moonbow down"), only_launcher(tmp_path):
            pass
        first.kill()
    eventually(lambda: _can_lock(tmp_path))  # a dead launcher holds nothing
    assert list(tmp_path.iterdir()) == []


def _can_lock(state: Path) -> bool:
    try:
        with only_launcher(state):
            return True
    except ConfigError:
        return False


def test_the_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    state = tmp_path / "state"
    prepare_state(WORLD, WORLD_FILE.read_text(), state)
    for path in (state, *state.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert load_world(state / "world.toml") == load_world(WORLD_FILE)
    before = (state / "secrets" / "login.key").read_text()
    assert len(bytes.fromhex(before)) == 32
    prepare_state(WORLD, WORLD_FILE.read_text(), state)
    assert (state / "secrets" / "login.key").read_text() == before


def test_the_operators_word_is_kept_and_missing_means_none(tmp_path: Path) -> None:
    assert read_orders(tmp_path) == Orders()
    order = Order("o1", "canary", "paris", 4, "ada", "new doors", 100.0, 200.0)
    wanted = Orders(drain=("paris",), down=("tokyo",), orders=(order,))
    write_orders(tmp_path, wanted)
    assert read_orders(tmp_path) == wanted
