"""Files through door and gateway beside SeaweedFS's own S3, with the same client (httpx) in the same run.

python -m bench.files [--mib 64] [--rounds 5]

A world of its own starts, with its objects in a directory; one SeaweedFS beside it.  In turns, so that whatever else
the machine does meets both: a file goes in and comes out.  SeaweedFS is asked as a whole object and in objects of the
size of our parts, over TLS with the certificate of our doors and, as the most it can give, without; never signed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import msgspec

from bench.seaweed import BUCKET, S3, S3_TLS, Weed, weed
from moonbow.base.limits import FILE_PART_BYTES
from moonbow.drills.private import private_world
from moonbow.drills.stage import Stage
from moonbow.sdk import Client
from moonbow.sdk.rest import Rest

ROOT = Path(__file__).parents[1]
SLOT = 9
MIB = 1_048_576
Work = Callable[[], Awaitable[None]]
Figures = dict[str, tuple[list[float], list[float]]]


class Moonbow:
    """One person's client at a door of their own region."""

    def __init__(self, client: Client, content: bytes) -> None:
        self.client, self.content, self.file = client, content, ""

    async def put(self) -> None:
        self.file = (await self.client.upload(self.content, "bench.bin")).id

    async def get(self) -> None:
        """As one request, which is what a browser does."""
        rest, door = self.client.rest, self.client.rest.doors[0]
        headers = {"Host": f"{rest.domain}:{door.port}", "Authorization": f"Bearer {rest.token}"}
        client, size = rest._client(door), 0
        async with client.stream(
            "GET", f"/v1/files/{self.file}/content", headers=headers, extensions={"sni_hostname": rest.domain}
        ) as answer:
            async for some in answer.aiter_raw():
                size += len(some)
        assert (answer.status_code, size) == (200, len(self.content))

    async def clear(self) -> None:
        await self.client.delete_file(self.file)


class Seaweed:
    """SeaweedFS's S3; `part` bytes an object."""

    def __init__(self, server: Weed, content: bytes, part: int, rest: Rest | None = None) -> None:
        origin = f"http://{server.host}:{S3}" if rest is None else f"https://{server.host}:{S3_TLS}"
        trust = False if rest is None else rest.tls
        self.extensions = {} if rest is None else {"sni_hostname": rest.domain}
        self.client = httpx.AsyncClient(base_url=f"{origin}/{BUCKET}", timeout=60, trust_env=False, verify=trust)
        self.parts = [content[start : start + part] for start in range(0, len(content), part)]
        self.size = len(content)

    async def put(self) -> None:
        for no, part in enumerate(self.parts):
            answer = await self.client.put(f"/bench/{no}", content=part, extensions=self.extensions)
            answer.raise_for_status()

    async def get(self) -> None:
        size = 0
        for no in range(len(self.parts)):
            async with self.client.stream("GET", f"/bench/{no}", extensions=self.extensions) as answer:
                async for some in answer.aiter_raw():
                    size += len(some)
        assert size == self.size

    async def clear(self) -> None:
        return


async def timed(work: Work) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def compare(stage: Stage, server: Weed, content: bytes, rounds: int) -> Figures:
    """MiB/s of each way, in and out, one figure a round."""
    demo = msgspec.json.decode((stage.state / "world" / "demo.json").read_bytes())
    person = next(p for p in demo["companies"][0]["people"] if p["region"] == "emea")
    doors = stage.doors_from("paris")
    found: Figures = {}
    client = await Client.sign_in(
        doors, person["login"], person["password"], ca=stage.ca, domain=stage.world.domain
    )  # fmt: skip
    async with client:
        ways = {
            "Moonbow, door and gateway": Moonbow(client, content),
            "SeaweedFS, one object, TLS": Seaweed(server, content, len(content), client.rest),
            "SeaweedFS, objects of 1 MiB, TLS": Seaweed(server, content, FILE_PART_BYTES, client.rest),
            "SeaweedFS, one object": Seaweed(server, content, len(content)),
            "SeaweedFS, objects of 1 MiB": Seaweed(server, content, FILE_PART_BYTES),
        }
        for _ in range(rounds):
            for name, way in ways.items():
                into, out = found.setdefault(name, ([], []))
                into.append(len(content) / MIB / await timed(way.put))
                out.append(len(content) / MIB / await timed(way.get))
                await way.clear()
    return found


def show(found: Figures, mib: int) -> None:
    """A table of medians, with the ratio to SeaweedFS's best over TLS."""
    middles = {name: (statistics.median(into), statistics.median(out)) for name, (into, out) in found.items()}
    best = [max(row[no] for name, row in middles.items() if name.endswith("TLS")) for no in (0, 1)]
    print(f"{mib} MiB, median of {len(next(iter(found.values()))[0])} rounds, load average {os.getloadavg()[0]:.1f}")
    print(f"{'':34}{'upload MiB/s':>14}{'of TLS':>9}{'download MiB/s':>16}{'of TLS':>9}")
    for name, (into, out) in middles.items():
        print(f"{name:34}{into:14.1f}{into / best[0]:9.0%}{out:16.1f}{out / best[1]:9.0%}")


async def main(mib: int, rounds: int) -> None:
    content = os.urandom(mib * MIB)
    async with private_world(ROOT / "worlds" / "solo.toml", SLOT) as stage:
        tls = stage.state / "pki" / "door.crt", stage.state / "pki" / "door.key"
        with tempfile.TemporaryDirectory(prefix="moonbow-bench-") as folder, weed(Path(folder), tls=tls) as server:
            show(await compare(stage, server, content, rounds), mib)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.mib, chosen.rounds))
