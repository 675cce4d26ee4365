"""What Galera leaves on a disk and says of itself, as values."""

from __future__ import annotations

import re
from typing import NamedTuple

INCONSISTENT = "Inconsistent"  # wsrep_local_state_comment of a node that has left because it differs
NOBODY = "00000000-0000-0000-0000-000000000000"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RECOVERED = re.compile(rf"WSREP: Recovered position:\s*({_UUID}):(-?\d+)")
_MEMBER = re.compile(rf"^member: ({_UUID}) ", re.MULTILINE)
_VIEW = re.compile(rf"^view_id: \d+ ({_UUID}) (\d+)", re.MULTILINE)
_ME = re.compile(rf"^my_uuid: ({_UUID})", re.MULTILINE)
_HISTORY = re.compile(rf"^uuid:\s*({_UUID})", re.MULTILINE)
_SAFE = re.compile(r"^(safe_to_bootstrap:)\s*([01])", re.MULTILINE)


class Position(NamedTuple):
    """How much of a cluster's history a node holds: its first `seqno` changes.  No history means no data."""

    history: str = ""
    seqno: int = -1

    def __str__(self) -> str:
        return f"{self.history or NOBODY}:{self.seqno}"


class View(NamedTuple):
    """The last component with a majority that a node was in, and its own id there; empty if it left in order."""

    me: str = ""
    name: str = ""
    members: tuple[str, ...] = ()


class NodeStatus(NamedTuple):
    """What a running node says of itself.  `ready`: it serves."""

    ready: bool = False
    primary: bool = False
    state: str = ""
    size: int = 0
    position: Position = Position()
    flow_paused_ratio: float = 0.0
    conflicts: int = 0


def parse_recovered(said: str) -> Position | None:
    """The position in the log of `mariadbd --wsrep-recover`; None if it could not be found out."""
    found = _RECOVERED.findall(said)
    if not found:
        return None
    history, seqno = found[-1]
    return Position() if history == NOBODY else Position(history, int(seqno))


def parse_view(text: str) -> View:
    """The view in `gvwstate.dat`; an empty one if the file is empty or torn."""
    me, view, members = _ME.search(text), _VIEW.search(text), _MEMBER.findall(text)
    if not (me and view and members and "#vwend" in text):
        return View()
    return View(_who(me.group(1)), f"{view.group(1)}:{view.group(2)}", tuple(sorted({_who(one) for one in members})))


def _who(uuid: str) -> str:
    """A member whatever incarnation: the fourth group counts those that started with a saved view."""
    time, mid, version, _, node = uuid.split("-")
    return f"{time}-{mid}-{version}-{node}"


def is_safe(grastate: str) -> bool:
    """Whether `grastate.dat` says that this node was the last to leave an orderly stop."""
    found = _SAFE.search(grastate)
    return found is not None and found.group(2) == "1"


def is_spoilt(grastate: str) -> bool:
    """Whether the engine has written off its data: it could not apply what the others did, or the file is torn."""
    found = _HISTORY.search(grastate)
    return found is None or found.group(1) == NOBODY


def mark_safe(grastate: str) -> str:
    """`grastate.dat` that lets its node begin the cluster again."""
    return _SAFE.sub(r"\1 1", grastate)


def parse_status(rows: dict[str, str]) -> NodeStatus:
    """The status variables of a node (`SHOW GLOBAL STATUS LIKE 'wsrep_%'`)."""
    state = rows.get("wsrep_local_state_comment", "")
    primary = rows.get("wsrep_cluster_status") == "Primary" and rows.get("wsrep_connected") == "ON"
    history = rows.get("wsrep_cluster_state_uuid", NOBODY)
    return NodeStatus(
        # A donor serves on: its snapshot is taken by mariabackup, which does not block.
        ready=primary and rows.get("wsrep_ready") == "ON" and state in ("Synced", "Donor/Desynced"),
        primary=primary,
        state=state,
        size=int(rows.get("wsrep_cluster_size", "0")) if primary else 0,
        position=Position() if history == NOBODY else Position(history, int(rows.get("wsrep_last_committed", "-1"))),
        flow_paused_ratio=float(rows.get("wsrep_flow_control_paused", "0")),
        conflicts=int(rows.get("wsrep_local_cert_failures", "0")) + int(rows.get("wsrep_local_bf_aborts", "0")),
    )
