"""What MariaDB and the arbitrator are told: a golden file, what must be in it, and the real server's own check.

`MOONBOW_BLESS=1 pytest tests/data/test_galera.py` writes the golden file anew.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.programs import find_program
from moonbow.data.adapters.engine import PACKAGES
from moonbow.data.galera import node_settings, render_accounts, render_node, witness_argv
from moonbow.launch.pki import ensure_pki
from moonbow.world import Ports, load_world
from support import not_tested

WORLD = load_world(Path("worlds/laptop-engines.toml"))
GOLDEN = Path(__file__).with_name("golden_node.cnf")


def test_a_node_and_a_witness_are_told_this() -> None:
    node = node_settings(WORLD, WORLD.site("frankfurt"), Path("/state"), "moon")
    witness = node_settings(WORLD, WORLD.site("zurich"), Path("/state"), "moon")
    parts = (render_node(node), "\n".join(witness_argv("garbd", witness)), *render_accounts(node))
    text = "\n".join(parts) + "\n"
    if os.environ.get("MOONBOW_BLESS"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_members_name_each_other_and_nobody_of_another_region() -> None:
    for ref in WORLD.sites():
        if ref.site.kind == "edge":
            continue
        settings = node_settings(WORLD, ref, Path("/state"), "moon")
        said = render_node(settings) if ref.site.kind == "primary" else " ".join(witness_argv("garbd", settings))
        named = set(re.findall(r"127\.\d+\.\d+\.\d+", said))
        assert named == set(settings.peers)
        assert settings.address in named
        assert {WORLD.site(name).region for name in re.findall(r"/pki/data-(\w+)\.key", said)} == {ref.region}


def test_the_real_server_takes_it(tmp_path: Path) -> None:
    try:
        mariadbd = find_program("mariadbd", PACKAGES)
    except ConfigError as error:
        not_tested(error)
    ensure_pki(WORLD, tmp_path)
    settings = node_settings(WORLD, WORLD.site("paris"), tmp_path, "root")
    for folder in (settings.data, settings.folder / "tmp"):
        folder.mkdir(parents=True)
    settings.config.write_text(render_node(settings))

    def check(*more: str) -> subprocess.CompletedProcess[str]:
        argv = (mariadbd, f"--defaults-file={settings.config}", "--user=root", "--help", "--verbose", *more)
        return subprocess.run(argv, capture_output=True, text=True, timeout=20)

    done = check()
    assert done.returncode == 0, done.stderr
    values = dict(re.findall(r"^([a-z-]+) +(\S+)$", done.stdout, re.MULTILINE))
    assert values["port"] == str(Ports.SQL)
    assert values["bind-address"] == settings.address
    assert values["require-secure-transport"] == "TRUE"
    assert values["wsrep-node-name"] == "paris"
    settings.config.write_text(render_node(settings) + "[mysqld]\nno_such_word=1\n")
    assert check().returncode != 0
