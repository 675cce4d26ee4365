"""The command: reads the options, runs the subjects one after the other, prints the tables."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import time
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from . import operations, report
from .model import Figure
from .moonbow_subject import MoonbowSubject
from .moonbow_world import ROOT, file_system, running_world, work_folder

SETTLE_S, AT_REST_S = 3.0, 10.0  # before the world counts as at rest, and how long that is measured
WIDTH = 160  # of the tables where there is no terminal
LETTERS = "ABCDEF"


def main() -> int:
    """0 when everything that was asked for has run."""
    options = _options()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)
    if options.dns:
        from .dns import run as run_dns

        return run_dns(options.seconds, options.json, console)
    if options.stores:
        from .stores import run as run_stores

        return run_stores(options.seconds, options.json, console)
    try:
        return uvloop.run(_run(options, console))
    except KeyboardInterrupt:
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="moonbow bench", description="Measure messaging in a private world.")
    parser.add_argument("--peers", action="store_true", help="measure ejabberd and Prosody in the same run")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default 5)")
    parser.add_argument("--only", default=LETTERS, help="operations, as A,C; or dns, or stores")
    parser.add_argument("--world", type=Path, default=ROOT / "worlds" / "laptop.toml", help="a world file")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--hold", type=float, default=0.0, help="seconds to wait before loading, to attach a profiler")
    found = parser.parse_args()
    found.dns = found.only.lower() == "dns"
    found.stores = found.only.lower() == "stores"
    found.only = {letter for letter in found.only.upper() if letter in LETTERS}
    return found


async def _run(options: argparse.Namespace, console: Console) -> int:
    began = time.monotonic()
    results: dict[str, list[Figure]] = {}
    with work_folder() as folder:
        console.print(report.machine(folder, file_system(folder)))
        async with running_world(folder, options.world) as running:
            regions = [name for name, region in running.world.regions.items() if not region.sealed]
            subject = MoonbowSubject(running, regions[0], regions[-1])
            say = _sayer(console, "Moonbow")
            say(f"the world runs with {len(running.kinds())} processes; making people")
            await subject.prepare(options.only)
            say(f"{len(subject.crowd) + 2 + len(subject.distant)} people have signed in once each")
            if options.hold:
                say(f"processes: {running.kinds()}")
                await asyncio.sleep(options.hold)
            gc.freeze()
            if "A" in options.only:
                await subject.warm()
            await asyncio.sleep(SETTLE_S)
            at_rest = await operations.background(subject.meter, AT_REST_S)
            results["Moonbow"] = await operations.measure(subject, options.only, options.seconds, say)
        if options.peers:
            from .peers import measure_peers

            results |= await measure_peers(folder, options.only, options.seconds, lambda name: _sayer(console, name))
    report.show(console, results, at_rest, options.only, peers=options.peers)
    console.print(f"took {time.monotonic() - began:.0f} s; load average now {os.getloadavg()[0]:.1f}")
    if options.json is not None:
        with contextlib.suppress(BrokenPipeError):
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    return 0


def _sayer(console: Console, name: str) -> operations.Say:
    def say(text: str) -> None:
        console.print(f"[dim]{time.strftime('%T')} load {os.getloadavg()[0]:4.1f}[/] {name}: {text}")

    return say
