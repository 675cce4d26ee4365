"""How a world ends: by Ctrl-C, by `down`, by the death of its launcher; and that it starts again with its data."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from launch.small import SOLO, command, environment, leftovers, moonbow, running_in
from support import eventually

pytestmark = pytest.mark.engines


def _start(tmp_path: Path) -> subprocess.Popen[str]:
    """A world in the foreground, ready."""
    (tmp_path / "solo.toml").write_text(SOLO)
    words = ("up", "--no-build", "--world", str(tmp_path / "solo.toml"), "--state", str(tmp_path / "state"))
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return process


def test_ctrl_c_ends_all_of_it_and_the_data_stays(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _start(tmp_path) as process:
        demo = (state / "world" / "demo.json").read_bytes()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert leftovers(state) == []
    assert (state / "regions" / "emea" / "directory.db").exists()
    with _start(tmp_path) as process:
        assert (state / "world" / "demo.json").read_bytes() == demo
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert leftovers(state) == []


def test_a_killed_launcher_takes_everything_along_and_hinders_nobody(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _start(tmp_path) as process:
        assert len(running_in(state)) >= 5
        process.kill()
    eventually(lambda: running_in(state) == [])
    with _start(tmp_path) as process:
        down = moonbow("down", "--state", str(state))
        assert down.returncode == 0, down.stderr
        assert process.wait(20) == 0
    assert leftovers(state) == []
