"""The doors a client may use, best first: the director's answer, or the world file's while it is silent."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import msgspec

from moonbow.wire.rest import Bootstrap, RegionInfo, Served
from moonbow.wire.values import Door
from moonbow.world import Ports, SiteRef, World
from moonbow.world.policy import distance_km, door_address, world_address

_doors = msgspec.json.Decoder(list[Door]).decode


class Doors:
    """Asks the director over HTTP.  Static stability: without it, every door of the world by distance."""

    def __init__(self, world: World, site: SiteRef, regions: dict[str, str]) -> None:
        self.world, self.site, self.regions = world, site, regions
        self._director = httpx.AsyncClient(base_url=f"http://{world_address(world)}:{Ports.DNS + 1}", timeout=0.5)

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
        try:
            answer = await self._director.get(f"/doors?address={quote(client)}")
            if answer.status_code == 200:
                found = [door for door in _doors(answer.content) if door.region in self.regions]
                if found:
                    return found
        except (httpx.HTTPError, msgspec.MsgspecError):
            pass
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

    async def close(self) -> None:
        """Let the director's connection go."""
        await self._director.aclose()
