"""How a person is seen, and which wish stands: tables and laws."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moonbow.presence.policy import effective_devices, seen_by_others, seen_by_self, standing_wish
from moonbow.presence.wishes import BACK_TO_NORMAL_KEPT_MS, WishBook
from moonbow.wire.presence import Device, PersonState, Wish

ANN = "usr_emea_ann"
NOW = 1_000_000
STATES = ("online", "away", "busy", "dnd", "invisible")
devices = st.lists(
    st.builds(Device, st.just(ANN), st.sampled_from("abc"), st.sampled_from(["online", "away"]), st.integers(0, 9)),
    max_size=6,
)
wishes = st.builds(
    Wish,
    st.sampled_from([f"usr_emea_{name}" for name in "abcdef"]),
    st.integers(NOW, NOW + 5),
    st.sampled_from(STATES),
    st.sampled_from(["", "tea", "tee"]),
)


def seen(devices: list[Device], wish: Wish | None = None) -> tuple[str, str, int | None]:
    own = seen_by_self(ANN, effective_devices(devices, []), wish)
    return own.state, own.text, own.since


def test_devices_and_wish_make_a_state() -> None:
    idle, busy = Device(ANN, "phone", "away", 3), Device(ANN, "desk", "online", 5)
    assert seen([]) == ("offline", "", None)
    assert seen([idle]) == ("away", "", 3)
    assert seen([idle, busy]) == ("online", "", 5)
    assert seen([idle], Wish(ANN, 9, "online", "tea")) == ("away", "tea", 3)
    assert seen([idle], Wish(ANN, 9, "dnd", "tea")) == ("dnd", "tea", 9)
    assert seen([idle], Wish(ANN, 1, "busy")) == ("busy", "", 3)
    assert seen([], Wish(ANN, 1, "dnd", "tea")) == ("offline", "", None)
    assert seen([idle], Wish(ANN, 9, "invisible", "tea")) == ("invisible", "tea", 9)


def test_fading_devices_count_only_while_there_is_no_live_one() -> None:
    old, new = Device(ANN, "old", "online", 1), Device(ANN, "new", "away", 2)
    assert effective_devices([], [old]) == (old,)
    assert effective_devices([new], [old]) == (new,)


@given(devices, st.none() | wishes, st.randoms(use_true_random=False))
def test_the_order_of_devices_does_not_matter(found: list[Device], wish: Wish | None, random: object) -> None:
    mixed = list(found)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert seen(found, wish) == seen(mixed, wish) == seen(found + mixed, wish)


@given(devices, wishes)
def test_nobody_can_tell_invisible_from_offline(found: list[Device], wish: Wish) -> None:
    invisible = seen_by_self(ANN, effective_devices(found, []), Wish(ANN, wish.version, "invisible", wish.text))
    assert seen_by_others(invisible) == seen_by_others(seen_by_self(ANN, (), None)) == PersonState(ANN, "offline")


@given(wishes, wishes, wishes)
def test_merging_wishes_is_commutative_associative_and_idempotent(a: Wish, b: Wish, c: Wish) -> None:
    assert standing_wish(a, b).version == max(a.version, b.version)
    b, c = (Wish(a.person, one.version, one.state, one.text) for one in (b, c))
    assert standing_wish(a, a) == a
    assert standing_wish(a, b) == standing_wish(b, a)
    assert standing_wish(standing_wish(a, b), c) == standing_wish(a, standing_wish(b, c))


def book(found: list[Wish]) -> WishBook:
    filled = WishBook()
    for wish in found:
        filled.merge(wish, NOW)
    return filled


@given(st.lists(wishes, max_size=12), st.randoms(use_true_random=False))
def test_books_that_heard_the_same_agree_and_say_so(found: list[Wish], random: object) -> None:
    mixed = found + found[:3]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = book(found), book(mixed)
    assert one.digests() == other.digests()
    assert {wish.person: one.get(wish.person) for wish in found} == {
        wish.person: other.get(wish.person) for wish in found
    }


@given(st.lists(wishes, max_size=12), st.lists(wishes, max_size=12))
def test_books_that_differ_repair_each_other(mine: list[Wish], theirs: list[Wish]) -> None:
    one, other = book(mine), book(theirs)
    for _ in range(4):
        for speaker, listener in ((one, other), (other, one)):
            for message in speaker.compare("g", listener.digests(), 0):
                for wish in message.wishes:
                    listener.merge(wish, NOW)
    assert one.digests() == other.digests()
    assert one.digests() == book(mine + theirs).digests()


def test_who_wishes_nothing_is_forgotten_in_time() -> None:
    filled = book([Wish(ANN, NOW, "dnd", "tea")])
    filled.merge(Wish(ANN, NOW + 1, "online", ""), NOW)
    filled.forget_normal(NOW + BACK_TO_NORMAL_KEPT_MS)
    assert filled.get(ANN) is not None
    filled.forget_normal(NOW + BACK_TO_NORMAL_KEPT_MS + 2)
    assert filled.get(ANN) is None
    assert filled.digests() == WishBook().digests()
    assert not filled.merge(Wish(ANN, NOW + 1, "online", ""), NOW + BACK_TO_NORMAL_KEPT_MS + 2)
