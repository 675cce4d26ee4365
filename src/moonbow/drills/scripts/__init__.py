"""The drills: each module breaks one thing.  `DRILLS` is their order of play."""

from __future__ import annotations

from typing import NamedTuple

from moonbow.backup.policy import why_not

from ..drill import Script
from ..private import PrivateStage
from ..stage import Stage
from . import backup_restore, bus_loss, drain, process_chaos, region_cut, residency, roaming, site_loss


class Entry(NamedTuple):
    """A drill: its script, what happens in a sentence, and how much of a world it needs."""

    script: Script
    what: str
    regions_min: int = 1
    sites_min: int = 1  # primary ones, in the first region
    private: bool = False  # a world that may be stopped as a whole
    copies: bool = False  # backups of the first region

    def lacks(self, stage: Stage) -> str | None:
        """What this world lacks for the drill; None when it can be played."""
        if self.private and not isinstance(stage, PrivateStage):
            return "it stops the world, so it needs one of its own: --world FILE"
        regions = stage.regions()
        if len(regions) < self.regions_min:
            return f"it needs {self.regions_min} regions that are not sealed, the world has {len(regions)}"
        if len(sites := stage.primaries(regions[0])) < self.sites_min:
            return f"it needs {self.sites_min} primary sites in {regions[0]}, which has {len(sites)}"
        if self.copies and (reasons := why_not(f"regions.{regions[0]}", stage.world.regions[regions[0]].data)):
            return reasons[0]
        return None


DRILLS: dict[str, Entry] = {
    "site-loss": Entry(site_loss.play, "a whole site loses power under load, and comes back", sites_min=2),
    "process-chaos": Entry(process_chaos.play, "random processes are killed and hung for a minute"),
    "bus-loss": Entry(bus_loss.play, "every live event of a region is lost for ten seconds"),
    "region-cut": Entry(region_cut.play, "two regions are cut from each other while people talk across", 2),
    "roaming": Entry(roaming.play, "a person enters at every site and is served from home", 2),
    "residency": Entry(residency.play, "planted words are searched for on every disk of the other regions", 2),
    "backup-restore": Entry(
        backup_restore.play,
        "a region's disks are lost, and it comes back from a backup",
        2,
        2,
        private=True,
        copies=True,
    ),
    "drain": Entry(drain.play, "every site is restarted in turn, and nobody notices", sites_min=2),
}
