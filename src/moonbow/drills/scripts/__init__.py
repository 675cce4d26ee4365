"""The drills: each module breaks one thing.  `DRILLS` is their order of play."""

from __future__ import annotations

from ..drill import Script
from . import bus_loss, drain, process_chaos, region_cut, residency, roaming, site_loss

DRILLS: dict[str, tuple[Script, str]] = {
    "site-loss": (site_loss.play, "a whole site loses power under load, and comes back"),
    "process-chaos": (process_chaos.play, "random processes are killed and hung for a minute"),
    "bus-loss": (bus_loss.play, "every live event of a region is lost for ten seconds"),
    "region-cut": (region_cut.play, "two regions are cut from each other while people talk across"),
    "roaming": (roaming.play, "a person enters at every site and is served from home"),
    "residency": (residency.play, "planted words are searched for on every disk of the other regions"),
    "drain": (drain.play, "every site is restarted in turn, and nobody notices"),
}
