"""What is remembered of a stream's members counts while its row is the one that was left, and is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moonbow.stores import timeline_mariadb_members
from moonbow.stores.timeline_mariadb_members import Mark, Members
from moonbow.timeline.model import Span

HERE = [Span(1, None)]
MARK = Mark(1, 10, 0)


def test_members_count_while_the_row_is_the_one_that_was_left() -> None:
    members = Members()
    members.keep("room", MARK, MARK._replace(head=12), {"ada": HERE})
    assert members.of("room", MARK._replace(head=12)) == {"ada": HERE}
    for other in (MARK, Mark(1, 12, 1), Mark(2, 12, 0), Mark(1, 13, 0)):
        assert not members.of("room", other)
    assert not members.of("other", MARK._replace(head=12))


def test_what_is_learned_later_is_added_only_if_nobody_else_wrote() -> None:
    members = Members()
    members.keep("room", MARK, MARK, {"ada": HERE})
    members.keep("room", MARK, MARK._replace(head=11), {"bob": HERE})
    assert set(members.of("room", MARK._replace(head=11))) == {"ada", "bob"}
    members.keep("room", MARK._replace(head=15), MARK._replace(head=16), {"eve": HERE})
    assert set(members.of("room", MARK._replace(head=16))) == {"eve"}
    members.forget()
    assert not members.of("room", MARK._replace(head=16))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), max_size=60))
def test_it_is_bounded(writes: list[tuple[int, int]]) -> None:
    members, most = Members(), timeline_mariadb_members.MEMBERS_MAX
    people = {f"person {n}": HERE for n in range(most // 20)}
    kept: dict[str, Mark] = {}
    for stream, count in writes:
        before = kept.get(str(stream), MARK)
        kept[str(stream)] = before._replace(head=before.head + 1)
        members.keep(str(stream), before, kept[str(stream)], dict(list(people.items())[: count * most // 1200]))
    assert sum(len(members.of(stream, mark)) for stream, mark in kept.items()) <= most
