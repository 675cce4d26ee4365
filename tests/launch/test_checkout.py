"""A checkout without anything: the wrapper's syntax and words, the locks, and what is built once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from moonbow.base.errors import ConfigError
from moonbow.launch import build
from moonbow.launch.build import _digest, find_npm, node_major, project_root

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-web.lock", "requirements-engines.lock")


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_the_wrapper_is_plain_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", str(ROOT / "moonbow")], check=True)
    assert os.access(ROOT / "moonbow", os.X_OK)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_wrapper_names_a_missing_python(tmp_path: Path) -> None:
    for tool in ("dirname", "cmp", "mkdir", "cat", "rm", "id", "sh"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    wrapper = tmp_path / "checkout" / "moonbow"
    wrapper.parent.mkdir()
    shutil.copy(ROOT / "moonbow", wrapper)
    (wrapper.parent / "requirements.lock").write_text("")
    done = subprocess.run([str(wrapper), "status"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Python 3.11 or later is needed" in done.stderr
    assert not (wrapper.parent / ".venv.making").exists()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_with_hashes_and_names_no_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|index-url|find-links", text)
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all("==" in block.splitlines()[0] and "--hash=sha256:" in block for block in blocks)


def test_the_lock_has_every_dependency_of_the_project() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = {name: _names(ROOT / name) for name in LOCKS}
    assert set(map(_plain, wanted["project"]["dependencies"])) <= locked["requirements.lock"]
    groups = wanted["dependency-groups"]
    assert set(map(_plain, groups["test"])) <= locked["requirements-test.lock"]
    assert set(map(_plain, groups["web"])) <= locked["requirements-web.lock"]
    assert set(map(_plain, groups["engines"])) == locked["requirements-engines.lock"]
    pinned = (ROOT / "requirements-engines.lock").read_text()
    assert pinned in (ROOT / "requirements-test.lock").read_text(), "tests try what worlds get"


def _names(path: Path) -> set[str]:
    return {line.split("==")[0].strip() for line in path.read_text().splitlines() if re.match(r"[a-zA-Z0-9]", line)}


def _plain(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return found.group().lower().replace("_", "-")


def test_the_digest_of_the_sources_sees_every_change_and_no_product(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.ts").write_text("one")
    first = _digest(tmp_path)
    for folder in ("dist", "node_modules"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text("product")
    assert _digest(tmp_path) == first
    (tmp_path / "src" / "a.ts").write_text("two")
    second = _digest(tmp_path)
    (tmp_path / "src" / "a.ts").rename(tmp_path / "src" / "b.ts")
    assert len({first, second, _digest(tmp_path)}) == 3


def test_node_is_asked_for_its_version(tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v23.4.5\n")
    node.chmod(0o755)
    assert node_major(str(node)) == 23
    node.write_text("#!/bin/sh\nexit 1\n")
    assert node_major(str(node)) == 0
    assert node_major(None) == 0


def test_a_failed_command_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="made of cheese"):
        build._run("sh", "-c", "echo the disk is made of cheese; exit 3", cwd=tmp_path)
    with pytest.raises(ConfigError, match="no-such-program"):
        build._run("no-such-program", cwd=tmp_path)


def test_a_checkout_knows_its_root_and_an_npm() -> None:
    assert project_root() == ROOT
    if node_major(shutil.which("node")) >= build.NODE_MAJOR_MIN:
        assert find_npm(lambda text: None)[0] == ("npm",)
