"""The director as a process: real sockets, real doors that are killed, stopped and drained, real files."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import msgspec
import pytest
from rich.console import Console

from moonbow.director.addresses import Ranges, encode, make_ranges
from moonbow.director.explain import explain
from moonbow.director.orders import Orders
from moonbow.launch.state import write_orders
from moonbow.wire.traffic import decode_explanation
from moonbow.wire.values import Door
from moonbow.world import Ports, World
from support import eventually

from .conftest import Doors

FRANCE, AFRICA = "194.2.0.0", "196.10.52.0"
ZONE = "moonbow.localhost"


@pytest.fixture(scope="module")
def directors(laptop: World, state: Path, doors: Doors, ranges: Ranges) -> Iterator[Directors]:
    with directing(laptop, state, ranges) as found:
        yield found


@pytest.fixture(scope="module")
def director(directors: Directors) -> Running:
    return directors["singapore"]


@pytest.fixture(autouse=True)
def _all_well_again(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    director: Running = request.getfixturevalue("director")
    doors: Doors = request.getfixturevalue("doors")
    for mine in doors.values():
        for door in mine:
            door.says.unlink(missing_ok=True)
            if door.process is None:
                door.start()
            else:
                door.send(signal.SIGCONT)
    write_orders(request.getfixturevalue("state"), Orders())
    eventually(lambda: all(site.healthy for site in director.status().sites), within_s=10)


def test_doors_are_answered_over_udp_and_tcp(director: Running) -> None:
    for over in (dns.query.udp, dns.query.tcp):
        found = director.ask(FRANCE, over=over)
        assert [record.address for record in found.answer[0]] == ["127.110.1.11"], "the closed door is not named"
        assert next(option.scopelen for option in found.options) == 15
    assert director.answer(AFRICA) == {"127.110.3.11"}


def test_a_killed_site_is_left_and_found_again(director: Running, doors: Doors) -> None:
    doors.kill("paris")
    eventually(lambda: director.answer(FRANCE) == {"127.110.2.11"})
    why = b"".join(director.ask(FRANCE, f"why.{ZONE}", "TXT", dns.query.tcp).answer[0][0].strings).decode()
    assert "nearer sites of emea are not usable; frankfurt comes next" in why
    assert "not paris: all 2 doors are down: refuses connections" in why
    doors.kill("frankfurt")
    eventually(lambda: director.answer(FRANCE) == {"127.111.2.11"})
    assert director.answer(AFRICA) == {"127.111.1.11"}, "the edge has nobody to hand on to"
    doors.start("paris")
    eventually(lambda: director.answer(FRANCE) == {"127.110.1.11"})
    assert director.answer(AFRICA) == {"127.110.3.11"}


def test_a_hung_site_is_left_too(director: Running, doors: Doors) -> None:
    doors["paris"][0].send(signal.SIGSTOP)
    eventually(lambda: director.answer(FRANCE) == {"127.110.2.11"})
    assert director.site("paris").doors[0].why == "no answer within 350 ms"


def test_a_door_that_says_it_drains_is_left(director: Running, doors: Doors) -> None:
    doors["paris"][0].says.write_text("503 draining")
    eventually(lambda: director.answer(FRANCE) == {"127.110.2.11"})
    assert director.site("paris").doors[0].why == "says 503 draining"


def test_the_operators_word_is_followed_and_outlives_its_file(director: Running, state: Path) -> None:
    write_orders(state, Orders(drain=("paris",)))
    eventually(lambda: director.answer(FRANCE) == {"127.110.2.11"})
    assert director.site("paris").override == "drain"
    (state / "overrides.json").unlink()
    eventually(lambda: b'input_stale{input="overrides"} 1.0' in director.page("/metrics")[1])
    assert director.answer(FRANCE) == {"127.110.2.11"}
    write_orders(state, Orders())
    eventually(lambda: director.answer(FRANCE) == {"127.110.1.11"})


def test_when_everything_is_gone_the_own_sites_are_answered(director: Running, doors: Doors) -> None:
    doors.kill(*doors)
    eventually(lambda: not any(site.healthy for site in director.status().sites))
    assert director.answer(FRANCE) == {"127.110.1.11", "127.110.1.12", "127.110.2.11", "127.110.2.12"}
    explanation = decode_explanation(director.page(f"/explain?address={FRANCE}")[1])
    assert explanation.reason.startswith("no site of emea is usable, nor any of apac; its own")
    assert {site.site for site in explanation.skipped} == {"paris", "frankfurt", "capetown", "singapore", "tokyo"}


def test_a_door_with_somebody_elses_certificate_is_not_believed(director: Running, doors: Doors, state: Path) -> None:
    good = (state / "pki" / "door.crt").read_bytes()
    doors.kill("paris")
    paths = [state / "pki" / name for name in ("door.crt", "door.key")]
    kept = [path.read_bytes() for path in paths]
    for path, other in zip(paths, ("mesh-paris.crt", "mesh-paris.key"), strict=True):
        path.write_bytes((state / "pki" / other).read_bytes())
    try:
        doors.start("paris")
        eventually(lambda: "wrong certificate" in director.site("paris").doors[0].why)
        assert director.answer(FRANCE) == {"127.110.2.11"}
    finally:
        for path, content in zip(paths, kept, strict=True):
            path.write_bytes(content)
        doors.kill("paris")
    assert paths[0].read_bytes() == good


def test_a_new_address_map_is_taken_in(director: Running, state: Path, ranges: Ranges) -> None:
    path = state / "addresses.bin"
    part = path.with_suffix(".new")
    part.write_bytes(encode(make_ranges("all of it Japan", [(0, "JP")])))
    part.replace(path)
    eventually(lambda: director.answer(FRANCE) == {"127.111.2.11"})
    path.write_bytes(b"damaged")
    eventually(lambda: b'input_stale{input="addresses"} 1.0' in director.page("/metrics")[1])
    assert director.status().addresses == "all of it Japan"
    path.write_bytes(encode(ranges))
    eventually(lambda: director.answer(FRANCE) == {"127.110.1.11"})


def test_pages(director: Running, laptop: World) -> None:
    listed = msgspec.json.decode(director.page(f"/doors?address={AFRICA}")[1], type=list[Door])
    assert [door.site for door in listed] == ["capetown", "frankfurt", "paris", "singapore", "tokyo"]
    assert {door.url for door in listed} == {"https://moonbow.localhost:8945"}
    far = msgspec.json.decode(director.page(f"/doors?address={AFRICA}&region=apac")[1], type=list[Door])
    assert far[0].site == "singapore"
    said = explain(laptop, FRANCE, console=Console(quiet=True))
    assert said.live
    assert said.answer[0].site == "paris"
    for path, status in (
        ("/doors?address=nowhere", 400),
        ("/doors", 400),
        ("/explain?address=1.2.3.4&region=mars", 400),
        ("/secrets", 404),
        ("/status", 200),
    ):
        assert director.page(path)[0] == status
    metrics = director.page("/metrics")[1]
    assert b'moonbow_director_replies_total{rcode="0",transport="udp"}' in metrics
    assert b'moonbow_director_site_usable{site="paris"} 1.0' in metrics


def test_tcp_is_pipelined_and_bounded(director: Running) -> None:
    packet = dns.message.make_query(ZONE, "A").to_wire()
    framed = len(packet).to_bytes(2, "big") + packet
    with socket.create_connection((director.host, Ports.DNS), 2) as line:
        line.sendall(framed[:5])
        line.sendall(framed[5:] + framed * 20)
        stream = line.makefile("rb")
        for _ in range(21):
            reply = stream.read(int.from_bytes(stream.read(2), "big"))
            assert dns.message.from_wire(reply).answer
        stream.close()
    lines = [socket.create_connection((director.host, Ports.DNS), 2) for _ in range(140)]
    try:
        eventually(lambda: b"moonbow_director_tcp_connections 128.0" in director.page("/metrics")[1])
        assert director.answer(FRANCE), "UDP does not mind"
    finally:
        for line in lines:
            line.close()
    eventually(lambda: director.ask(FRANCE, over=dns.query.tcp).answer)


def test_noise_on_tcp_ends_the_connection(director: Running) -> None:
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\0\3abc"):
        with socket.create_connection((director.host, Ports.DNS), 2) as line:
            line.sendall(noise)
            with contextlib.suppress(ConnectionResetError):
                assert line.recv(100) == b""


def test_a_flood_of_big_questions_gets_few_big_replies(director: Running, doors: Doors) -> None:
    doors.kill(*doors)
    eventually(lambda: not any(site.healthy for site in director.status().sites))
    message = dns.message.make_query(f"why.{ZONE}", "TXT", use_edns=0, payload=1232)
    big, cut = 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect((director.host, Ports.DNS))
        for number in range(600):
            message.id = number
            line.send(message.to_wire())
        line.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                is_cut = bool(dns.message.from_wire(line.recv(4096)).flags & dns.flags.TC)
                cut, big = cut + is_cut, big + (not is_cut)
    assert cut > 0
    assert cut + big < 600, "of what goes over the rate, a part is not answered at all"
    assert director.ask(FRANCE, over=dns.query.tcp).answer, "TCP is not limited"
    eventually(lambda: b'limited_total{fate="dropped"}' in director.page("/metrics")[1])


def test_the_log_names_what_happened(director: Running, state: Path) -> None:
    events = [msgspec.json.decode(line) for line in (state / "director.jsonl").read_bytes().splitlines()]
    assert any(event["event"] == "serving" for event in events)
    assert not [event for event in events if event["level"] == "error"]
