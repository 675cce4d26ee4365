"""The doors a client may use, best first: a director's answer, or the world file's while none speaks."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec

from moonbow.base.files import changed_s
from moonbow.wire.rest import Bootstrap, RegionInfo, Served
from moonbow.wire.values import Door
from moonbow.world import Ports, SiteRef, World, distance_km, door_address, plane_of, site_address

ASK_S = 0.5
TRIES_MAX = 2
FOLLOWS_S = 5.0  # a director that lives has taken in the operator's word by then
SHUN_S = 5.0  # a director that did not answer is asked last for this long


class _Word(msgspec.Struct, frozen=True):
    """What of a director's verdicts, and of the operator's word, concerns gateways: both files name it alike."""

    drain: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()


_doors = msgspec.json.Decoder(list[Door]).decode


class Doors:
    """Asks directors over HTTP: the own site's first, then sisters', then the others of the same planes by distance.

    Static stability: while none answers, every door of the world by distance.
    """

    def __init__(self, world: World, site: SiteRef, regions: dict[str, str]) -> None:
        self.world, self.site, self.regions = world, site, regions
        self._client = httpx.AsyncClient(timeout=ASK_S)
        self._silent: dict[str, float] = {}  # origin of a director -> until when it is asked last

        def farness(ref: SiteRef) -> tuple[bool, float]:
            return ref.region != site.region, distance_km(ref.site.at, site.site.at)

        near = sorted(plane_of(world, site.region), key=farness)
        self.directors = tuple(f"http://{site_address(world, ref)}:{Ports.DIRECTOR}" for ref in near)

    async def bootstrap(self, client: str, served_by: Served) -> Bootstrap:
        """The bootstrap document for a client at an address."""
        return Bootstrap(
            world=self.world.name,
            domain=self.world.domain,
            served_by=served_by,
            doors=await self._ordered(client),
            regions=[RegionInfo(name=name, title=title) for name, title in self.regions.items()],
        )

    async def _ordered(self, client: str) -> list[Door]:
        now = time.monotonic()
        order = sorted(self.directors, key=lambda director: self._silent.get(director, 0.0) > now)
        for director in order[:TRIES_MAX]:
            try:
                answer = await self._client.get(f"{director}/doors?address={quote(client)}")
                found = _doors(answer.content) if answer.status_code == 200 else []
            except (httpx.HTTPError, msgspec.MsgspecError):
                self._silent[director] = now + SHUN_S
                continue
            if mine := [door for door in found if door.region in self.regions]:
                return mine
        return self._all()

    def _all(self) -> list[Door]:
        own = self.site.site.at
        refs = [ref for ref in self.world.sites() if ref.site.kind != "witness" and ref.region in self.regions]
        refs.sort(key=lambda ref: distance_km(ref.site.at, own))
        return [
            Door(
                site=ref.site.name,
                region=ref.region,
                city=ref.site.city,
                url=f"https://{self.world.domain}",
                address=door_address(self.world, ref, door),
                port=Ports.DOOR,
            )
            for ref in refs
            for door in range(ref.site.doors)
        ]

    def going(self, state: Path) -> frozenset[str]:
        """The sites whose doors the director keeps clients away from by the operator's word; its own is one of them.

        Without a director that follows the operator's word, that word itself counts.
        """
        verdicts, ordered = (
            state / "sites" / self.site.site.name / "director" / "verdicts.json",
            state / "overrides.json",
        )
        follows = not changed_s(verdicts) < changed_s(ordered) < time.time() - FOLLOWS_S
        for path in (verdicts, ordered) if follows else (ordered,):
            try:
                word = msgspec.json.decode(path.read_bytes(), type=_Word)
            except (OSError, msgspec.MsgspecError):
                continue
            return word.drain | word.down
        return frozenset()

    async def close(self) -> None:
        """Let the directors' connections go."""
        await self._client.aclose()
