"""Watched files, whose last good value is kept when they vanish or break; and what doors say."""

from __future__ import annotations

from pathlib import Path

from moonbow.director.adapters.doors import said
from moonbow.director.adapters.inputs import Watched
from moonbow.director.orders import Orders, parse_orders
from moonbow.launch.state import write_orders


def test_the_last_good_word_stays(tmp_path: Path) -> None:
    path = tmp_path / "overrides.json"
    watched = Watched(path, parse_orders, Orders())
    assert not watched.poll()
    assert not watched.trouble, "a file that never was is no trouble"

    write_orders(tmp_path, Orders(drain=("paris",)))
    assert watched.poll()
    assert watched.value == Orders(drain=("paris",))
    assert not watched.poll()

    path.write_text("{ not json")
    assert watched.poll()
    assert "cannot be used" in watched.trouble
    assert watched.value.drain == ("paris",)

    path.unlink()
    assert watched.poll()
    assert "vanished" in watched.trouble
    assert not watched.poll(), "said once"
    assert watched.value.drain == ("paris",)

    write_orders(tmp_path, Orders(down=("tokyo",)))
    assert watched.poll()
    assert not watched.trouble
    assert watched.value == Orders(down=("tokyo",))


def test_a_file_that_could_not_be_read_is_read_when_it_can(tmp_path: Path) -> None:
    """As when no descriptor was left: the file itself does not change."""
    write_orders(tmp_path, Orders(drain=("paris",)))
    troubles = [OSError(24, "Too many open files")] * 2

    def parse(data: bytes) -> Orders:
        if troubles:
            raise troubles.pop()
        return parse_orders(data)

    watched = Watched(tmp_path / "overrides.json", parse, Orders())
    assert watched.poll()
    assert "Too many open files" in watched.trouble
    assert not watched.poll(), "said once"
    assert watched.poll()
    assert (watched.value, watched.trouble) == (Orders(drain=("paris",)), "")
    assert not watched.poll()


def test_what_a_door_says_is_kept_short_and_printable() -> None:
    assert said(b"draining\n") == "draining"
    assert said(b'{"type": "about:blank", "title": "Not reachable", "status": 503}') == "Not reachable"
    assert said(b'{"title": "Not reachable", "code": "home_unreachable"}') == "home_unreachable"
    assert said(b"\x1b[31m" + b"x" * 4_000) == "[31m" + "x" * 55
    assert said(b"[1]") == "[1]"
    assert said(b"") == ""
