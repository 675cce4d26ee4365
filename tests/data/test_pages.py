"""What an agent says of its node: ready, redundant only when everybody has caught up, metrics as the alerts name them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from moonbow.data.model import NodeStatus
from moonbow.data.pages import Facts, answer
from moonbow.wire.data import DataReport

OTHERS = (DataReport(site="b", primary=True, ready=True), DataReport(site="w", primary=True, ready=True))
WHOLE = Facts(
    region="emea",
    witness=False,
    report=DataReport(site="a", seqno=7, ready=True),
    status=NodeStatus(ready=True, primary=True, state="Synced", size=3),
    expected=3,
    doing="join",
    why="b serves",
    starts=2,
    heard=OTHERS,
)


def test_who_serves_is_well() -> None:
    assert answer(WHOLE, "/healthz").status == 200
    waiting = answer(WHOLE._replace(status=NodeStatus(), doing="wait", why="for b"), "/healthz")
    assert (waiting.status, waiting.body) == (503, b"wait: for b\n")
    assert answer(WHOLE, "/nothing").status == 404


@pytest.mark.parametrize(
    ("facts", "redundant"),
    [
        (WHOLE, True),
        (WHOLE._replace(status=WHOLE.status._replace(size=2)), False),
        (WHOLE._replace(status=WHOLE.status._replace(ready=False)), False),
        (WHOLE._replace(heard=OTHERS[:1]), False),
        (
            WHOLE._replace(heard=(msgspec.structs.replace(OTHERS[0], ready=False), OTHERS[1])),
            False,
        ),  # it still receives
    ],
)
def test_redundant_is_only_who_has_everybody(facts: Facts, redundant: bool) -> None:
    said = json.loads(answer(facts, "/status").body)
    assert said["redundant"] is redundant
    assert f"\nmoonbow_data_redundant {int(redundant)}\n" in answer(facts, "/metrics").body.decode()


def test_every_metric_of_the_alerts_is_there() -> None:
    rules = (Path(__file__).parents[2] / "docs" / "alerts-data.yml").read_text()
    named = set(re.findall(r"\bmoonbow_[a-z_]+", rules))
    assert len(named) >= 4
    given = answer(WHOLE, "/metrics").body.decode()
    assert sorted(name for name in named if f"# TYPE {name} " not in given) == []
