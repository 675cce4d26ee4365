"""What Galera leaves on a disk, read back: torn, empty, foreign."""

from __future__ import annotations

from moonbow.data.model import (
    NOBODY,
    Position,
    View,
    is_safe,
    is_spoilt,
    mark_safe,
    parse_recovered,
    parse_status,
    parse_view,
)

ME = "5ee99582-bb8d-11e2-b8e3-23de375c1d30"
HISTORY = "2f78d780-ea5d-11f1-8f96-db0994c6cd75"
SAVED = f"my_uuid: {ME}\n#vwbeg\nview_id: 3 {ME} 7\nbootstrap: 0\nmember: {ME} 0\nmember: {HISTORY} 1\n#vwend\n"
GRASTATE = f"# GALERA saved state\nversion: 2.1\nuuid:    {HISTORY}\nseqno:   -1\nsafe_to_bootstrap: 0\n"


def test_a_saved_view() -> None:
    found = parse_view(SAVED)
    assert found == View("5ee99582-bb8d-11e2-23de375c1d30", f"{ME}:7", found.members)
    assert found.members == ("2f78d780-ea5d-11f1-db0994c6cd75", found.me)
    again = SAVED.replace(f"my_uuid: {ME}", f"my_uuid: {ME.replace('b8e3', 'b8e4')}")  # it started with this view
    assert parse_view(again) == found
    for torn in range(len(SAVED) - 1):
        assert parse_view(SAVED[:torn]) == View()


def test_a_recovered_position() -> None:
    said = f"[Note] WSREP: Recovered position: {HISTORY}:41\nnoise\n[Note] WSREP: Recovered position: {HISTORY}:42\n"
    assert parse_recovered(said) == Position(HISTORY, 42)
    assert parse_recovered("WSREP: Recovered position: 00000000-0000-0000-0000-000000000000:-1") == Position()
    assert parse_recovered("[ERROR] InnoDB: corrupt") is None
    assert str(Position(HISTORY, 42)) == f"{HISTORY}:42"
    assert str(Position()) == "00000000-0000-0000-0000-000000000000:-1"


def test_who_was_the_last_to_leave() -> None:
    assert not is_safe(GRASTATE)
    assert not is_safe("")
    assert is_safe(mark_safe(GRASTATE))
    assert not is_spoilt(GRASTATE)
    assert is_spoilt(GRASTATE.replace(GRASTATE.split("uuid:")[1].split()[0], NOBODY)), "the engine's own mark"
    assert is_spoilt("# GALERA saved state\nversion: 2.1\nuuid:    0000")
    assert mark_safe(GRASTATE) == GRASTATE.replace("bootstrap: 0", "bootstrap: 1")


def test_a_node_that_has_lost_the_majority_does_not_serve() -> None:
    rows = {
        "wsrep_cluster_status": "Primary", "wsrep_connected": "ON", "wsrep_ready": "ON", "wsrep_cluster_size": "3",
        "wsrep_local_state_comment": "Synced", "wsrep_cluster_state_uuid": HISTORY, "wsrep_last_committed": "9",
    }  # fmt: skip
    found = parse_status(rows)
    assert (found.ready, found.primary, found.size, found.position) == (True, True, 3, Position(HISTORY, 9))
    lost = parse_status({**rows, "wsrep_cluster_status": "non-Primary", "wsrep_ready": "OFF"})
    assert (lost.ready, lost.primary, lost.size) == (False, False, 0)
    assert not parse_status({**rows, "wsrep_local_state_comment": "Joined"}).ready
    assert not parse_status({}).ready
