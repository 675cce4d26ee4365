"""What the drills on a region's cluster have in common: how they begin, how they are judged."""

from __future__ import annotations

from collections.abc import Mapping

from . import laws
from .drill import Drill
from .laws_data import eventually_written_again, write_pause_s
from .nodes import Nodes

BACK_S = 3.0  # the law: every client of a dead site is served again, with all it missed
# Writes stand still for up to 4 s (tests/data measures that); then services and clients have to notice.
PAUSE_S = 6.0


async def begin(drill: Drill) -> Nodes:
    """Everybody is there, and the cluster of the first region that has one is complete."""
    await drill.assemble()
    nodes = Nodes(drill.stage, drill.stage.clusters()[0])
    await nodes.until_redundant()
    return nodes


async def conclude(drill: Drill, nodes: Nodes) -> None:
    """The standard laws, and that all sites of the region hold the same."""
    await drill.finish()
    drill.verdicts.append(await nodes.compare())


def busiest(drill: Drill, nodes: Nodes) -> str:
    """The site of the region that serves most people."""
    return max(nodes.sites, key=lambda site: len(drill.members_at(site)))


def at_site(drill: Drill, site: str) -> tuple[list[str], list[str]]:
    """The people whom a site serves now, and all others."""
    here = [member.name for member in drill.members_at(site)]
    return here, [member.name for member in drill.crowd.members if member.name not in here]


async def mended(drill: Drill, nodes: Nodes, since: float, what: str, starts: Mapping[str, int] | None = None) -> float:
    """Wait until the cluster is complete (`starts`: and all engines run anew); notes and gives the time."""
    await nodes.until_redundant(since=starts)
    at = drill.recorder.done(f"{nodes.region} is complete again")
    drill.numbers[f"{what}, s"] = round(at - since, 1)
    return at


def judge_writes(drill: Drill, nodes: Nodes, since: float, within_s: float = PAUSE_S) -> None:
    """That people of the region could write again in time after `since`, and for how long they could not."""
    until = max((sent.at for sent in drill.history.sent), default=since)
    rooms = drill.near[nodes.region]
    pause_s = write_pause_s(drill.history, rooms, since, until)
    drill.numbers["write pause, s"] = round(pause_s, 2)
    drill.verdicts.append(eventually_written_again(pause_s, within_s))


def judge_back(drill: Drill, hit: list[str], since: float, within_s: float = BACK_S) -> None:
    """That these people are served again in time."""
    drill.verdicts.append(laws.eventually_back(drill.history, hit, since, within_s))


def judge_undisturbed(drill: Drill, others: list[str]) -> None:
    """That these people noticed nothing."""
    drill.verdicts.append(laws.always_undisturbed(drill.history, others, 0.0))
