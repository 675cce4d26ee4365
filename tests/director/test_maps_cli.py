"""`moonbow director map`: from a database to a map in use, and back, as an operator does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from moonbow.base.errors import ConfigError
from moonbow.cli.director import app
from moonbow.director.addresses import Ranges, encode
from moonbow.director.shelf import Shelf

from .conftest import ROOT
from .test_mmdb import Raw, leaf, write

pytestmark = pytest.mark.slow

KNOWN = {"194.2.0.0/15": "FR", "12.0.0.0/8": "US", "53.0.0.0/8": "DE", "200.160.0.0/11": "BR"}
KNOWN |= {"1.33.0.0/16": "JP", "1.34.0.0/15": "TW", "1.120.0.0/13": "AU", "101.4.0.0/14": "CN"}
SIX = {"2001:660::/32": "FR", "2400:4000::/22": "JP"}


@pytest.fixture
def state(tmp_path: Path, ranges: Ranges, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a planet-wide world that uses the map of an installation."""
    monkeypatch.setenv("MOONBOW_ADDRESSES", str(tmp_path / "addresses.bin"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "addresses.bin").write_bytes(encode(ranges))
    (tmp_path / "world.toml").write_text((ROOT / "worlds" / "planet.toml").read_text())
    return tmp_path


def run(state: Path, *words: str) -> Result:
    result = CliRunner().invoke(app, ["map", *words, "--state", str(state)], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def told(state: Path, *words: str) -> Any:
    return json.loads(run(state, *words, "--json").stdout)


def database(state: Path) -> str:
    """As the installation's map, but South Africa is nobody's."""
    path = state / "own.mmdb"
    write(path, "geoip2", KNOWN, SIX)
    return str(path)


def test_build_shows_what_changes_and_puts_it_into_use(state: Path) -> None:
    own = database(state)
    said = run(state, "build", "--database", own, "--why", "ours is better").output
    assert "test → Test-geoip2" in said
    assert "stays in its region and gets its sites in another order" in said
    assert "map 2: Test-geoip2" in said
    assert "(ours is better)" in said
    assert told(state, "show")["map"]["database"] == own
    listed = told(state, "list")
    assert [(entry["number"], entry["how"], entry["kept"]) for entry in listed] == [
        (1, "found", True),
        (2, "built", True),
    ]
    assert "ours is better" in run(state, "list").output


def test_nothing_is_put_into_use_by_a_dry_run(state: Path) -> None:
    said = told(state, "build", "--database", database(state), "--dry-run")
    assert said["installed"] is None
    assert said["diff"]["ipv4"]["moved_prefixes"] == 0
    assert said["diff"]["ipv4"]["countries"][0]["before"] == "ZA"
    assert Shelf(state).read().entries == ()


def test_a_map_that_moves_too_much_needs_force(state: Path) -> None:
    tiny = state / "tiny.mmdb"
    tiny.write_bytes(Raw(leaf(0)).make())
    with pytest.raises(ConfigError, match=r"IPv4 addresses would change region, more than 10 %.*--force"):
        run(state, "build", "--database", str(tiny))
    assert Shelf(state).read().entries == ()
    assert "is in use" in run(state, "build", "--database", str(tiny), "--force").output


def test_a_broken_database_leaves_the_map_in_use(state: Path) -> None:
    run(state, "build", "--database", database(state))
    before = Shelf(state).current()
    broken = state / "broken.mmdb"
    broken.write_bytes(Path(database(state)).read_bytes()[:-300])
    with pytest.raises(ConfigError, match=r"broken\.mmdb: file: no MaxMind DB metadata.*\[not_a_database\]"):
        run(state, "build", "--database", str(broken))
    assert Shelf(state).current() == before


def test_diff_show_and_rollback(state: Path) -> None:
    run(state, "build", "--database", database(state))
    moved = {"12.0.0.0/12": "CA", "12.16.0.0/12": "DE", **{f"12.{n}.0.0/12": "US" for n in range(32, 256, 16)}}
    other = state / "other.mmdb"
    write(other, "flat", {net: code for net, code in KNOWN.items() if net != "12.0.0.0/8"} | moved, SIX)
    ahead = told(state, "diff", "--database", str(other))
    assert ahead["ipv4"]["moved_prefixes"] == 1
    assert ahead["ipv4"]["biggest"][0] == {
        **{"prefix": "12.16.0.0/12", "region_before": "na", "region_after": "de"},
        **{"country_before": "US", "country_after": "DE"},
    }
    run(state, "build", "--database", str(other))
    assert told(state, "diff")["ipv4"] == ahead["ipv4"], "what the last change did"
    assert told(state, "diff", "2", "3")["ipv4"] == ahead["ipv4"]
    assert told(state, "diff", "3", "2")["ipv4"]["regions"][0]["before"] == "de"
    shares = told(state, "show")["regions"]
    assert 0.99 < sum(share["ipv4_ratio"] for share in shares.values()) < 1.01
    back = told(state, "rollback", "--why", "too soon")
    assert (back["number"], back["how"], back["why"]) == (4, "rolled back", "back to 2: too soon")
    assert Shelf(state).current()[0].digest == told(state, "list")[1]["digest"]
    assert "na" in run(state, "show").output
    with pytest.raises(ConfigError, match="there is no map 9"):
        run(state, "rollback", "--to", "9")


def test_the_world_names_its_database(state: Path) -> None:
    own = database(state)
    text = (state / "world.toml").read_text()
    (state / "world.toml").write_text(text + f'\n[geo]\ndatabase = "{own}"\n')
    assert told(state, "build")["installed"]["database"] == own
    with pytest.raises(ConfigError, match="one of them"):
        run(state, "build", "--database", own, "--registry")


def test_a_damaged_map_in_use_is_replaced(state: Path) -> None:
    own = database(state)
    run(state, "build", "--database", own)
    for file in (state / "world" / "maps").glob("*.bin"):
        file.write_bytes(b"broken")
    with pytest.raises(ConfigError, match="wrong digest"):
        run(state, "show")
    assert "no map can be used now" in run(state, "build", "--database", own).output
    assert told(state, "show")["map"]["database"] == own
