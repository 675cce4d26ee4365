"""The director's numbers for Prometheus, collected when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .desk import Counts
from .model import SLICES
from .snapshot import Snapshot


def render_metrics(
    snapshot: Snapshot, counts: Counts, probes: Mapping[tuple[str, bool], int], stale: Mapping[str, bool]
) -> bytes:
    """The text page.  `probes` counts (site, passed); `stale` names inputs and whether their file is not in use."""
    registry = CollectorRegistry()
    registry.register(_Collected([*_queries(counts), *_sites(snapshot, probes), *_inputs(snapshot, stale)]))
    return generate_latest(registry)


class _Collected:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _queries(counts: Counts) -> Iterable[Metric]:
    replies = CounterMetricFamily(
        "moonbow_director_replies_total", "Replies of the name server", labels=["transport", "rcode"]
    )
    for (transport, rcode), number in counts.replies.items():
        replies.add_metric([transport, str(rcode)], number)
    yield replies
    for name, text, label, found in (
        ("silent", "Packets not worth a reply", "transport", counts.silent),
        ("limited", "Replies beyond the rate of a network", "fate", counts.limited),
        ("cookies", "DNS cookies read", "found", counts.cookies),
    ):
        family = CounterMetricFamily(f"moonbow_director_{name}_total", text, labels=[label])
        for value, number in found.items():
            family.add_metric([value], number)
        yield family
    yield from _workers(counts)
    yield from _knot(counts)
    yield CounterMetricFamily("moonbow_director_signatures_total", "Signatures made", value=counts.signed)
    yield GaugeMetricFamily("moonbow_director_tcp_connections", "Open TCP connections", value=counts.tcp_connections)
    yield CounterMetricFamily(
        "moonbow_director_tcp_refused_total", "TCP connections beyond the limit", value=counts.tcp_refused
    )


def _workers(counts: Counts) -> Iterable[Metric]:
    """A worker that is not listed is not there; with a report older than 3 s it hangs."""
    served = GaugeMetricFamily("moonbow_director_worker_snapshot", "Snapshot that a worker serves", labels=["worker"])
    ages = GaugeMetricFamily("moonbow_director_worker_report_age_seconds", "Since its last word", labels=["worker"])
    for worker, (number, age_s) in counts.workers.items():
        served.add_metric([str(worker)], number)
        ages.add_metric([str(worker)], age_s)
    yield from (served, ages)
    yield CounterMetricFamily(
        "moonbow_director_worker_restarts_total", "Workers that had to be started again", value=counts.restarts
    )


def _knot(counts: Counts) -> Iterable[Metric]:
    """How well Knot follows the director that drives it; nothing where the director answers itself."""
    for name, value in counts.knot.items():
        text = f"Knot: {name.removesuffix('_total').replace('_', ' ')}"
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        yield kind(f"moonbow_director_knot_{name}", text, value=value)


def _sites(snapshot: Snapshot, probes: Mapping[tuple[str, bool], int]) -> Iterable[Metric]:
    asked = CounterMetricFamily("moonbow_director_probes_total", "Probes of doors", labels=["site", "result"])
    for (site, passed), number in probes.items():
        asked.add_metric([site, "passed" if passed else "failed"], number)
    usable = GaugeMetricFamily("moonbow_director_site_usable", "1 if answers may name the site", labels=["site"])
    for site, verdict in snapshot.verdicts.items():
        usable.add_metric([site], 0 if verdict.trouble else 1)
    doors = GaugeMetricFamily(
        "moonbow_director_door_up", "1 if the door is not known to be down", labels=["site", "door"]
    )
    for site, health in snapshot.health.items():
        for number, door in enumerate(health.doors):
            doors.add_metric([site, str(number)], 0 if door.up is False else 1)
    yield from (asked, usable, doors)


def _inputs(snapshot: Snapshot, stale: Mapping[str, bool]) -> Iterable[Metric]:
    yield GaugeMetricFamily("moonbow_director_snapshot", "Number of the snapshot served", value=snapshot.number)
    plan = snapshot.plans["door"]
    degraded = len({at // SLICES for at, number in enumerate(plan.cells) if plan.pools[number].degraded})
    yield GaugeMetricFamily("moonbow_director_buckets_degraded", "Buckets away from their first choice", value=degraded)
    files = GaugeMetricFamily("moonbow_director_input_stale", "1 if the file is not the one in use", labels=["input"])
    for name, is_stale in stale.items():
        files.add_metric([name], 1 if is_stale else 0)
    yield files
