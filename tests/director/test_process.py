"""The director as a process: real sockets, real doors that are killed, stopped and drained, real files."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import msgspec
import pytest
from rich.console import Console

from moonbow.director.addresses import Ranges, encode, make_ranges
from moonbow.director.explain import explain
from moonbow.director.orders import Order, Orders
from moonbow.launch.state import write_orders
from moonbow.wire.traffic import decode_explanation
from moonbow.wire.values import Door
from moonbow.world import Ports, World
from support import eventually

from .conftest import Doors
from .directors import NAMES, ZONE, Directors, Running, directing

pytestmark = pytest.mark.slow

FRANCE, AFRICA = "194.2.0.0", "196.10.52.0"
PARIS, FRANKFURT, SINGAPORE, TOKYO = (f"127.11{where}.11" for where in ("0.1", "0.2", "1.1", "1.2"))
CAPE_TOWN = "127.110.3.11"


@pytest.fixture(scope="module")
def directors(laptop: World, state: Path, doors: Doors, ranges: Ranges) -> Iterator[Directors]:
    with directing(laptop, state, ranges, hold_max_s=1.0) as found:
        yield found


@pytest.fixture(scope="module")
def director(directors: Directors) -> Running:
    return directors["singapore"]


@pytest.fixture(autouse=True)
def _all_well_again(directors: Directors, doors: Doors) -> Iterator[None]:
    yield
    directors.heal()
    for director in directors.values():
        if director.process is None:
            director.start()
        director.send(signal.SIGCONT)
    for path in directors.state.glob("says-*"):
        path.unlink(missing_ok=True)
    for mine in doors.values():
        for door in mine:
            if door.process is None:
                door.start()
            else:
                door.send(signal.SIGCONT)
    write_orders(directors.state, Orders())
    eventually(lambda: all(site.healthy for found in directors.values() for site in found.status().sites), within_s=30)
    eventually(directors.agree, within_s=10)


def test_doors_are_answered_over_udp_and_tcp(director: Running) -> None:
    for over in (dns.query.udp, dns.query.tcp):
        found = director.ask(FRANCE, over=over)
        assert [record.address for record in found.answer[0]] == [PARIS], "the closed door is not named"
        assert next(option.scopelen for option in found.options) == 15
    assert director.answer(AFRICA) == {CAPE_TOWN}


def test_a_killed_site_is_left_and_found_again(director: Running, doors: Doors) -> None:
    doors.kill("paris")
    eventually(lambda: director.answer(FRANCE) == {FRANKFURT})
    why = b"".join(director.ask(FRANCE, f"why.{ZONE}", "TXT", dns.query.tcp).answer[0][0].strings).decode()
    assert "nearer sites of emea are not usable; frankfurt comes next" in why
    assert "not paris: all 2 doors are down: refuses connections" in why
    doors.kill("frankfurt")
    eventually(lambda: director.answer(FRANCE) == {TOKYO})
    assert director.answer(AFRICA) == {SINGAPORE}, "the edge has nobody to hand on to"
    doors.start("paris")
    eventually(lambda: director.answer(FRANCE) == {PARIS})
    assert director.answer(AFRICA) == {CAPE_TOWN}


def test_a_hung_site_is_left_too(director: Running, doors: Doors) -> None:
    doors["paris"][0].send(signal.SIGSTOP)
    eventually(lambda: director.answer(FRANCE) == {FRANKFURT})
    assert "no answer within 350 ms" in director.site("paris").doors[0].why


def test_a_door_that_says_it_drains_is_left(director: Running, doors: Doors) -> None:
    doors["paris"][0].says.write_text("503 draining")
    eventually(lambda: director.answer(FRANCE) == {FRANKFURT})
    assert director.site("paris").doors[0].why == "says 503 draining"


def test_the_operators_word_is_followed_and_outlives_its_file(director: Running, state: Path) -> None:
    write_orders(state, Orders(drain=("paris",)))
    eventually(lambda: director.answer(FRANCE) == {FRANKFURT})
    assert director.site("paris").override == "drain"
    (state / "overrides.json").unlink()
    eventually(lambda: b'input_stale{input="overrides"} 1.0' in director.page("/metrics")[1])
    assert director.answer(FRANCE) == {FRANKFURT}
    write_orders(state, Orders())
    eventually(lambda: director.answer(FRANCE) == {PARIS})


def test_when_every_primary_is_gone_the_own_ones_are_answered(director: Running, doors: Doors) -> None:
    doors.kill(*NAMES)
    eventually(lambda: not any(site.healthy for site in director.status().sites))
    assert director.answer(FRANCE) == {PARIS, "127.110.1.12", FRANKFURT, "127.110.2.12"}
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
        assert director.answer(FRANCE) == {FRANKFURT}
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
    eventually(lambda: director.answer(FRANCE) == {TOKYO})
    path.write_bytes(b"damaged")
    eventually(lambda: b'input_stale{input="addresses"} 1.0' in director.page("/metrics")[1])
    assert director.status().addresses == "all of it Japan"
    path.write_bytes(encode(ranges))
    eventually(lambda: director.answer(FRANCE) == {PARIS})


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
    doors.kill(*NAMES)
    eventually(lambda: not any(site.healthy for site in director.status().sites))
    message = dns.message.make_query(f"why.{ZONE}", "TXT", use_edns=0, payload=1232)
    big, cut = 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.77.0.1", 0))  # networks are limited, and this one is no other test's
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


def test_all_directors_decide_alike(directors: Directors, doors: Doors) -> None:
    doors.kill("paris")
    eventually(lambda: directors.answers(FRANCE) == [{FRANKFURT}] * 4)
    eventually(lambda: len({director.standing().digest for director in directors.values()}) == 1)
    doors.kill("frankfurt")
    eventually(lambda: directors.answers(FRANCE) == [{TOKYO}] * 4)


def test_a_kill_reaches_every_answer(directors: Directors, doors: Doors, capsys: pytest.CaptureFixture[str]) -> None:
    took: list[float] = []
    for site, left in (("paris", FRANKFURT), ("frankfurt", PARIS)):
        if site == "frankfurt":
            doors.start("paris")
            eventually(lambda: directors.answers(FRANCE) == [{PARIS}] * 4, within_s=15)
            write_orders(directors.state, Orders(down=("paris",)))
            eventually(lambda: directors.answers(FRANCE) == [{FRANKFURT}] * 4)
            left = TOKYO
        began = time.monotonic()
        doors.kill(site)
        for director in directors.values():
            eventually(lambda director=director, left=left: director.answer(FRANCE) == {left})
        took.append(time.monotonic() - began)
    with capsys.disabled():
        print(f"  kill -9 to the changed answer of all four directors: {', '.join(f'{s * 1000:.0f} ms' for s in took)}")


def test_a_site_whose_bus_or_store_is_in_trouble_is_left(directors: Directors, doors: Doors) -> None:
    for why in ("store", "bus"):
        doors["paris"][0].says.write_text(f"503 {why}")
        eventually(lambda: directors.answers(FRANCE) == [{FRANKFURT}] * 4)
        assert f"says 503 {why}" in directors["tokyo"].site("paris").why
        doors["paris"][0].says.unlink()
        eventually(lambda: directors.answers(FRANCE) == [{PARIS}] * 4, within_s=20)


def says_to(door_says: Path, director: Running) -> Path:
    """The file of what a door says to one director alone."""
    return door_says.with_name(f"{door_says.name}.{director.host}")


def test_one_that_is_cut_off_from_everything_freezes_and_the_others_decide(directors: Directors, doors: Doors) -> None:
    lonely = directors["tokyo"]
    for name in NAMES[:3]:
        directors.cut("tokyo", name)
    eventually(lambda: set(lonely.standing().silent) == {"paris", "frankfurt", "singapore"})
    for mine in doors.values():
        says_to(mine[0].says, lonely).write_text("nothing")
    eventually(lambda: lonely.standing().frozen, within_s=10)
    assert "everything looks down from here" in lonely.standing().why
    assert b"moonbow_director_frozen 1.0" in lonely.page("/metrics")[1]
    assert lonely.answer(FRANCE) == {PARIS}, "what was last decided is kept"
    doors.kill("paris")
    others = [directors[name] for name in NAMES[:3]]
    eventually(lambda: all(director.answer(FRANCE) == {FRANKFURT} for director in others))
    assert not any(director.standing().frozen for director in others)
    assert lonely.answer(FRANCE) == {PARIS}
    assert lonely.verdicts().frozen
    directors.heal()
    for mine in doors.values():
        says_to(mine[0].says, lonely).unlink()
    eventually(lambda: lonely.answer(FRANCE) == {FRANKFURT}, within_s=15)
    assert not lonely.standing().frozen


def test_one_that_sees_nothing_but_hears_the_others_believes_them(directors: Directors, doors: Doors) -> None:
    blind = directors["frankfurt"]
    for mine in doors.values():
        says_to(mine[0].says, blind).write_text("nothing")
    eventually(lambda: blind.standing().blind == ("frankfurt",), within_s=10)
    doors.kill("paris")
    eventually(lambda: directors.answers(FRANCE) == [{FRANKFURT}] * 4)
    assert not blind.standing().frozen


def test_one_that_lies_does_not_bring_a_site_down(directors: Directors, doors: Doors) -> None:
    liar = directors["singapore"]
    says_to(doors["paris"][0].says, liar).write_text("503 lies")
    eventually(lambda: all(director.standing().disputes for director in directors.values()), within_s=10)
    dispute = directors["tokyo"].standing().disputes[0]
    assert (dispute.site, dispute.door, dispute.say_down) == ("paris", 0, ("singapore",))
    assert directors.answers(FRANCE) == [{PARIS}] * 4
    assert all(director.site("paris").healthy for director in directors.values())
    assert b"moonbow_director_disagreements 1.0" in directors["tokyo"].page("/metrics")[1]


def test_directors_started_anew_one_by_one_keep_answering(directors: Directors, doors: Doors) -> None:
    doors.kill("paris")
    eventually(lambda: directors.answers(FRANCE) == [{FRANKFURT}] * 4)
    for name, director in directors.items():
        number = director.standing().snapshot
        assert director.end(signal.SIGTERM) == 0
        assert all(answer == {FRANKFURT} for answer in directors.answers(FRANCE))
        director.start()
        eventually(director.ready, within_s=10)
        assert director.answer(FRANCE) == {FRANKFURT}, f"{name} remembers"
        assert director.standing().snapshot > number
        eventually(directors.agree, within_s=10)


def test_a_restarted_director_answers_from_memory_and_says_its_age(directors: Directors, doors: Doors) -> None:
    doors.kill("paris")
    eventually(lambda: directors.answers(FRANCE) == [{FRANKFURT}] * 4)
    director = directors["tokyo"]
    director.end()
    for name in NAMES[:3]:
        directors.cut("tokyo", name)
    for mine in doors.values():
        says_to(mine[0].says, director).write_text("nothing")
    director.start()
    eventually(director.ready, within_s=10)
    assert director.answer(FRANCE) == {FRANKFURT}
    first = eventually(lambda: director.standing() if director.standing().age_s > 0 else None)
    assert eventually(lambda: director.standing().age_s > first.age_s)
    assert director.answer(FRANCE) == {FRANKFURT}
    directors.heal()
    for mine in doors.values():
        says_to(mine[0].says, director).unlink()
    eventually(lambda: director.standing().age_s == 0, within_s=15)


def test_who_watches_a_site_is_replaced_when_silent(directors: Directors, doors: Doors) -> None:
    watchers = directors["paris"].standing().watchers
    assert all(len(found) == 3 and site not in found for site, found in watchers.items())
    gone = watchers["capetown"][0]
    directors[gone].end()
    living = next(director for name, director in directors.items() if name != gone)
    eventually(lambda: gone not in living.standing().watchers["capetown"], within_s=10)
    doors.kill("capetown")
    others = [director for name, director in directors.items() if name != gone]
    eventually(lambda: all(CAPE_TOWN not in director.answer(AFRICA) for director in others))


def test_an_order_ends_by_itself(directors: Directors) -> None:
    now = time.time()
    order = Order("one", "drain", "paris", 0, "ada", "new disks", now, now + 2.0)
    write_orders(directors.state, Orders(orders=(order,)))
    eventually(lambda: directors.answers(FRANCE) == [{FRANKFURT}] * 4)
    assert directors["tokyo"].verdicts().drain == ("paris",)
    assert "drained by ada: new disks" in directors["tokyo"].site("paris").why
    eventually(lambda: directors.answers(FRANCE) == [{PARIS}] * 4)
    eventually(lambda: directors["tokyo"].verdicts().drain == ())
    words = [word for change in directors["tokyo"].standing().changes for word in change.words]
    assert any(word.startswith("drain of paris by ada: new disks") for word in words)
    assert "drain of paris ended" in words


def test_only_primary_sites_have_a_director(laptop: World, state: Path) -> None:
    edge = Running(laptop, state, "capetown")
    edge.start()
    assert edge.process is not None
    assert edge.process.wait(10) == 2
    assert "only primary sites have a director" in edge.log.read_text()
    edge.process = None


def test_the_log_names_what_happened(directors: Directors) -> None:
    for director in directors.values():
        events = [msgspec.json.decode(line) for line in director.log.read_bytes().splitlines()]
        assert any(event["event"] == "serving" for event in events)
        assert not [event for event in events if event["level"] == "error"]
