"""Each balancing policy by counting who answered, changed at run time on one real door."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from balancer.stage import Answer, Stage, make_world
from support import eventually

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def as_before(stage: Stage) -> Iterator[None]:
    yield
    for number in (0, 1):
        stage.control("paris", number, "load", "")
    balance(stage, "round_robin", "round_robin")
    eventually(lambda: rest(stage, 8) == {"paris-0": 4, "paris-1": 4})


def balance(stage: Stage, rest: str, stream: str) -> None:
    """Give the door in Paris other policies."""
    stage.balancers["paris"].world = make_world(rest, stream)
    stage.balancers["paris"].write_all()


def loads(stage: Stage, *values: str) -> None:
    for number, value in enumerate(values):
        stage.control("paris", number, "load", value)


def rest(stage: Stage, count: int) -> Counter[str]:
    token = stage.signers["emea"].token()
    return Counter(answer.json["name"] for answer in stage.burst("paris", "/v1/me", count, token=token))


def streams(stage: Stage, count: int) -> Counter[str]:
    return Counter(one_stream(stage)[0] for _ in range(count))


def one_stream(stage: Stage, **headers: str) -> tuple[str, bytes]:
    """Who answered a new stream, and the head of the answer."""
    with closing(stage.stream("paris", stage.signers["emea"].token(), **headers)) as socket:
        return json.loads(socket.receive())["name"], socket.head


def one(stage: Stage, cookie: str | None = None) -> Answer:
    headers = {"cookie": cookie} if cookie else {}
    return stage.ask("paris", "/v1/me", token=stage.signers["emea"].token(), headers=headers)


def test_in_turn(stage: Stage) -> None:
    assert rest(stage, 40) == {"paris-0": 20, "paris-1": 20}
    assert streams(stage, 10) == {"paris-0": 5, "paris-1": 5}


def test_by_the_load_that_gateways_report(stage: Stage) -> None:
    balance(stage, "weighted", "weighted")
    loads(stage, "0.2", "0.8")
    eventually(lambda: rest(stage, 50) == {"paris-0": 40, "paris-1": 10})
    eventually(lambda: streams(stage, 20) == {"paris-0": 16, "paris-1": 4})
    loads(stage, "0.8", "0.2")
    eventually(lambda: rest(stage, 50) == {"paris-0": 10, "paris-1": 40})
    assert "endpoint-load-metrics" not in one(stage).headers
    assert b"endpoint-load-metrics" not in one_stream(stage)[1]


def test_with_the_gateway_first_met(stage: Stage) -> None:
    balance(stage, "sticky", "sticky")
    first = eventually(lambda: (answer := one(stage)).cookies and answer)
    cookie, _, attributes = first.cookies[0].partition(";")
    assert cookie.startswith("moonbow-rest=")
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/v1"):
        assert attribute.lower() in attributes.lower()
    assert {one(stage, cookie).json["name"] for _ in range(20)} == {first.json["name"]}
    assert rest(stage, 20) == {"paris-0": 10, "paris-1": 10}  # those without a cookie
    name, head = one_stream(stage)
    kept = next(line for line in head.decode().split("\r\n") if line.lower().startswith("set-cookie: moonbow-stream="))
    cookie = kept.split(" ", 1)[1].partition(";")[0]
    assert {one_stream(stage, cookie=cookie)[0] for _ in range(10)} == {name}
    assert b"moonbow-stream=" in one_stream(stage)[1]


def test_with_the_gateway_first_met_by_load(stage: Stage) -> None:
    balance(stage, "sticky+weighted", "sticky+weighted")
    loads(stage, "0.2", "0.8")
    eventually(lambda: rest(stage, 50) == {"paris-0": 40, "paris-1": 10})
    answers = [one(stage) for _ in range(10)]
    busy = next(answer for answer in answers if answer.json["name"] == "paris-1")
    cookie = busy.cookies[0].partition(";")[0]
    assert {one(stage, cookie).json["name"] for _ in range(20)} == {"paris-1"}


def test_a_lost_gateway_is_replaced_for_those_who_stuck_to_it(stage: Stage) -> None:
    balance(stage, "sticky", "round_robin")
    first = eventually(lambda: (answer := one(stage)).cookies and answer)
    cookie, name = first.cookies[0].partition(";")[0], first.json["name"]
    stage.kill(name)
    try:
        found = [one(stage, cookie) for _ in range(6)]
        assert {answer.status for answer in found} == {200}
        assert name not in {answer.json["name"] for answer in found}
    finally:
        stage.start_gateway("paris", int(name[-1]))
        eventually(lambda: stage.control("paris", int(name[-1]), "load", "") is None)


def test_a_policy_is_of_a_service(stage: Stage) -> None:
    balance(stage, "sticky", "round_robin")
    eventually(lambda: one(stage).cookies)
    assert b"set-cookie" not in one_stream(stage)[1].lower()
    assert streams(stage, 10) == {"paris-0": 5, "paris-1": 5}
    assert msgspec.structs.asdict(stage.balancers["paris"].world.balancing) == {
        "rest": "sticky",
        "stream": "round_robin",
    }
