"""What a data agent says of its node: `/healthz`, `/status`, `/metrics`.  Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from moonbow.base.http import Page
from moonbow.wire.data import DataReport

from .model import NodeStatus


class Facts(NamedTuple):
    """A node as its agent knows it.  `expected` members make the cluster complete; `starts` counts the engine's."""

    region: str
    witness: bool
    report: DataReport
    status: NodeStatus
    expected: int
    doing: str
    why: str
    starts: int
    heard: tuple[DataReport, ...]

    @property
    def redundant(self) -> bool:
        """Whether the loss of any one site now would lose nothing and stop nothing: who receives a snapshot is a member
        already, so everybody must have said to be ready."""
        complete = self.status.size == self.expected == 1 + len(self.heard)
        return complete and self.status.ready and all(report.ready for report in self.heard)


class DataStatus(msgspec.Struct, frozen=True):
    """The page `/status`.  `state` is the engine's own word, or why it has none; `doing` and `why` are the agent's."""

    site: str
    region: str
    witness: bool
    ready: bool
    redundant: bool
    state: str
    size: int
    expected: int
    doing: str
    why: str
    starts: int
    report: DataReport
    heard: tuple[DataReport, ...]


def answer(facts: Facts, path: str) -> Page:
    """The page at `path`; 503 at `/healthz` while the node does not serve."""
    match path:
        case "/healthz":
            said = b"ready\n" if facts.status.ready else f"{facts.doing}: {facts.why}\n".encode()
            return Page(200 if facts.status.ready else 503, "text/plain; charset=utf-8", said)
        case "/status":
            return Page(200, "application/json", msgspec.json.encode(describe(facts)))
        case "/metrics":
            return Page(200, "text/plain; version=0.0.4; charset=utf-8", render_metrics(facts).encode())
        case _:
            return Page(404, "text/plain", b"pages: /healthz /status /metrics\n")


def describe(facts: Facts) -> DataStatus:
    """The facts as they are told."""
    status = facts.status
    return DataStatus(
        facts.report.site, facts.region, facts.witness, status.ready, facts.redundant, status.state, status.size,
        facts.expected, facts.doing, facts.why, facts.starts, facts.report, facts.heard,
    )  # fmt: skip


def render_metrics(facts: Facts) -> str:
    """In the text format of Prometheus."""
    status = facts.status
    rows = (
        ("ready", "gauge", "Whether the node serves", float(status.ready)),
        ("primary", "gauge", "Whether the node is in the component with a majority", float(status.primary)),
        ("redundant", "gauge", "Whether the cluster is complete", float(facts.redundant)),
        ("cluster_size", "gauge", "Members of the node's component", float(status.size)),
        ("cluster_size_expected", "gauge", "Members of a complete cluster", float(facts.expected)),
        ("position", "gauge", "Changes of the cluster's history that the node holds", float(facts.report.seqno)),
        ("flow_control_paused_ratio", "gauge", "Time that writes waited for a slow node", status.flow_paused_ratio),
        ("conflicts_total", "counter", "Transactions that lost against another site's", float(status.conflicts)),
        ("engine_starts_total", "counter", "Starts of the engine by this agent", float(facts.starts)),
    )
    return "".join(
        f"# HELP moonbow_data_{name} {help_}\n# TYPE moonbow_data_{name} {kind}\nmoonbow_data_{name} {value:.10g}\n"
        for name, kind, help_, value in rows
    )
