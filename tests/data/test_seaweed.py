"""What SeaweedFS is told: a golden file, and what must be in it.

`MOONBOW_BLESS=1 pytest tests/data/test_seaweed.py` writes the golden file anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from moonbow.data.seaweed import SERVICES, keeps_objects, render_weed, weed_argv, weed_ports, weed_sockets
from moonbow.data.weed import prepare
from moonbow.launch.state import prepare_state
from moonbow.world import Ports, SiteRef, load_world, objects_grpc_port, parse_world

FILE = Path("worlds/laptop-engines.toml")
WORLD = load_world(FILE)
KEEPERS = [ref for ref in WORLD.sites() if keeps_objects(WORLD, ref)]
GOLDEN = Path(__file__).with_name("golden_seaweed.txt")
STATE, KEY = Path("/state"), "5a" * 32


def test_a_primary_site_and_a_witness_are_told_this() -> None:
    parts = []
    for site in ("frankfurt", "zurich"):
        ref = WORLD.site(site)
        parts += ["\n".join(weed_argv("weed", WORLD, ref, STATE)) + "\n"]
        parts += [f"--- {site}/{name}\n{text}" for name, text in render_weed(WORLD, ref, STATE, KEY).items()]
    text = "\n".join(parts)
    if os.environ.get("MOONBOW_BLESS"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize("ref", KEEPERS, ids=lambda ref: ref.site.name)
def test_every_service_speaks_tls_with_this_region_s_nodes_only(ref: SiteRef) -> None:
    files = render_weed(WORLD, ref, STATE, KEY)
    security = tomllib.loads(files["security.toml"])
    nodes = ",".join(f"data-{one.site.name}" for one in KEEPERS if one.region == ref.region)
    own = {"cert": f"/state/pki/data-{ref.site.name}.crt", "key": f"/state/pki/data-{ref.site.name}.key"}
    authority = f"/state/pki/data-ca-{ref.region}.crt"
    assert security["grpc"].pop("ca") == authority
    assert security["grpc"].pop("client") == own
    services = SERVICES if ref.site.kind == "primary" else ("master", "volume")
    assert security["grpc"] == {name: {**own, "allowed_commonNames": nodes} for name in services}
    assert security["https"].pop("client") == {"enabled": True, **own, "ca": authority}
    assert security["https"] == {name: {**own, "ca": authority} for name in services if name != "s3"}
    # with only one of the two, SeaweedFS warns and goes on without any TLS
    assert security["tls"] == {"min_version": "TLS 1.2", "max_version": "TLS 1.3"}
    secrets = {KEY, *re.findall(r'"([0-9a-f]{64})"', " ".join(files.values()))}
    assert len(secrets) == (6 if ref.site.kind == "primary" else 2), "a witness keeps what it cannot decrypt"
    assert ("s3" in security) == (ref.site.kind == "primary")
    named = set(re.findall(r"127\.\d+\.\d+\.\d+", " ".join((*files.values(), *weed_argv("weed", WORLD, ref, STATE)))))
    assert named == {f"127.{10 + ref.region_no}.{1 + one.site_no}.1" for one in KEEPERS if one.region == ref.region}


def test_no_two_sites_of_any_two_worlds_share_a_socket() -> None:
    other = parse_world("slot = 11\n" + FILE.read_text())
    found = [socket for world in (WORLD, other) for ref in KEEPERS for socket in weed_sockets(world, ref)]
    assert len(set(found)) == len(found) == 2 * (4 * 4 + 2 * 2)
    ports = [objects_grpc_port(other, ref, port) for ref in KEEPERS for port in weed_ports(ref)]
    assert all(Ports.OBJECTS_GRPC <= port < 32_768 for port in ports), "where connections get theirs"


def test_it_starts_with_all_its_files_or_not_at_all(tmp_path: Path) -> None:
    prepare_state(WORLD, FILE.read_text(), tmp_path)
    prepare(WORLD, WORLD.site("paris"), tmp_path)
    folder = tmp_path / "sites" / "paris" / "objects"
    made = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert made == {
        "volumes": 0o700, "master": 0o700, "security.toml": 0o600, "master.toml": 0o600, "filer.toml": 0o600,
        "s3.json": 0o600,
    }  # fmt: skip
    key = tmp_path / "regions" / "emea" / "keys" / "objects.key"
    was = key.read_text()
    prepare_state(WORLD, FILE.read_text(), tmp_path)
    assert key.read_text() == was, "what it encrypted could not be read any more"
    key.unlink()
    argv = (sys.executable, "-P", "-m", "moonbow.data.weed", "--state", str(tmp_path), "--site")
    for site, why in (("paris", "objects.key is missing"), ("capetown", "no SeaweedFS belongs there")):
        done = subprocess.run((*argv, site), capture_output=True, text=True, timeout=20)
        assert done.returncode == 2
        assert why in done.stderr
