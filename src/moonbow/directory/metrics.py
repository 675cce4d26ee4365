"""What the directory counts.  Labels are results and regions, never people."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The room's metrics in a registry that the process chose."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sign_ins = Counter(
            "moonbow_directory_sign_ins", "Sign-ins by what came of them", ["result"], registry=registry
        )
        self.refreshes = Counter(
            "moonbow_directory_refreshes", "Refresh tokens presented, by verdict", ["verdict"], registry=registry
        )
        self.checks = Counter("moonbow_directory_checks", "Access tokens checked", ["result"], registry=registry)
        self.verify = Histogram(
            "moonbow_directory_verify_seconds",
            "Time a password check took, waiting included",
            buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0),
            registry=registry,
        )
        self.revocations = Counter("moonbow_directory_revocations", "Sessions ended, as heard here", registry=registry)
        self.troubles = Counter(
            "moonbow_directory_troubles", "Rounds of the background loop that failed", registry=registry
        )
        self.keys = Gauge("moonbow_directory_keys", "Signing keys of this region", registry=registry)
        self.shared_seq = Gauge(
            "moonbow_directory_shared_seq", "How far the log of each origin reaches here", ["origin"], registry=registry
        )
        self.shared_refused = Gauge(
            "moonbow_directory_shared_refused", "Shared entries refused at the border", registry=registry
        )
