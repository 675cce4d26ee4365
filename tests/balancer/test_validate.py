"""The real engine reads every file of every site of the shipped worlds."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moonbow.balancer.adapters.envoy import envoy_binary
from moonbow.balancer.model import SiteHealth
from moonbow.balancer.policy import compile_door
from moonbow.launch.pki import ensure_pki
from moonbow.world import load_world

pytestmark = pytest.mark.engines
ROOT = Path(__file__).parents[2]


def all_in_one(files: dict[str, Any]) -> dict[str, Any]:
    """The same configuration with nothing left to discover, since `--mode validate` does not look into other files."""
    boot, found = copy.deepcopy(files["bootstrap.json"]), copy.deepcopy(files)
    del boot["dynamic_resources"]
    secrets = [found[name]["resources"][0] for name in found if name.startswith("sds-")]
    for cluster in found["cds.json"]["resources"]:
        if cluster["type"] == "STATIC":
            continue
        assignment = found[f"eds-{cluster['name']}.json"]["resources"][0]
        del cluster["eds_cluster_config"]
        cluster["type"], cluster["load_assignment"] = "STATIC", {k: v for k, v in assignment.items() if k != "@type"}
    for listener in found["lds.json"]["resources"]:
        manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]
        if "rds" in manager:
            table = found[f"rds-{manager.pop('rds')['route_config_name']}.json"]["resources"][0]
            manager["route_config"] = {k: v for k, v in table.items() if k != "@type"}
        for number, one in enumerate(manager["http_filters"]):
            if "config_discovery" in one:
                check = found["ecds-tokens.json"]["resources"][0]["typed_config"]
                manager["http_filters"][number] = {"name": one["name"], "typed_config": check}
    for part in ("listeners", "clusters"):
        source = found["lds.json" if part == "listeners" else "cds.json"]["resources"]
        plain = [{k: v for k, v in one.items() if k != "@type"} for one in source]
        boot["static_resources"][part] = [*boot["static_resources"].get(part, []), *plain]
    boot["static_resources"]["secrets"] = [{k: v for k, v in one.items() if k != "@type"} for one in secrets]
    return boot


def without_discovery(found: Any) -> Any:
    """Secrets by name alone: they are in the same file."""
    if isinstance(found, dict):
        return {k: without_discovery(v) for k, v in found.items() if k != "sds_config"}
    return [without_discovery(one) for one in found] if isinstance(found, list) else found


@pytest.mark.parametrize("name", ["laptop", "planet", "solo"])
def test_envoy_accepts_every_site_of(name: str, tmp_path: Path) -> None:
    world = load_world(ROOT / "worlds" / f"{name}.toml")
    ensure_pki(world, tmp_path)
    running: dict[str, subprocess.Popen[bytes]] = {}
    for ref in world.sites():
        files = compile_door(world, ref, ref.site.doors - 1, SiteHealth(), {}, tmp_path)
        path = tmp_path / f"{ref.site.name}.json"
        path.write_text(json.dumps(without_discovery(all_in_one(files))))
        (tmp_path / "sites" / ref.site.name / "logs").mkdir(parents=True)
        argv = [str(envoy_binary()), "--mode", "validate", "-c", str(path), "--disable-hot-restart", "-l", "warn"]
        running[ref.site.name] = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for site, process in running.items():
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 0, f"{site}: {said.decode()[-2000:]}"
