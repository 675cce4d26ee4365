"""An operator's own country database: read as maxminddb reads it, refused with a code and a place when it is broken."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

import maxminddb
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from moonbow.base.errors import ConfigError
from moonbow.director.geodata import compile_database, read_database
from moonbow.director.mmdb import DATABASE_BYTES_MAX, MARKER, Database, Unreadable

CODES = ("DE", "FR", "US", "JP", "ZA")
SHAPES = {
    "geoip2": lambda code: {"country": {"geoname_id": 7, "iso_code": code, "names": {"en": f"Land {code}"}}},
    "registered": lambda code: {"continent": {"code": "EU"}, "registered_country": {"iso_code": code}},
    "flat": lambda code: {"asn": 64_512, "country_code": code, "country": "Somewhere"},
    "plain": lambda code: {"country": code},
}


@st.composite
def networks(draw: st.DrawFn, version: int) -> dict[str, str]:
    """Networks that do not overlap, and their countries; IPv6 ones in 2400::/6, as wide as a /64 or wider."""
    bits, longest, inside = (32, 32, 0) if version == 4 else (128, 64, 6)
    found: dict[str, str] = {}
    for _ in range(draw(st.integers(1, 8))):
        length = draw(st.integers(inside + 1, longest))
        address = draw(st.integers(0, (1 << length - inside) - 1)) << bits - length
        network = ip_network((address + (0x24 << 120 if version == 6 else 0), length))
        if network.version == version and not any(network.overlaps(ip_network(other)) for other in found):
            found[str(network)] = draw(st.sampled_from(CODES))
    return found


def write(path: Path, shape: str, four: dict[str, str], six: dict[str, str], version: int = 6) -> bytes:
    """A database by somebody else's writer."""
    writer = MMDBWriter(version, f"Test-{shape}", ipv4_compatible=version == 6)
    for network, code in (four | six).items():
        writer.insert_network(IPSet([network]), SHAPES[shape](code))
    writer.to_db_file(str(path))
    return path.read_bytes()


def country_of(record: Any) -> str | None:
    """What maxminddb found, as its documentation says to read it."""
    if not record:
        return None
    nested = record.get("country") or record.get("registered_country")
    return record.get("country_code") or (nested if isinstance(nested, str) else nested["iso_code"])


def edges(nets: dict[str, str]) -> list[Any]:
    """The places where something might be wrong by one; of IPv6, at the beginning of a /64."""
    found = []
    for network in map(ip_network, nets):
        kind, step = type(network[0]), 1 if network.version == 4 else 1 << 64
        top = (1 << network.max_prefixlen) - 1
        first, last = int(network[0]), int(network[-1]) + 1 - step
        found += [kind(at) for at in (first - step, first, last, last + step) if 0 <= at <= top]
    return found


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    four=networks(4), six=networks(6), shape=st.sampled_from(sorted(SHAPES)), alone=st.booleans(), seed=st.integers()
)
def test_a_map_agrees_with_maxminddb(tmp_path: Path, four, six, shape, alone, seed) -> None:
    six = {} if alone else six
    assume(four or six)
    path = tmp_path / "country.mmdb"
    ranges = compile_database(write(path, shape, four, six, 4 if alone else 6))
    chance = random.Random(seed)
    asked = edges(four) + edges(six) + [IPv4Address(chance.getrandbits(32)) for _ in range(50)]
    if not alone:
        asked += [IPv6Address((0x24 << 120) + (chance.getrandbits(58) << 64)) for _ in range(50)]
    with maxminddb.open_database(str(path)) as theirs:
        for address in asked:
            if address.version == 6 and (alone or int(address) >> 64 == 0):
                continue
            assert ranges.country(address) == country_of(theirs.get(address)), address


def test_what_names_no_country_is_nobodys(tmp_path: Path) -> None:
    nets = {"5.0.0.0/8": "de", "6.0.0.0/8": "ZZ", "7.0.0.0/8": "--", "8.0.0.0/8": "", "9.0.0.0/8": "T1"}
    ranges = compile_database(write(tmp_path / "x", "plain", nets, {}))
    assert [ranges.country(IPv4Address(f"{n}.1.2.3")) for n in (5, 6, 7, 8, 9)] == ["DE", None, None, None, "T1"]
    assert ranges.source.startswith("Test-plain 20")


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    compile_database(write(tmp_path / "x", "flat", {"5.0.0.0/8": "DE"}, {}), lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)


