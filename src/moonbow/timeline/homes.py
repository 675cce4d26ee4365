"""Which site of a region commits to a room: for speed alone, so that two nodes do not get in each other's way.

Laws: the same room and sites name the same site, whoever asks; a site that comes or goes moves only its own rooms.
Nothing depends on it for being right: any site may commit to any room.  Source: Thaler and Ravishankar, "Using
name-based mappings to increase hit rates" (1998): rendezvous hashing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from moonbow.base.ids import home

ANSWER_S = 0.5  # after which the asking site commits itself
SILENT_S = 5.0  # that a site which did not answer is not asked again


class Way(NamedTuple):
    """Where a post is committed: at `site`, or here if that is None; and why, as a sentence."""

    site: str | None
    reason: str


def home_site(room: str, sites: Sequence[str]) -> str:
    """The site with the highest draw for this room."""
    return max(sites, key=lambda site: hashlib.blake2b(f"{room}\0{site}".encode(), digest_size=8).digest())


def decide_way(room: str, region: str, here: str, sites: Sequence[str], silent: Mapping[str, float], now: float) -> Way:
    """Where a process of site `here` has a post committed.  `silent`: until when sites are not asked."""
    if home(room) != region:
        return Way(None, "the room is another region's: its request begins here")
    site = home_site(room, sites)
    if site == here:
        return Way(None, "this site is the room's")
    if now < silent.get(site, 0.0):
        return Way(None, f"{site} is the room's, and did not answer a moment ago")
    return Way(site, f"{site} is the room's")
