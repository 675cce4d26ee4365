"""The drills: each module breaks one thing.  `DRILLS` is their order of play."""

from __future__ import annotations

import os
from typing import NamedTuple

from moonbow.backup.policy import why_not

from ..drill import Script
from ..private import PrivateStage
from ..stage import Stage
from . import (
    backup_restore,
    bus_loss,
    disk_full,
    disk_loss,
    drain,
    node_hang,
    nodes_lost,
    process_chaos,
    read_at_sister,
    region_blackout,
    region_cut,
    residency,
    roaming,
    site_loss,
    stale_node,
    witness_loss,
)


class Entry(NamedTuple):
    """A drill: its script, what happens in a sentence, and how much of a world it needs."""

    script: Script
    what: str
    regions_min: int = 1
    sites_min: int = 1  # primary ones, in the first region
    private: str = ""  # why it needs a world of its own
    cluster: bool = False  # MariaDB Galera with a witness, in any region
    backups: bool = False  # of the first region
    root: str = ""  # why it needs the machine's administrator

    @property
    def needs(self) -> str:
        """What it needs of a world, in a few words."""
        found = {
            f"{self.regions_min} regions": self.regions_min > 1,
            f"{self.sites_min} sites": self.sites_min > 1,
            "a cluster": self.cluster,
            "a world of its own": bool(self.private),
            "root": bool(self.root),
        }
        return ", ".join(words for words, needed in found.items() if needed)

    def lacks(self, stage: Stage) -> str | None:
        """What this world lacks for the drill; None when it can be played."""
        if self.private and not isinstance(stage, PrivateStage):
            return f"{self.private}, so it needs a world of its own: --world FILE"
        if self.root and os.geteuid() != 0:
            return f"{self.root}, so it needs to be run by root"
        if self.cluster and not stage.clusters():
            return (
                'it needs a region on MariaDB Galera (`data = { sql = "galera" }`) with a witness, such as both of'
                " worlds/laptop-engines.toml"
            )
        regions = stage.regions()
        if self.backups and (why := why_not(f"regions.{regions[0]}", stage.world.regions[regions[0]].data)):
            return "; ".join(why)
        if len(regions) < self.regions_min:
            return f"it needs {self.regions_min} regions that are not sealed, the world has {len(regions)}"
        if len(sites := stage.primaries(regions[0])) < self.sites_min:
            return f"it needs {self.sites_min} primary sites in {regions[0]}, which has {len(sites)}"
        return None


DRILLS: dict[str, Entry] = {
    "site-loss": Entry(site_loss.play, "a whole site loses power under load, and comes back", sites_min=2),
    "process-chaos": Entry(process_chaos.play, "random processes are killed and hung for a minute"),
    "bus-loss": Entry(bus_loss.play, "every live event of a region is lost for ten seconds"),
    "region-cut": Entry(region_cut.play, "two regions are cut from each other while people talk across", 2),
    "roaming": Entry(roaming.play, "a person enters at every site and is served from home", 2),
    "read-at-sister": Entry(read_at_sister.play, "what was written at one site is read at the other", sites_min=2),
    "residency": Entry(residency.play, "planted words are searched for on every disk of the other regions", 2),
    "backup-restore": Entry(
        backup_restore.play,
        "a region's disks are lost, and it comes back from a backup",
        2,
        2,
        private="it stops the world and deletes a region",
        backups=True,
    ),
    "drain": Entry(drain.play, "every site is restarted in turn, and nobody notices", sites_min=2),
    "witness-loss": Entry(witness_loss.play, "a region's witness is lost, and nobody notices", cluster=True),
    "node-hang": Entry(node_hang.play, "a data node hangs, and its site uses the sister's", cluster=True),
    "nodes-lost": Entry(nodes_lost.play, "all data nodes of a region die at once", cluster=True),
    "region-blackout": Entry(
        region_blackout.play, "a whole region loses power at once, and is started again", 2, cluster=True
    ),
    "stale-node": Entry(
        stale_node.play,
        "a data node comes back after many writes, and again with a torn note",
        private="it damages a site's data",
        cluster=True,
    ),
    "disk-loss": Entry(
        disk_loss.play,
        "a site loses power and disk under load, and is sent everything",
        private="it deletes a site's data",
        cluster=True,
    ),
    "disk-full": Entry(
        disk_full.play,
        "the disk of a data node is full: it leaves, and comes back when there is room",
        private="it moves a site's data to a small disk",
        cluster=True,
        root="it mounts a disk",
    ),
}