def text(value: str) -> bytes:
    data = value.encode()
    return bytes([2 << 5 | len(data)]) + data


def number(value: int, name: str = "") -> bytes:
    """As uint32; the fields of metadata in the types that the format wants for them."""
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    if name == "build_epoch":
        return bytes([len(data), 9 - 7]) + data
    return bytes([(6 if name in ("", "node_count") else 5) << 5 | len(data)]) + data


def record(**fields: str) -> bytes:
    return bytes([7 << 5 | len(fields)]) + b"".join(text(name) + text(value) for name, value in fields.items())


class Raw(NamedTuple):
    """A file put together by hand, so that it can be wrong anywhere.  Nodes are pairs of record values."""

    nodes: tuple[tuple[int, int], ...]
    data: bytes = record(country="DE")
    fields: dict[str, int | str] = {}
    cut: int = 0

    def make(self) -> bytes:
        said: dict[str, int | str] = {
            **{"binary_format_minor_version": 0},
            **{"binary_format_major_version": 2, "database_type": "By-Hand", "ip_version": 4, "record_size": 32},
            **{"node_count": len(self.nodes), "build_epoch": 1_700_000_000},
            **self.fields,
        }
        values = [
            text(name) + (text(value) if isinstance(value, str) else number(value, name))
            for name, value in said.items()
        ]
        values += [text("languages") + b"\x00\x04", text("description") + b"\xe0"]
        tree = b"".join(struct.pack("!II", *node) for node in self.nodes)
        whole = tree + bytes(16) + self.data + MARKER + bytes([7 << 5 | len(values)]) + b"".join(values)
        return whole[: len(whole) - self.cut]


def leaf(at: int, nodes: int = 1) -> tuple[tuple[int, int], ...]:
    """Half of the space has the record at `at`, half none."""
    return ((nodes + 16 + at, nodes),)


