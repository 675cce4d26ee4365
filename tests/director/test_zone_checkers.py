"""Other people's judges of a zone: dnsviz, and Zonemaster in a network of its own where it may have port 53."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moonbow.director.addresses import Ranges
from moonbow.director.snapshot import take_snapshot
from moonbow.world import World

from .nameservers import ZONE, Served, served

pytestmark = pytest.mark.slow
NAMES = ("", "door.", "edge.", "media.why.", "ns.")


@pytest.fixture(scope="module")
def server(laptop: World, ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("zone"), take_snapshot(laptop, ranges, changed_at_s=time.time())) as running:
        yield running


def dnsviz(*argv: str) -> None:
    script = str(Path(sys.executable).with_name("dnsviz"))
    done = subprocess.run([sys.executable, script, *argv], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_dnsviz_finds_nothing(server: Served, tmp_path: Path) -> None:
    if importlib.util.find_spec("dnsviz") is None:
        pytest.skip("dnsviz is not installed: it is among the test requirements")
    probed, judged = tmp_path / "probed.json", tmp_path / "judged.json"
    authority = f"{ZONE}+:ns.{ZONE}=127.0.0.1:{server.port}"
    names = [label + ZONE for label in NAMES]
    dnsviz("probe", "-A", "-4", "-x", authority, "-o", str(probed), *names)
    dnsviz("grok", "-l", "warning", "-r", str(probed), "-o", str(judged))
    found: dict[str, Any] = json.loads(judged.read_text() or "{}")
    assert not found, json.dumps(found, indent=1)[:4_000]
    dnsviz("grok", "-l", "info", "-r", str(probed), "-o", str(judged))
    assert '"status": "VALID"' in judged.read_text(), "signatures were judged at all"


# What Zonemaster says of any zone that is alone in the world, has IPv4 only, no mail, and answers that live shortly.
EXPECTED = {
    "NO_RESPONSE_PTR_QUERY",
    "NO_IPV6_NS_CHILD",
    "NO_IPV6_NS_DEL",
    "SOA_DEFAULT_TTL_MAXIMUM_VALUE_LOWER",
    "Z09_MISSING_MAIL_TARGET",
}


def test_zonemaster_finds_nothing(tmp_path: Path) -> None:
    if shutil.which("zonemaster-cli") is None or shutil.which("ip") is None:
        pytest.skip("Zonemaster is not installed: apt-get install --no-install-recommends zonemaster-cli iproute2")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("may not make a network of its own (unshare -n), and Zonemaster asks port 53 only")
    argv = ["unshare", "-n", sys.executable, str(Path(__file__).with_name("alone.py")), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    start = min(at for at in (done.stdout.find("{"), done.stdout.find("[")) if at >= 0)
    told = json.loads(done.stdout[start:])
    messages = told["results"] if isinstance(told, dict) else told
    worse = [message for message in messages if message["tag"] not in EXPECTED]
    assert not worse, json.dumps(worse, indent=1)
