"""How far a director may trust what it knows: whom it hears, who disagrees, how old it is; as page and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .knowledge import Knowledge
from .memory import Change
from .quorum import watchers_of
from .snapshot import Snapshot


class Dispute(msgspec.Struct, frozen=True):
    """A door on which those who watch it do not agree."""

    site: str
    door: int
    say_up: tuple[str, ...]
    say_down: tuple[str, ...]


class LoadOf(msgspec.Struct, frozen=True):
    """What a site says of its load."""

    connections: int
    capacity: int
    cpu: float
    errors: float


class Standing(msgspec.Struct, frozen=True):
    """One director's trust in itself.  `age_s` is 0 while what it answers from is live; ages of views in seconds.

    `watchers` are those who are to watch each site, `spilled` the slices sent elsewhere because of load.
    """

    site: str
    snapshot: int
    digest: str
    frozen: bool
    why: str
    age_s: float
    views: dict[str, float]
    silent: tuple[str, ...]
    blind: tuple[str, ...]
    disputes: tuple[Dispute, ...]
    watchers: dict[str, tuple[str, ...]]
    loads: dict[str, LoadOf]
    flaps: dict[str, int]
    spilled: int
    changes: tuple[Change, ...]

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


def describe_standing(
    knowledge: Knowledge, snapshot: Snapshot, now_s: float, age_s: float, changes: tuple[Change, ...]
) -> Standing:
    """The standing of one director now."""
    judged, ages = knowledge.judged, {name: now_s - view.at_s for name, view in knowledge.views.items()}
    present = knowledge.present(now_s)
    return Standing(
        site=knowledge.me,
        snapshot=snapshot.number,
        digest=snapshot.digest,
        frozen=judged.frozen,
        why=judged.why,
        age_s=min(age_s, 1e9),
        views={name: round(age, 3) for name, age in ages.items()},
        silent=tuple(name for name in knowledge.peers if name not in present),
        blind=judged.blind,
        disputes=tuple(Dispute(*found) for found in judged.disagreements),
        watchers={name: watchers_of(knowledge.world, name, present) for name in judged.sites},
        loads={
            name: LoadOf(load.connections, load.capacity, load.cpu, load.errors) for name, load in judged.loads.items()
        },
        flaps=dict(knowledge.flaps),
        spilled=len(snapshot.spill.moved),
        changes=changes,
    )


class Told(Protocol):
    """Counts of views: sent, heard, and refused."""

    sent: int
    heard: int
    refused: int


def render_standing(standing: Standing, told: Told) -> bytes:
    """The standing as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_Collected([*_gauges(standing), *_counters(standing, told)]))
    return generate_latest(registry)


class _Collected:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _gauges(standing: Standing) -> Iterable[Metric]:
    for name, text, value in (
        ("frozen", "1 while the last decisions are kept because we seem to be cut off", float(standing.frozen)),
        ("state_age_seconds", "Age of the health answered from; 0 while it is live", standing.age_s),
        ("views_silent", "Directors of our plane not heard for 3 s", float(len(standing.silent))),
        ("disagreements", "Doors on which their watchers do not agree", float(len(standing.disputes))),
        ("spilled_slices", "Slices sent elsewhere because of load", float(standing.spilled)),
    ):
        yield GaugeMetricFamily(f"moonbow_director_{name}", text, value=value)
    loads: Mapping[str, LoadOf] = standing.loads
    for name, text in (
        ("connections", "Clients connected to a site, as it says"),
        ("capacity", "Clients a site is made for"),
        ("cpu", "Share of its processors that a site uses"),
        ("errors", "Share of a site's answers that are 5xx"),
    ):
        family = GaugeMetricFamily(f"moonbow_director_site_{name}", text, labels=["site"])
        for site, load in loads.items():
            family.add_metric([site], getattr(load, name))
        yield family
    ages = GaugeMetricFamily("moonbow_director_view_age_seconds", "Age of a director's view", labels=["observer"])
    for observer, age in standing.views.items():
        ages.add_metric([observer], age)
    yield ages


def _counters(standing: Standing, told: Told) -> Iterable[Metric]:
    flaps = CounterMetricFamily("moonbow_director_flaps_total", "Changes of a site's doors", labels=["site"])
    for site, number in standing.flaps.items():
        flaps.add_metric([site], number)
    views = CounterMetricFamily("moonbow_director_views_total", "Views of directors", labels=["fate"])
    for fate, number in (("sent", told.sent), ("heard", told.heard), ("refused", told.refused)):
        views.add_metric([fate], number)
    yield from (flaps, views)