LONG = record(country="Deutschland")
TANGLE = (*((n + 1, n + 1) for n in range(31)), (32 + 16, 32 + 16))
CASES = {
    "not_a_database": (b"moonbow" * 100, "file"),
    "metadata_malformed": (Raw(leaf(0), fields={"record_size": 30}).make(), "metadata.record_size"),
    "metadata_malformed ": (Raw(leaf(0), fields={"binary_format_major_version": 3}).make(), "binary_format_major"),
    "metadata_malformed  ": (Raw(leaf(0), fields={"node_count": "many"}).make(), "metadata.node_count"),
    "metadata_malformed   ": (Raw(leaf(0), fields={"node_count": 0}).make(), "metadata.node_count"),
    "metadata_too_big": (MARKER + b"\x01\x04" * 12, "byte"),
    "tree_truncated": (Raw(leaf(0), fields={"node_count": 1_000_000}).make(), "metadata.node_count"),
    "tree_too_deep": (Raw(((0, 0),)).make(), "node 0"),
    "tree_too_deep ": (Raw(((0, 0),), fields={"ip_version": 6}).make(), "node 0"),
    "tree_tangled": (Raw(TANGLE, fields={"ip_version": 4}).make(), "node"),
    "record_outside": (Raw(leaf(10_000)).make(), "tree"),
    "record_outside ": (Raw(((1 + 3, 1),)).make(), "tree"),
    "data_truncated": (Raw(leaf(0), data=record(country="DE")[:-1]).make(), "byte 34 (record of 0.0.0.0)"),
    "data_truncated ": (Raw(leaf(0), cut=3).make(), "byte"),
    "pointer_outside": (Raw(leaf(0), data=b"\x27\xff").make(), "byte 24 (record of 0.0.0.0)"),
    "pointer_to_pointer": (Raw(leaf(0), data=b"\x20\x02\x20\x00").make(), "byte 24 (record of 0.0.0.0)"),
    "record_too_big": (Raw(leaf(0), data=b"\xff\xff\xff\xff" + bytes(100)).make(), "byte"),
    "record_too_big ": (
        Raw(leaf(0), data=b"\xe1" + text("x") + b"\x1f\x04\xff\xff\xff" + bytes(100)).make(),
        "byte",
    ),
    "field_unnamed": (Raw(leaf(0), data=b"\xe1\xc1\x07" + text("x")).make(), "byte"),
    "country_malformed": (Raw(leaf(0), data=LONG).make(), "byte 33 (record of 0.0.0.0)"),
    "no_countries": (Raw(leaf(0), data=record(city="Bonn", isp="x")).make(), "records"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_is_refused_with_its_code_and_place(name: str) -> None:
    data, place = CASES[name]
    with pytest.raises(Unreadable) as fault:
        compile_database(data)
    assert fault.value.code == name.strip(), str(fault.value)
    assert place in fault.value.place, str(fault.value)


def test_a_database_of_something_else_says_what_it_holds() -> None:
    with pytest.raises(ConfigError, match=r"fields found: city, isp; wanted: country\.iso_code"):
        compile_database(Raw(leaf(0), data=record(city="Bonn", isp="x")).make())


def test_by_hand_and_whole() -> None:
    ranges = compile_database(Raw(leaf(0)).make())
    assert (ranges.country(IPv4Address("1.1.1.1")), ranges.country(IPv4Address("200.1.1.1"))) == ("DE", None)
    assert ranges.source == "By-Hand 2023-11-14"
    assert Database(Raw(leaf(0)).make()).metadata.nodes == 1


def plant(paths: dict[str, int | str], nodes: int) -> tuple[tuple[int, int], ...]:
    """A tree by hand: bits -> leaf, or -> other bits whose node they share.  `nodes` is how many there will be."""
    grown: list[list[int]] = [[nodes, nodes]]
    for bits, target in paths.items():
        at = 0
        for bit in map(int, bits[:-1]):
            if grown[at][bit] == nodes:
                grown[at][bit] = len(grown)
                grown.append([nodes, nodes])
            at = grown[at][bit]
        if isinstance(target, str):
            shared = 0
            for bit in map(int, target):
                shared = grown[shared][bit]
            target = shared
        grown[at][int(bits[-1])] = target
    assert len(grown) == nodes
    return tuple((left, right) for left, right in grown)


def test_places_that_repeat_ipv4_are_left_out(tmp_path: Path) -> None:
    """6to4 as MaxMind's own files have it: a branch that leads back to IPv4's."""
    sixtofour, nodes = f"{0x2002:016b}", 97 + 13
    paths: dict[str, int | str] = {"0" * 96 + "1": nodes + 16, sixtofour: "0" * 96}
    data = Raw(plant(paths, nodes), fields={"ip_version": 6}).make()
    path = tmp_path / "x"
    path.write_bytes(data)
    with maxminddb.open_database(str(path)) as theirs:
        assert theirs.get("200.1.2.3") == theirs.get("2002:c801:203::1") == {"country": "DE"}
    ranges = compile_database(data)
    assert ranges.country(IPv4Address("200.1.2.3")) == "DE"
    assert len(ranges.v6) == 1, "IPv6 is nobody's"


@cache
def sample(folder: Path) -> bytes:
    nets = {f"{n}.0.0.0/{8 + n % 9}": CODES[n % 5] for n in range(1, 90)}
    return write(folder / "sample", "geoip2", nets, {"2a00::/12": "DE", "2400::/16": "JP"})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4), cut=st.integers(0, 40))
def test_damage_of_any_kind_is_an_error_or_harmless(tmp_path_factory: pytest.TempPathFactory, flips, cut) -> None:
    data = bytearray(sample(tmp_path_factory.getbasetemp()))
    for place, flip in flips:
        data[min(int(place * len(data)), len(data) - 1)] ^= flip
    with contextlib.suppress(ConfigError):
        compile_database(bytes(data[: len(data) - (cut if cut < 20 else 0)]))


def test_what_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    pipe, huge = tmp_path / "pipe", tmp_path / "huge"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(DATABASE_BYTES_MAX + 1)
    for path, words in (
        (pipe, "not_a_file"),
        (tmp_path, "Is a directory"),
        (huge, "file_too_big"),
        (tmp_path / "no", "No such"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_database(path)
