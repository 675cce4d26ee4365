"""Audits by the clock: when the next one is due, and what the last one counted, as metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as Total

from moonbow.base.errors import ConfigError
from moonbow.base.files import changed_s
from moonbow.world import World

from .attest import latest
from .model import Report
from .run import run_audit

FIRST_S = 60.0  # after a start, for the world to settle
AGAIN_S = 600.0  # after an audit that could not be made
LOOK_S_MAX = 3_600.0  # a clock that is set is noticed within this time
log = logging.getLogger("moonbow.watch")


def due_in_s(last_at: float, every_s: float, now: float) -> float:
    """Seconds until the next audit; 0 if it is due, or if the last one is of the future: the clock was set back."""
    return 0.0 if last_at > now else max(0.0, last_at + every_s - now)


class Schedule:
    """Makes an audit every `every_s`, counted from the last attestation, whoever asked for it."""

    def __init__(self, world: World, state: Path, registry: CollectorRegistry, every_s: float) -> None:
        self.world, self.state, self.every_s = world, state, every_s
        self._clean = Gauge("moonbow_watch_audit_clean", "1 if the last audit found nothing", registry=registry)
        self._findings = Gauge(
            "moonbow_watch_audit_findings", "Findings of the last audit", ["region", "code"], registry=registry
        )
        self._loose = Gauge("moonbow_watch_audit_loose", "Controls that did not hold", registry=registry)
        self._ended = Gauge(
            "moonbow_watch_audit_timestamp_seconds", "When every region had last been audited", registry=registry
        )
        self._took = Gauge("moonbow_watch_audit_seconds", "How long the last audit took", registry=registry)
        self._bytes = Gauge("moonbow_watch_audit_bytes", "Bytes that the last audit read", registry=registry)
        self._failures = Total("moonbow_watch_audit_failures_total", "Audits that could not be made", registry=registry)
        self._ended.set_function(self.last_at)  # whoever asked for it

    def last_at(self) -> float:
        """When the region that has waited longest was last audited, Unix time; 0 if one never was."""
        paths = [latest(self.state, region) for region in self.world.regions]
        return min((changed_s(path) if path is not None else 0.0 for path in paths), default=0.0)

    async def run(self, first_s: float = FIRST_S) -> None:
        """Audit by the clock until cancelled."""
        await asyncio.sleep(first_s)
        while True:
            wait_s = due_in_s(self.last_at(), self.every_s, time.time())
            if wait_s:
                await asyncio.sleep(min(wait_s, LOOK_S_MAX))
            elif not await self._audit():
                await asyncio.sleep(AGAIN_S)

    async def _audit(self) -> bool:
        try:
            report = await asyncio.to_thread(run_audit, self.state)
        except ConfigError as error:
            self._failures.inc()
            log.error("audit failed", extra={"f": {"why": str(error)}})
            return False
        self._count(report)
        said = {"findings": len(report.findings), "seconds": report.lasted_s, "files": report.files}
        log.log(logging.INFO if report.clean else logging.ERROR, "audited", extra={"f": said})
        return True

    def _count(self, report: Report) -> None:
        self._clean.set(report.clean)
        self._findings.clear()
        for (region, code), count in Counter((found.at or "world", found.code) for found in report.findings).items():
            self._findings.labels(region, code).set(count)
        self._loose.set(sum(control.held is False for control in report.controls))
        self._took.set(report.lasted_s)
        self._bytes.set(report.size_bytes)
