"""The exchange between the data agents of a region: each publishes its report, over HTTPS that proves both ends."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import msgspec

from moonbow.base.line import Line
from moonbow.wire.data import DataReport, decode_report
from moonbow.world import Ports, SiteRef, World, data_authority, data_leaf, site_address

ASK_S = 1.0


def peer_context(side: int, pki: Path, ref: SiteRef) -> ssl.SSLContext:
    """TLS of one side, as the data node of a site, among those whom the region's data authority signed for."""
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki / f"{data_authority(ref.region)}.crt")
    leaf = data_leaf(ref.site.name)
    context.load_cert_chain(pki / f"{leaf}.crt", pki / f"{leaf}.key")
    return context


class Peer:
    """Another site's agent, asked over a kept connection."""

    def __init__(self, world: World, ref: SiteRef, keys: ssl.SSLContext) -> None:
        self.site = ref.site.name
        self._address = site_address(world, ref)
        self._keys = keys
        self._line: Line | None = None

    async def ask(self) -> DataReport | None:
        """Its report; None if it does not answer in time, or speaks for somebody else."""
        try:
            async with asyncio.timeout(ASK_S):
                status, body = await self._ask()
            report = decode_report(body) if status == 200 else None
        except (OSError, ValueError, msgspec.MsgspecError):  # refused, reset, late, not HTTP, not a report
            self.close()
            return None
        return report if report is not None and report.site == self.site else None

    async def _ask(self) -> tuple[int, bytes]:
        if self._line is None or self._line.lost.is_set():
            loop = asyncio.get_running_loop()
            _, self._line = await loop.create_connection(
                Line, self._address, Ports.DATA_PEERS, ssl=self._keys, server_hostname=self._address
            )
        request = f"GET /report HTTP/1.1\r\nHost: {self._address}:{Ports.DATA_PEERS}\r\n\r\n"
        return await self._line.ask(request.encode())

    def close(self) -> None:
        """Give the connection back."""
        if self._line is not None:
            self._line.abort()
            self._line = None
