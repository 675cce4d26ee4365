"""A laptop world on addresses of its own, a small address map, and doors that are real TLS servers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from moonbow.director.addresses import Ranges, make_ranges
from moonbow.launch.state import prepare_state
from moonbow.world import Ports, World, door_address, parse_world
from support import eventually, listens

SLOT = 5
ROOT = Path(__file__).parents[2]


def shipped(name: str) -> tuple[World, str]:
    """A shipped world and its text, moved to this room's addresses."""
    text = (ROOT / "worlds" / f"{name}.toml").read_text()
    text = text.replace(f'name = "{name}"', f'name = "{name}"\nslot = {SLOT}', 1)
    return parse_world(text), text


@pytest.fixture(scope="session")
def laptop() -> World:
    return shipped("laptop")[0]


@pytest.fixture(scope="session")
def planet() -> World:
    return shipped("planet")[0]


@pytest.fixture(scope="session")
def solo() -> World:
    return shipped("solo")[0]


def v4(text: str) -> int:
    return int(IPv4Address(text))


def v6(text: str) -> int:
    return int(IPv6Address(text)) >> 64


@pytest.fixture(scope="session")
def ranges() -> Ranges:
    """A few true networks, so that tests need no scan of the whole space."""
    return make_ranges(
        "test",
        [
            (v4("1.33.0.0"), "JP"),
            (v4("1.34.0.0"), "TW"),
            (v4("1.36.0.0"), None),
            (v4("1.120.0.0"), "AU"),
            (v4("1.128.0.0"), None),
            (v4("12.0.0.0"), "US"),
            (v4("13.0.0.0"), None),
            (v4("53.0.0.0"), "DE"),
            (v4("54.0.0.0"), None),
            (v4("101.4.0.0"), "CN"),
            (v4("101.8.0.0"), None),
            (v4("194.2.0.0"), "FR"),
            (v4("194.4.0.0"), None),
            (v4("196.10.52.0"), "ZA"),
            (v4("196.10.56.0"), None),
            (v4("200.160.0.0"), "BR"),
            (v4("200.192.0.0"), None),
        ],
        [
            (v6("2001:660::"), "FR"),
            (v6("2001:661::"), None),
            (v6("2400:4000::"), "JP"),
            (v6("2400:4400::"), None),
        ],
    )


class Door:
    """One door of the running world, as a process."""

    def __init__(self, state: Path, address: str) -> None:
        self.address = address
        self.state = state
        self.says = state / f"says-{address}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = str(Path(__file__).with_name("door.py"))
        args = [sys.executable, script, str(self.state / "pki"), self.address, str(Ports.DOOR), str(self.says)]
        self.process = subprocess.Popen(args, stdout=subprocess.DEVNULL)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)
            self.process = None


class Doors(dict[str, list[Door]]):
    """The doors of every site, by its name."""

    def kill(self, *sites: str) -> None:
        for site in sites:
            for door in self[site]:
                door.kill()

    def start(self, *sites: str) -> None:
        for site in sites:
            for door in self[site]:
                door.start()


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    world, text = shipped("laptop")
    prepare_state(world, text, folder)
    return folder


@pytest.fixture(scope="module")
def doors(laptop: World, state: Path) -> Iterator[Doors]:
    """One live door for every site of the laptop world; the second doors of sites stay closed."""
    found = Doors()
    for ref in laptop.sites():
        found[ref.site.name] = [Door(state, door_address(laptop, ref, 0))]
    found.start(*found)
    try:
        for mine in found.values():
            eventually(lambda door=mine[0]: listens(door.address, Ports.DOOR))
        yield found
    finally:
        found.kill(*found)
