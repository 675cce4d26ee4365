"""What the bus client of a process counts.  No label names a person."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

BREAKER_VALUE = {"closed": 0.0, "half_open": 1.0, "open": 2.0}


class Metrics:
    """Counters of one `Bus`, registered with `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "moonbow_bus_messages", "Messages sent and heard", ["account", "direction"], registry=registry
        )
        self.errors = Counter("moonbow_bus_errors", "Errors by kind", ["account", "kind"], registry=registry)
        self.reconnects = Counter("moonbow_bus_reconnects", "Connections made again", ["account"], registry=registry)
        self.requests = Counter(
            "moonbow_bus_requests", "Requests to other regions by outcome", ["region", "outcome"], registry=registry
        )
        self.breaker = Gauge(
            "moonbow_bus_breaker_state", "0 closed, 1 half open, 2 open", ["region"], registry=registry
        )
