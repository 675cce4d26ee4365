"""Audits by the clock: when the next is due; and one made by a real process, with what it counts."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from moonbow.watch.attest import latest
from moonbow.watch.schedule import Schedule, due_in_s
from moonbow.world import load_world
from support import eventually_async


@given(st.floats(0, 1e10), st.floats(1, 1e7), st.floats(0, 1e10))
def test_always_due_within_its_time(last_at: float, every_s: float, now: float) -> None:
    assert 0.0 <= due_in_s(last_at, every_s, now) <= every_s * 1.001
    assert due_in_s(now + 1.0, every_s, now) == 0.0


def test_every_metric_of_the_alerts_is_there() -> None:
    registry = CollectorRegistry()
    Schedule(load_world(Path("worlds/laptop.toml")), Path("nowhere"), registry, 3_600.0)
    given = generate_latest(registry).decode()
    named = set(re.findall(r"\bmoonbow_watch_[a-z_]+", Path("docs/alerts.yml").read_text()))
    assert len(named) >= 4
    assert sorted(name for name in named if f"# TYPE {name} " not in given) == []


@pytest.mark.engines
def test_an_audit_that_is_due_is_made_and_counted(state: Path) -> None:
    (state / "regions" / "emea" / "export.csv").write_text("a,b\n")
    registry = CollectorRegistry()
    schedule = Schedule(load_world(state / "world.toml"), state, registry, 3_600.0)
    for region in ("emea", "apac"):
        path = latest(state, region)
        assert path is not None
        os.utime(path, (1.0, 1.0))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"moonbow_watch_audit_{name}", labels)

    async def main() -> None:
        running = asyncio.create_task(schedule.run(first_s=0.0))
        await eventually_async(lambda: value("findings", region="emea", code="unknown_file") == 1.0, within_s=30)
        running.cancel()

    asyncio.run(main())
    assert value("clean") == 0.0
    assert value("loose") == 0.0
    assert value("timestamp_seconds") == pytest.approx(schedule.last_at(), abs=30)
    assert due_in_s(schedule.last_at(), 3_600.0, schedule.last_at() + 1) == 3_599.0
