"""A network of its own, a signed zone on port 53 of two addresses in it, and Zonemaster asking: run by `unshare -n`.

`python alone.py STATE` prints Zonemaster's words as JSON.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from moonbow.director.addresses import make_ranges
from moonbow.director.answers import Answers
from moonbow.director.snapshot import take_snapshot
from moonbow.world import parse_world

ZONE = "moonbow.example"
SERVERS = {"ns1": "45.9.1.53", "ns2": "185.12.64.53"}  # anybody's: nothing leaves this network
WORLD = Path(__file__).parents[2] / "worlds" / "laptop.toml"


def settle() -> None:
    """Give the loopback of this network the addresses of both servers."""
    for argv in (["link", "set", "lo", "up"], *(["addr", "add", f"{ip}/32", "dev", "lo"] for ip in SERVERS.values())):
        subprocess.run(["ip", *argv], check=True)


async def main(state: Path) -> int:
    world = parse_world(WORLD.read_text().replace("moonbow.localhost", ZONE))
    snapshot = take_snapshot(world, make_ranges("all", [(0, "FR")], []), changed_at_s=time.time())
    servers = {label: (ip,) for label, ip in SERVERS.items()}
    answers = Answers(world, state, list(SERVERS.values()), 53, snapshot, servers=servers)
    answers.bind()
    await answers.open()
    ds = ",".join((state / "world" / "director" / "zone.ds").read_text().split(" DS ")[1].split())
    named = [part for label, ip in SERVERS.items() for part in ("--ns", f"{label}.{ZONE}/{ip}")]
    argv = ["zonemaster-cli", "--json", "--level", "NOTICE", "--no-ipv6", *named, "--ds", ds, ZONE]
    try:
        return await (await asyncio.create_subprocess_exec(*argv)).wait()
    finally:
        await answers.close()


if __name__ == "__main__":
    settle()
    raise SystemExit(asyncio.run(main(Path(sys.argv[1]))))
