"""Explanations without a running world, drawn for a terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from moonbow.base.errors import ConfigError
from moonbow.director.addresses import Ranges, encode
from moonbow.director.explain import draw, explain, work_out
from moonbow.director.pages import order_doors
from moonbow.director.snapshot import take_snapshot
from moonbow.world import World


def drawn(world: World, ranges: Ranges, address: str, region: str | None = None) -> str:
    console = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(draw(work_out(world, address, region, ranges)))
        return console.export_text()


def test_a_tree_tells_the_whole_story(laptop: World, ranges: Ranges) -> None:
    text = drawn(laptop, ranges, "196.10.52.9")
    for words in (
        "196.10.52.9 in ZA, Africa; all of 196.10.52.0/22 is answered alike",
        "rule: default → region emea",
        "answer for door, for 30 s: capetown is the nearest site of emea",
        "capetown 127.110.3.11 port 8443",
        "paris (emea): 8815 km from ZA",
        "no director is running: every site is taken to be healthy",
    ):
        assert words in text
    assert text.index("paris (emea)") < text.index("tokyo (apac)")
    assert "the region was asked for → region apac" in drawn(laptop, ranges, "194.2.0.1", "apac")
    assert "no known country" in drawn(laptop, ranges, "240.0.0.1")


def test_clients_spread_over_equal_sites_and_over_their_doors(laptop: World, ranges: Ranges) -> None:
    snapshot = take_snapshot(laptop, ranges)
    lists = [order_doors(snapshot, f"240.0.0.{number}", None) for number in range(64)]
    assert {found[0].address for found in lists} == {
        "127.110.1.11",
        "127.110.1.12",
        "127.110.2.11",
        "127.110.2.12",
    }
    for found in lists:
        assert len({door.address for door in found}) == 9
        assert {door.site for door in found[:4]} == {"paris", "frankfurt"}


def test_a_question_without_sense_is_the_operators_to_mend(laptop: World, ranges: Ranges) -> None:
    with pytest.raises(ConfigError, match="address"):
        work_out(laptop, "not an address", None, ranges)
    with pytest.raises(ConfigError, match="region: there is no region 'mars'"):
        work_out(laptop, "1.2.3.4", "mars", ranges)


def test_without_a_director_the_map_on_disk_is_used(laptop: World, ranges: Ranges, tmp_path, monkeypatch) -> None:
    path = tmp_path / "addresses.bin"
    monkeypatch.setenv("MOONBOW_ADDRESSES", str(path))
    with pytest.raises(ConfigError, match="compile"):
        explain(laptop, "194.2.0.1")
    path.write_bytes(encode(ranges))
    found = explain(laptop, "194.2.0.1")
    assert (found.live, found.country, found.answer[0].site) == (False, "FR", "paris")
    assert found.answer[0].url == "https://moonbow.localhost:8943"
