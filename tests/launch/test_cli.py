"""The command line without a world: its errors, world files, trust, logs, and what `up` shows."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from launch.small import SOLO, TWO_REGIONS, moonbow
from moonbow.cli.globe import HEIGHT, WIDTH, draw_globe
from moonbow.cli.logs import log_files, read_line, show_line
from moonbow.cli.progress import Progress
from moonbow.cli.status import Process, Status, draw_status
from moonbow.cli.trust import install, remove
from moonbow.cli.welcome import welcome
from moonbow.launch.pki import ensure_pki
from moonbow.launch.policy import Change
from moonbow.world import load_world, parse_world

LAPTOP = load_world(Path("worlds/laptop.toml"))


def _shown(thing: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("words", ["status", "down", "kill paris", "start paris", "cut a b", "heal", "logs -n 1"])
def test_without_a_world_every_command_says_so(tmp_path: Path, words: str) -> None:
    done = moonbow(*words.split(), "--state", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("✗ ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("48.9", "98.9"), "regions.emea.sites[0].at"),
        (("slot = 4", "slot = 4\ncolour = 1"), "unknown field `colour`"),
        (("[traffic]", "[traffic"), "small.toml"),
    ],
)
def test_up_names_the_faults_of_a_world_and_starts_nothing(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    file = tmp_path / "small.toml"
    file.write_text(TWO_REGIONS.replace(*change))
    done = moonbow("up", "--no-build", "--world", str(file), "--state", str(tmp_path / "state"))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


def test_up_of_a_state_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    done = moonbow("up", "--no-build", "--world", "solo", "--state", str(tmp_path / "state"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "state") in done.stderr


def test_check_names_all_faults_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(TWO_REGIONS.replace("48.9", "98.9").replace('default = "emea"', 'default = "mars"'))
    done = moonbow("world", "check", str(file))
    assert done.returncode == 2
    assert done.stderr.count("✗") == 2
    assert moonbow("world", "check", "planet").returncode == 0
    missing = moonbow("world", "check", "atlantis")
    assert missing.returncode == 2
    assert "laptop, planet, solo" in missing.stderr


def test_show_draws_every_site(tmp_path: Path) -> None:
    said = moonbow("world", "show", "planet").stdout
    for ref in load_world(Path("worlds/planet.toml")).sites():
        assert ref.site.name in said
    assert "https://moonbow.localhost:8448" in said


def test_the_globe_keeps_its_bounds_and_shows_neighbours() -> None:
    corners = [
        (90.0, 180.0, "A", "red"),
        (-90.0, -180.0, "B", "red"),
        (1.35, 103.8, "C", "red"),
        (1.3, 103.7, "D", "red"),
    ]
    lines = draw_globe(corners).plain.splitlines()
    assert len(lines) == HEIGHT
    assert {len(line) for line in lines} == {WIDTH}
    assert all(letter in "".join(lines) for letter in "ABCD")


def test_one_end_of_a_cut_alone_is_refused(tmp_path: Path) -> None:
    done = moonbow("heal", "paris", "--state", str(tmp_path))
    assert done.returncode == 2
    assert "name both ends" in done.stderr


def test_the_welcome_fits_a_terminal_and_breaks_no_password(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    people = [
        {
            "name": "Ada",
            "login": "ada@lunar.example",
            "password": "-".join(["starling"] * 4),
            "role": "owner",
            "region": "emea",
        }
    ]
    (tmp_path / "world" / "demo.json").write_bytes(
        msgspec.json.encode({"companies": [{"name": "L", "people": people}]})
    )
    said = _shown(welcome(LAPTOP, tmp_path, 4.2))
    assert "starling-starling-starling-starling" in said
    assert "https://moonbow.localhost:8443" in said
    assert "laptop is up after 4.2 s" in said
    assert "Sign in" not in _shown(welcome(LAPTOP, tmp_path / "nowhere", 1.0))


def test_progress_without_a_terminal_is_a_line_per_site() -> None:
    console = Console(file=io.StringIO(), width=120)
    with Progress(console, LAPTOP) as progress:
        progress.note(Change("tokyo/bus", "starting"))
        progress.note(Change("tokyo/bus", "ready"))
        progress.note(Change("paris/bus", "backing off", "ended with code 3"))
        progress.note(Change("internet", "ready"))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "tokyo: 1 processes ready",
        "paris/bus backing off: ended with code 3",
        "outside the sites: 1 processes ready",
    ]


def test_progress_on_a_terminal_shows_every_site_and_the_trouble() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with Progress(console, LAPTOP) as progress:
        progress.note(Change("paris/bus", "backing off", "ended with code 3"))
        shown = _shown(progress._draw(), 120)
    assert all(ref.site.name in shown for ref in LAPTOP.sites())
    assert "ended with code 3" in shown


def test_status_tells_a_drained_a_dead_and_a_broken_site_apart() -> None:
    def process(site: str, state: str, reason: str = "") -> Process:
        row = {"site": site, "name": "bus", "state": state, "reason": reason, "since": 0, "restarts": 2}
        return msgspec.convert(row | {"pid": None, "people": None, "sockets": 7}, Process)

    rows = (
        process("paris", "killed"),
        process("frankfurt", "ready"),
        process("tokyo", "backing off", "ended with code 3"),
    )
    found = Status("laptop", True, 0.0, 1, ("frankfurt",), ("capetown",), (), rows)
    said = _shown(draw_status(LAPTOP, found))
    health = {
        line.split()[0]: line.split()[2]
        for line in said.splitlines()
        if line.startswith("  ") and len(line.split()) > 3
    }
    assert health["paris"] == "killed"
    assert health["frankfurt"] == "drained"
    assert health["capetown"] == "stopped"
    assert health["tokyo"] == "broken"
    assert "tokyo/bus: ended with code 3" in said


@pytest.mark.skipif(shutil.which("certutil") is None, reason="certutil comes with libnss3-tools")
def test_trust_is_put_in_once_and_taken_out(tmp_path: Path) -> None:
    authority, folder = ensure_pki(LAPTOP, tmp_path) / "ca.crt", tmp_path / "home" / "nssdb"

    def known() -> str:
        return subprocess.run(["certutil", "-d", f"sql:{folder}", "-L"], capture_output=True, text=True).stdout

    remove(folder, "Moonbow", authority)  # nothing there yet
    install(folder, "Moonbow", authority)
    install(folder, "Moonbow", authority)
    assert known().count("Moonbow") == 1
    assert "C,," in known()
    remove(folder, "Moonbow", authority)
    assert "Moonbow" not in known()


def test_log_lines_of_all_programs_are_read() -> None:
    ours = read_line('{"at":"2026-01-02T03:04:05.678+00:00","level":"info","event":"started","links":3}')
    assert ours["links"] == 3
    bus = read_line("[750] 2026/11/22 12:49:43.611726 [WRN] 127.91.2.1:35415 - gid:13 - slow")
    assert bus == {"at": "2026-11-22T12:49:43.611Z", "level": "warning", "event": "127.91.2.1:35415 - gid:13 - slow"}
    assert read_line("Traceback (most recent call last):") == {"event": "Traceback (most recent call last):"}
    shown = show_line(
        '{"at":"2026-01-02T03:04:05.678Z","level":"error","event":"[x]","trace":"T"}', Path("paris/logs/bus.log")
    )
    assert "03:04:05.678 paris/bus" in shown.plain
    assert shown.plain.endswith("[x]\nT")


def test_logs_of_a_site_are_its_own(tmp_path: Path) -> None:
    for name in ("sites/paris/logs/bus.log", "sites/tokyo/logs/gateway0.jsonl", "world/logs/director.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "world.toml").write_text(TWO_REGIONS)
    assert [path.name for path in log_files(tmp_path, "paris")] == ["bus.log"]
    assert [path.name for path in log_files(tmp_path, "world")] == ["director.jsonl"]
    assert len(log_files(tmp_path, None)) == 3


def test_the_test_worlds_are_sound() -> None:
    assert [ref.site.name for ref in parse_world(SOLO).sites()] == ["paris"]
    assert len(parse_world(TWO_REGIONS).sites()) == 3
