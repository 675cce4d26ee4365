"""Orders, what-if and explanations by the real command line and over HTTP, in a world that really runs."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.small import leftovers, moonbow
from moonbow.director.orders import parse_orders
from moonbow.world import Ports, World, load_world, site_address
from support import eventually

pytestmark = pytest.mark.engines
SLOT = 11


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("operators")
    file, state = folder / "world.toml", folder / "state"
    text = (Path(__file__).parents[2] / "worlds" / "laptop.toml").read_text().replace("doors = 2", "doors = 1")
    file.write_text(f"slot = {SLOT}\n{text}")
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "moonbow.launch", "--world", str(file), "--state", str(state)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert launcher.stdout is not None
    try:
        said = [json.loads(line) for line in launcher.stdout]
        assert said[-1:] == [{"ready": True}], said[-1:]
        eventually(lambda: cli(state, "status", "--once")[0] == 0, within_s=40)
        yield state
    finally:
        launcher.terminate()
        launcher.wait(30)
        launcher.stdout.close()
    assert leftovers(state) == []


@pytest.fixture(scope="module")
def world(state: Path) -> World:
    return load_world(state / "world.toml")


@pytest.fixture(autouse=True)
def _no_order_is_left(state: Path) -> Iterator[None]:
    yield
    assert cli(state, "undo", "--all")[0] == 0
    eventually(lambda: cli(state, "status", "--once")[0] == 0, within_s=30)


def cli(state: Path, *words: str) -> tuple[int, str]:
    """Exit code and all that `moonbow director …` says."""
    done = moonbow("director", *words, "--state", str(state))
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def told(state: Path, *words: str) -> Any:
    """What a command says to programs."""
    return json.loads(moonbow("director", *words, "--json", "--state", str(state)).stdout)


def orders(state: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told(state, "orders")
    return found


def ask(
    state: Path, world: World, method: str, path: str, body: object = None, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    """The director of Paris over HTTP; with its key unless another is given."""
    own = (state / "sites" / "paris" / "director" / "orders.key").read_text()
    line = http.client.HTTPConnection(site_address(world, world.site("paris")), Ports.DIRECTOR, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {own if key is None else key}"}
        line.request(method, path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
        answer = line.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        return answer.status, found
    finally:
        line.close()


def test_a_drain_says_who_and_why_and_is_taken_back(state: Path) -> None:
    code, said = cli(state, "drain", "paris", "--for", "30m", "--why", "new disks")
    assert code == 0, said
    assert "paris is empty" in said
    (order,) = orders(state)
    assert (order["kind"], order["target"], order["why"]) == ("drain", "paris", "new disks")
    assert order["who"]
    eventually(lambda: cli(state, "status", "--once")[0] == 1)
    shown = cli(state, "status", "--once")[1]
    assert "drained" in shown
    assert "new disks" in shown
    assert "4 of 4 directors answer alike" in shown
    code, said = cli(state, "history")
    assert code == 0
    assert f"drain of paris by {order['who']}: new disks" in said
    assert cli(state, "undo", order["id"])[0] == 0
    assert orders(state) == []
    assert cli(state, "undo", order["id"]) == (2, f"✗ there is no order '{order['id']}'; in force: none\n")


def test_an_order_ends_by_itself(state: Path) -> None:
    assert cli(state, "drain", "tokyo", "--for", "2s")[0] == 0
    file = state / "overrides.json"
    eventually(lambda: parse_orders(file.read_bytes()) == parse_orders(b"{}"), within_s=20)
    eventually(lambda: cli(state, "status", "--once")[0] == 0, within_s=30)


def test_what_would_do_harm_is_refused_and_force_is_obeyed(state: Path) -> None:
    for words in (("drain", "emea"), ("override", "apac", "down")):
        code, said = cli(state, *words)
        assert code == 1
        assert "would be left to serve the people whose data rests there" in said
        assert "--force" in said
    assert orders(state) == []
    assert cli(state, "override", "apac", "down", "--for", "1m", "--force")[0] == 0
    assert [order["target"] for order in orders(state)] == ["apac"]
    code, said = cli(state, "override", "apac", "clear")
    assert code == 0
    assert "1 orders for apac are taken back" in said
    done = moonbow("drain", "paris", "--state", str(state))
    assert done.returncode == 0
    refused = moonbow("drain", "frankfurt", "--state", str(state))
    assert refused.returncode == 1
    assert "no site of emea would be left" in refused.stderr
    assert [order["target"] for order in orders(state)] == ["paris"]


def test_weights_and_canaries_move_slices(state: Path) -> None:
    assert cli(state, "weights", "frankfurt=25", "paris=100%", "--for", "10m")[0] == 0
    assert cli(state, "canary", "tokyo", "3", "--for", "10m", "--why", "release 7")[0] == 0
    eventually(lambda: "canary of 3/16" in cli(state, "status", "--once")[1])
    found = {site["site"]: site for site in told(state, "status")["status"]["sites"]}
    assert (found["frankfurt"]["weight"], found["tokyo"]["canary"]) == (25, 3)
    said = cli(state, "history")[1]
    assert "weight of frankfurt: 25, by " in said
    assert ": release 7, until " in said
    for words in (("weights", "frankfurt"), ("weights", "paris=101"), ("canary", "mars", "2")):
        code, said = cli(state, *words)
        assert code == 2, said
    assert cli(state, "drain", "paris", "--for", "soon")[1].startswith("✗ --for soon: a time like 90s")


def test_what_if_changes_nothing(state: Path) -> None:
    before = told(state, "status")["directors"]["paris"]["digest"]
    code, said = cli(state, "simulate", "--down", "paris")
    assert code == 0
    assert "everybody would have a place" in said
    assert cli(state, "simulate", "--down", "emea")[0] == 1
    assert cli(state, "simulate", "--down", "mars") == (2, "✗ down: there is no site or region 'mars' with doors\n")
    assert told(state, "simulate", "--down", "paris,tokyo")["down"] == ["paris", "tokyo"]
    assert told(state, "status")["directors"]["paris"]["digest"] == before


def test_any_service_is_explained(state: Path) -> None:
    done = moonbow("explain", "196.10.52.9", "--name", "media", "--json", "--state", str(state))
    found = json.loads(done.stdout)
    assert (found["service"], found["pool"], found["live"]) == ("media", ["capetown"], True)
    assert moonbow("explain", "mars", "--state", str(state)).returncode == 2


def test_orders_over_http_want_the_key_and_make_sense(state: Path, world: World) -> None:
    good = {"kind": "weight", "target": "paris", "value": 40, "for_s": 60, "who": "a program", "why": "load"}
    assert ask(state, world, "POST", "/orders", good, key="")[1]["code"] == "not_allowed"
    assert ask(state, world, "DELETE", "/orders/o1", key="0" * 64)[0] == 403
    for change, code, place in (
        ({"kind": "pause"}, "order_invalid", "$.kind"),
        ({"value": 101}, "order_invalid", "$.value"),
        ({"target": "mars"}, "order_invalid", None),
        ({"target": "mars", "force": True}, "target_unknown", "$.target"),
        ({"for_s": 0}, "order_invalid", "$.for_s"),
        ({"colour": "red"}, "order_invalid", "$"),
    ):
        status, said = ask(state, world, "POST", "/orders", {**good, **change})
        assert (status, said["code"], said["place"]) == (400, code, place), said
    assert ask(state, world, "POST", "/orders", b"{")[1]["code"] == "order_invalid"
    assert ask(state, world, "POST", "/status", good)[0] == 404
    assert ask(state, world, "POST", "/orders", {**good, "kind": "drain", "target": "emea", "value": None})[0] == 409
    assert orders(state) == []

    status, given = ask(state, world, "POST", "/orders", good)
    assert (status, given["order"]["who"]) == (201, "a program")
    assert [order["id"] for order in orders(state)] == [given["order"]["id"]]
    assert ask(state, world, "DELETE", f"/orders/{given['order']['id']}")[0] == 200
    status, said = ask(state, world, "DELETE", f"/orders/{given['order']['id']}")
    assert (status, said["code"]) == (404, "order_unknown")


def test_every_metric_of_the_alerts_is_there(state: Path, world: World) -> None:
    """The rules about directors name only metrics that a running director really gives."""
    rules = (Path(__file__).parents[2] / "docs" / "alerts.yml").read_text()
    line = http.client.HTTPConnection(site_address(world, world.site("paris")), Ports.DIRECTOR, timeout=5)
    try:
        line.request("GET", "/metrics")
        given = line.getresponse().read().decode()
    finally:
        line.close()
    named = set(re.findall(r"\bmoonbow_director_[a-z_]+", rules))
    assert len(named) >= 8
    assert sorted(name for name in named if f"# TYPE {name} " not in given) == []
