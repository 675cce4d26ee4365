"""World files: what is read equals what was written, and a wrong structure is named with its place."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.errors import ConfigError
from moonbow.world import Place, Region, Site, Traffic, World, load_world, parse_world, problems

names = st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)
sites = st.builds(
    Site,
    name=names,
    city=st.text("aéß ", min_size=1, max_size=9),
    at=st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    kind=st.sampled_from(["primary", "edge", "witness"]),
    doors=st.integers(1, 8),
    gateways=st.integers(1, 16),
    capacity=st.integers(1, 10_000_000),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any world of the right structure; not all of them make sense."""
    regions = draw(
        st.dictionaries(
            names,
            st.builds(Region, title=st.text(max_size=9), sites=st.lists(sites, max_size=3).map(tuple)),
            min_size=1,
            max_size=4,
        )
    )
    place = st.builds(Place, name=names, network=st.just("192.0.2.0/24"), port=st.integers(1024, 60_000))
    return World(
        name=draw(names),
        domain=draw(st.sampled_from(["moonbow.localhost", "uc.example.org"])),
        regions=regions,
        traffic=Traffic(default=draw(st.sampled_from(sorted(regions)))),
        places=tuple(draw(st.lists(place, max_size=3))),
        slot=draw(st.integers(0, 11)),
    )


def _toml(value: object) -> str:
    """A value as TOML; JSON's strings and numbers are TOML's, tables are written inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def _write(world: World) -> str:
    """The world as a TOML document, without what is null."""
    fields = msgspec.to_builtins(world)
    for region in fields["regions"].values():
        for site in region["sites"]:
            if site["address"] is None:
                del site["address"]
    return "\n".join(f"{key} = {_toml(value)}" for key, value in fields.items())


@given(worlds())
def test_what_is_written_is_read(world: World) -> None:
    assert parse_world(_write(world)) == world


@given(worlds())
def test_every_fault_names_a_place_that_exists(world: World) -> None:
    for problem in problems(world):
        place, colon, sentence = problem.partition(": ")
        assert colon
        assert sentence
        assert place.split(".")[0].split("[")[0] in World.__struct_fields__


@pytest.mark.parametrize("path", sorted(Path("worlds").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_worlds_are_sound(path: Path) -> None:
    assert load_world(path).name == path.stem.replace("-", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "Invalid value"),
        ("name = 'x'", "missing required field `domain`"),
        ("[regions.a]\ntitle = 1", r"\$.regions\[...\].title"),
        ("nonsense = 1", "unknown field `nonsense`"),
    ],
)
def test_wrong_structure_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_world(text, "some.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml: No such file"):
        load_world(tmp_path / "nowhere.toml")


def test_all_faults_come_at_once_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    text = Path("worlds/laptop.toml").read_text()
    path.write_text(
        text.replace('default = "emea"', 'default = "mars"').replace("8444", "8443").replace("48.9", "98.9")
    )
    with pytest.raises(ConfigError) as caught:
        load_world(path)
    assert [problem.removeprefix(f"{path}: ").split(":")[0] for problem in caught.value.problems] == [
        "regions.emea.sites[0].at",
        "traffic.default",
        "places[1].port",
    ]


def test_a_name_stands_for_a_site_or_for_a_whole_region() -> None:
    world = load_world(Path(__file__).parents[2] / "worlds" / "laptop-engines.toml")
    names = {place: [ref.site.name for ref in world.sites_called(place)] for place in ("paris", "zurich", "apac")}
    assert names == {"paris": ["paris"], "zurich": ["zurich"], "apac": ["singapore", "tokyo", "seoul"]}
    with pytest.raises(ConfigError, match="no site or region 'atlantis'; the world has emea, apac, paris"):
        world.sites_called("atlantis")


def test_an_unknown_site_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'mars'; the world has paris"):
        load_world(Path("worlds/solo.toml")).site("mars")
