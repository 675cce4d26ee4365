"""Sites that say they are full: real directors foresee it, move slices, and all answer alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moonbow.director.addresses import Ranges
from moonbow.world import World
from support import eventually

from .conftest import Doors
from .directors import Directors, directing

pytestmark = pytest.mark.slow

PARIS, FRANKFURT = "127.110.1.11", "127.110.2.11"
FRENCH = [f"194.{second}.{third}.0" for second in (2, 3) for third in range(0, 256, 64)]


class Crowd:
    """The counters of each site's first door, on its administration socket, as Envoy says them."""

    def __init__(self, state: Path, sites: tuple[str, ...]) -> None:
        self.clients = dict.fromkeys(sites, 100)
        self._folders = {site: state / "sites" / site / "door0" for site in sites}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        servers = [self._loop.run_until_complete(self._serve(site)) for site in self.clients]
        self._loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _serve(self, site: str) -> asyncio.Server:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    body = f"http.door.downstream_cx_active: {self.clients[site]}\n"
                    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        self._folders[site].mkdir(exist_ok=True)
        return await asyncio.start_unix_server(talk, str(self._folders[site] / "admin.sock"))

    @contextmanager
    def gathered(self) -> Iterator[Crowd]:
        self._thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            for folder in self._folders.values():
                (folder / "admin.sock").unlink(missing_ok=True)


def share(directors: Directors, site: str) -> list[float]:
    """Which part of French networks each director sends to a site."""
    return [sum(director.answer(net) == {site} for net in FRENCH) / len(FRENCH) for director in directors.values()]


def test_a_full_region_gives_slices_away_and_everybody_agrees(
    laptop: World, state: Path, doors: Doors, ranges: Ranges
) -> None:
    with (
        Crowd(state, tuple(laptop_primaries(laptop))).gathered() as crowd,
        directing(laptop, state, ranges, 64.0) as all_,
    ):
        assert share(all_, PARIS) == [1.0] * 4
        assert all_["tokyo"].standing().spilled == 0
        crowd.clients["paris"] = 24_000  # more than both sites of the region are made for
        eventually(lambda: all(director.standing().loads["paris"].connections > 20_000 for director in all_.values()))
        eventually(lambda: all(director.standing().spilled for director in all_.values()), within_s=30)
        eventually(all_.agree, within_s=30)
        assert b"moonbow_director_spilled_slices 0.0" not in all_["frankfurt"].page("/metrics")[1]
        full = all_["tokyo"].status()
        assert next(site for site in full.sites if site.site == "paris").healthy, "full is not unhealthy"
        doors.kill("tokyo")
        eventually(lambda: all("127.111.2.11" not in director.answer("1.33.0.0") for director in all_.values()))
        assert all(director.standing().spilled for director in all_.values())
    doors.start("tokyo")


def laptop_primaries(world: World) -> list[str]:
    return [ref.site.name for ref in world.sites() if ref.site.kind == "primary"]
