"""What the process counts, and the page on which it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from .model import Archive

REQUEST_BYTES_MAX, REQUEST_S = 8_192, 5.0


class Metrics:
    """One region's, in a registry of their own."""

    def __init__(self, region: str) -> None:
        self.registry = CollectorRegistry()
        last = Gauge(
            "moonbow_backup_last_success_seconds", "When the newest good backup was begun (Unix time)", ["region"],
            registry=self.registry,
        )  # fmt: skip
        self.last = last.labels(region)
        failures = Counter("moonbow_backup_failures", "Backups that failed", ["region"], registry=self.registry)
        self.failures = failures.labels(region)
        seconds = Gauge(
            "moonbow_backup_duration_seconds", "How long the last one took", ["region"], registry=self.registry
        )
        self.seconds = seconds.labels(region)
        sizes = Gauge(
            "moonbow_backup_archive_bytes", "Size of the newest good archive, objects not counted", ["region"],
            registry=self.registry,
        )  # fmt: skip
        self.size = sizes.labels(region)
        count = Gauge("moonbow_backup_archives", "Archives that stand", ["region", "kind"], registry=self.registry)
        self.count = {kind: count.labels(region, kind) for kind in ("data", "keys")}

    def note(self, archives: Iterable[Archive]) -> None:
        """Say what stands on the shelf."""
        found = list(archives)
        for kind, gauge in self.count.items():
            gauge.set(sum(one.manifest.kind == kind for one in found))
        good = [one for one in found if one.manifest.kind == "data" and one.good]
        if good:
            self.last.set(good[-1].manifest.taken_at)
            self.size.set(good[-1].sealed_bytes)


async def serve_metrics(address: str, port: int, registry: CollectorRegistry) -> asyncio.Server:
    """Answer GET /metrics, and anything else with `ok`; one request a connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await reader.readuntil(b"\r\n\r\n")
                wanted = request.split(b" ", 2)[1:2]
                body = generate_latest(registry) if wanted == [b"/metrics"] else b"ok\n"
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, address, port, limit=REQUEST_BYTES_MAX)
