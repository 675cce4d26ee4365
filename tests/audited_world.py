"""A small real world that people have talked in across its border; one region seals what they write, one does not."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from moonbow.bus.policy import SERVERS, render_server
from moonbow.drills.private import private_world
from moonbow.drills.stage import Stage
from moonbow.sdk import Client
from moonbow.watch.audit import Line
from moonbow.watch.canaries import Kind, make_canary, make_word, plant_marks
from moonbow.watch.model import Report
from moonbow.world import load_world, place_port

TEXT = """
name = "audited"
domain = "moonbow.localhost"
[regions.emea]
title = "Europe"
sites = [{ name = "paris", city = "Paris", at = [48.9, 2.4] },
         { name = "capetown", city = "Cape Town", at = [-33.9, 18.4], kind = "edge" }]
[regions.emea.data]
encrypted = false
[regions.apac]
title = "Asia"
sites = [{ name = "tokyo", city = "Tokyo", at = [35.7, 139.7] }]
[traffic]
default = "emea"
continents = { AS = "apac" }
[[places]]
name = "Europe"
network = "194.2.0.0/24"
port = 8443
[[places]]
name = "Asia"
network = "1.33.0.0/24"
port = 8444
"""
SLOT = 6
Words = dict[str, dict[Kind, str]]  # region -> what was planted there


def run_audit(state: Path) -> tuple[int, Report]:
    """Exit code and report of the real process."""
    words = [sys.executable, "-P", "-m", "moonbow.watch.audit", "--state", str(state)]
    done = subprocess.run(words, capture_output=True, timeout=60)
    lines = [msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines()]
    assert lines, done.stderr.decode()
    assert lines[-1].report is not None, lines[-1].problems
    return done.returncode, lines[-1].report


async def _talk(stage: Stage) -> Words:
    """One person of each region says something in a room with the other; what each said, by region."""
    demo = msgspec.json.decode((stage.state / "world" / "demo.json").read_bytes())
    people = {person["region"]: person for person in reversed(demo["companies"][0]["people"])}
    url = f"https://{stage.world.domain}:{place_port(stage.world, stage.world.places[0].port)}"
    planted: Words = {}
    for region, other in (("emea", "apac"), ("apac", "emea")):
        words: dict[Kind, str] = {kind: make_word(kind) for kind in ("text", "emoji", "title", "file", "content")}  # type: ignore[misc]
        signed = [
            await Client.sign_in(url, people[r]["login"], people[r]["password"], ca=stage.ca) for r in (region, other)
        ]
        async with signed[0] as me, signed[1] as them:
            room = await me.create_room(words["title"], [them.person.id])
            for kind in ("text", "emoji"):
                await me.send(room.id, words[kind])
            file = await me.upload(words["content"].encode(), f"{words['file']}.txt")
            await me.send(room.id, "a file", files=[file])
            await them.send(room.id, "heard")
            assert (await them.download(file.id)).decode() == words["content"]
        plant_marks(stage.state, region, tuple(make_canary(region, kind, word) for kind, word in words.items()))
        planted[region] = words
    return planted


class Lived(NamedTuple):
    """A world's folder after its end, what was planted, and how an audit of it went while it ran."""

    state: Path
    planted: Words
    code: int
    report: Report


def live_once(folder: Path) -> Lived:
    """Start the world, let people talk in it, audit it, copy its folder while it runs, and end it."""
    (folder / "world.toml").write_text(TEXT)

    async def live() -> tuple[Words, int, Report]:
        async with private_world(folder / "world.toml", SLOT) as stage:
            planted = await _talk(stage)
            code, report = await asyncio.to_thread(run_audit, stage.state)
            copy_state(stage.state, folder / "state")
        return planted, code, report

    return Lived(folder / "state", *asyncio.run(live()))


def copy_state(source: Path, target: Path) -> None:
    """Copy a state folder, sockets left out; bus servers' configurations name the folder they are of."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.sock"))
    world = load_world(target / "world.toml")
    for ref in world.sites():
        for server in SERVERS if ref.site.kind == "primary" else ():
            (target / "sites" / ref.site.name / server / "nats.conf").write_text(
                render_server(world, ref, target, server)
            )
