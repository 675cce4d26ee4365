"""The access log names nobody who is at home elsewhere."""

from __future__ import annotations

from moonbow.base.ids import new_id
from moonbow.gateway.app import cut_strangers


def test_strangers_are_cut_out_of_paths() -> None:
    room, us, them = new_id("rom", "emea"), new_id("usr", "emea"), new_id("usr", "apac")
    assert cut_strangers(f"/v1/rooms/{room}/members/{us}", "emea") == f"/v1/rooms/{room}/members/{us}"
    assert cut_strangers(f"/v1/rooms/{room}/members/{them}", "emea") == f"/v1/rooms/{room}/members/usr_apac_"
