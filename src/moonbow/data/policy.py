"""Decides how a data node starts, from what the agents of its region report.  Pure; the clock is an argument.

Three rules, in this order: where somebody serves, join; where everybody of the last component with a majority is back,
start plainly, for the engines then find together by themselves; else the node that holds most begins the cluster anew
and the others join it.
Laws: for one set of reports at most one node begins a cluster, and none while others reform; nobody begins one that
holds less than another, or while another's position is unknown, except who left an orderly stop as the last, and by the
operator's word (`forced`); histories are never mixed; a witness never begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from moonbow.wire.data import DataReport

from .model import Position

GATHER_S = 3.0  # for everybody to report, so that the last component can find together as it was
REFORM_S = 25.0  # for a node to find to the others by itself
LEFT_OUT_S = 6.0  # the same, for one that holds nothing or came with a saved view: a stale one keeps it out for ever
ALONE_S = 20.0  # before who left last begins without having heard the others
ROOM_BYTES = 256 * 1_048_576  # free on its disk, before a node starts

Action = Literal["join", "reform", "begin", "wait"]


class Decision(NamedTuple):
    """What to do, and why as a sentence.  `join` and `begin` forget the saved view, `reform` needs it."""

    action: Action
    why: str


class Reports(NamedTuple):
    """What is known of a region: the sites whose nodes hold data, in file order, those that only vote, last reports."""

    nodes: tuple[str, ...]
    witnesses: tuple[str, ...]
    heard: Mapping[str, DataReport]

    @property
    def complete(self) -> bool:
        """Whether everybody has reported."""
        return all(site in self.heard for site in (*self.nodes, *self.witnesses))

    def of_nodes(self) -> tuple[DataReport, ...]:
        """The reports of nodes with data whose position is known."""
        return tuple(self.heard[site] for site in self.nodes if site in self.heard and self.heard[site].known)

    def unknown(self) -> tuple[str, ...]:
        """The sites of nodes with data of which it is not known how much."""
        return tuple(site for site in self.nodes if site not in self.heard or not self.heard[site].known)


def decide_start(me: str, reports: Reports, forced: bool = False, waited_s: float = 0.0) -> Decision:
    """How the node of site `me`, which is not running, should start; `waited_s` counts from its first look."""
    own = reports.heard[me]
    if serving := _serving(me, reports):
        return Decision("join", f"{serving} serves")
    if _all_back(own, reports):
        return Decision("reform", f"all {len(own.members)} of the last component with a majority are back")
    if me not in reports.nodes:
        return Decision("wait", "a witness waits for a node with data that serves")
    if not own.known:
        return Decision("wait", "its own position is not known yet")
    if finding := next((one.site for one in reports.heard.values() if _all_back(one, reports)), None):
        return Decision("wait", f"{finding} finds together with those of its last component")
    return _decide_first(own, reports, forced, waited_s)


def lacks_room(free_bytes: int) -> str:
    """Why a node cannot start on a disk with so much free; nothing if it can.

    Each start of one that cannot go on costs a sister, which sends it everything.
    """
    if free_bytes >= ROOM_BYTES:
        return ""
    return f"its disk is full: {free_bytes >> 20} MB are free, {ROOM_BYTES >> 20} MB wanted"


def count_held(recovered: Position, spoilt: bool) -> Position:
    """What a node holds for certain.  One that failed to apply a change has counted that change, and lacks it."""
    return recovered._replace(seqno=recovered.seqno - 1) if spoilt and recovered.seqno > 0 else recovered


def _decide_first(own: DataReport, reports: Reports, forced: bool, waited_s: float) -> Decision:
    """Whether to begin a cluster; nobody serves."""
    known, unknown = reports.of_nodes(), reports.unknown()
    best = max(known, key=lambda report: _rank(report, reports))
    if best.site != own.site:
        return Decision("wait", f"{best.site} holds more, or as much and goes first")
    if forced:
        return Decision("begin", "the operator says so")
    if len({report.history for report in known if report.history}) > 1:
        return Decision("wait", "the nodes hold different histories: only the operator can say which one is right")
    if unknown:
        if own.safe and waited_s >= ALONE_S:
            return Decision("begin", "it left an orderly stop as the last")
        return Decision("wait", f"it is not known what {' and '.join(unknown)} holds")
    if own.view and waited_s < GATHER_S and not reports.complete:
        return Decision("wait", "others of the last component may come")
    return Decision("begin", f"nobody holds more than its {own.seqno} changes")


def _rank(report: DataReport, reports: Reports) -> tuple[bool, int, bool, int]:
    """Who begins: who holds most; of equals who left last, then who comes first in the world file."""
    return bool(report.history), report.seqno, report.safe, -reports.nodes.index(report.site)


def is_apart(me: str, reports: Reports, how: Action) -> bool:
    """Whether a running node is not with the majority.  `how` it started: "join" once it has been with it.

    Who receives data is with the majority, and who is still making a start waits for nobody.
    """
    own, serving = reports.heard[me], _serving(me, reports)
    if serving is not None:
        return own.me not in reports.heard[serving].members
    return not own.primary and how != "begin"


def decide_running(me: str, reports: Reports, apart_s: float, how: Action, answers: bool) -> Decision | None:
    """Whether to restart a node that runs, but has been apart (`is_apart`) for `apart_s`; None to let it be.

    A restart is for what the engine does not mend by itself: a majority that formed without it, or that cannot form.
    A node that does not answer (`answers`) has not found anybody since its start, so it has nothing to stay for.
    """
    own, witness = reports.heard[me], me not in reports.nodes
    patience_s = LEFT_OUT_S if witness or how == "reform" else REFORM_S
    if serving := _serving(me, reports):
        why = f"{serving} serves, and it did not find there in {patience_s:.0f} s"
        return Decision("join", why) if apart_s >= patience_s else None
    if apart_s < REFORM_S:
        return None
    if how == "reform" or not answers:
        return Decision("wait", f"it found nobody in {REFORM_S:.0f} s")
    if witness or not own.known:
        return None
    first = _decide_first(own, reports, forced=False, waited_s=apart_s)
    return first._replace(why=f"no majority for {REFORM_S:.0f} s, and {first.why}") if first.action == "begin" else None


def _serving(me: str, reports: Reports) -> str | None:
    """Another site whose node serves."""
    others = (reports.heard.get(site) for site in reports.nodes if site != me)
    return next((report.site for report in others if report and report.primary), None)


def _all_back(own: DataReport, reports: Reports) -> bool:
    """Whether everybody of the last component with a majority reports having been in just that one.

    Engines find together from their saved views only if all of them start so: one that has run on never does.
    """
    fresh = (report for report in reports.heard.values() if report.reforming or not report.running)
    same = {report.me for report in fresh if report.view == own.view}
    return bool(own.view) and set(own.members) <= same


def stop_turn(nodes: Sequence[str], site: str) -> int:
    """When a site's data agent stops in an orderly stop of all: witnesses first, then one node after the other.

    So the node that comes first in the world file leaves last, and knows that it may begin again.
    """
    return len(nodes) - nodes.index(site) if site in nodes else 0
