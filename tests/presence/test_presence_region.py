"""A region of gateways: playbooks, and laws under crashes, hangs and loss."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.base.errors import Refused
from moonbow.presence.leases import BEAT_S, FADE_S, LEASE_S
from moonbow.wire.presence import TABLE_DEVICES_MAX, Gossip
from presence_region import STEP_S, Region

ANN, BOB = "usr_emea_ann", "usr_emea_bob"


def test_everybody_sees_a_person_come_idle_and_go() -> None:
    region = Region("g1", "g2", "g3")
    region.connect("g1", ANN, "s1")
    region.run(0.5)
    assert region.seen(ANN) == {"online"}
    region.change("g1", "s1", "away")
    region.run(0.5)
    assert region.seen(ANN) == {"away"}
    region.disconnect("g1", "s1")
    region.run(0.5)
    assert region.seen(ANN) == {"offline"}
    assert [(name, state.state) for _, name, state in region.changes if name == "g3"] == [
        ("g3", "online"), ("g3", "away"), ("g3", "offline"),
    ]  # fmt: skip


def test_a_gateway_that_begins_learns_everything_at_once() -> None:
    region = Region("g1", "g2")
    for number in range(TABLE_DEVICES_MAX + 10):
        region.connect("g1", f"usr_emea_{number}", f"s{number}")
    region.wish("g2", "usr_emea_7", "dnd", "tea")
    region.run(1)
    region.start("g3")
    assert region.cores["g3"].wishes.get("usr_emea_7") is not None
    region.run(0.5)
    assert region.seen(f"usr_emea_{TABLE_DEVICES_MAX + 9}") == {"online"}
    assert region.seen("usr_emea_7") == {"dnd"}
    assert not region.cores["g3"].leases.behind()


def test_what_somebody_invisible_does_is_told_to_nobody_else() -> None:
    region = Region("g1", "g2")
    region.wish("g1", ANN, "invisible", "hidden")
    region.connect("g1", ANN, "s1")
    region.run(1)
    region.change("g1", "s1", "away")
    region.wish("g1", ANN, "invisible", "elsewhere")
    region.run(1)
    region.disconnect("g1", "s1")
    region.run(1)
    assert region.changes == []
    texts = [(state.state, state.text) for _, name, state in region.own_changes if name == "g2"]
    assert texts == [("invisible", "hidden"), ("invisible", "elsewhere"), ("offline", "")]


def test_a_lost_change_is_repaired_when_the_next_one_comes() -> None:
    region = Region("g1", "g2")
    region.run(1)
    region.loss = 1.0
    region.connect("g1", ANN, "s1")
    region.flush("g1")
    region.loss = 0.0
    region.connect("g1", BOB, "s2")
    region.flush("g1")
    assert region.cores["g2"].own(ANN).state == "offline"
    region.run(2)
    assert region.seen(ANN) == region.seen(BOB) == {"online"}


def test_what_comes_twice_or_late_changes_nothing() -> None:
    region = Region("g1", "g2")
    core = region.cores["g1"]
    region.run(1)
    said: list[Gossip] = []
    for state in ("online", "away", "online"):
        core.connected(ANN, "s1", state, region.now_ms)
        said += core.flush(region.now).said
    core.disconnected("s1", False, region.now)
    said += core.flush(region.now).said
    told = region.cores["g2"]
    for message in said:
        told.heard(message, region.now, region.now_ms)
    for message in said + said[::-1]:
        assert told.heard(message, region.now, region.now_ms) == []
        assert told.own(ANN).state == "offline"


@pytest.mark.parametrize("goodbye", [False, True], ids=["crash", "stop"])
def test_a_gateway_that_goes_shows_nobody_offline_before_the_grace_time(goodbye: bool) -> None:
    region = Region("g1", "g2", "g3")
    region.connect("g1", ANN, "s1")
    region.connect("g1", BOB, "s2")
    region.run(2)
    began = region.now
    region.changes.clear()
    region.stop("g1") if goodbye else region.crash("g1")
    region.run(FADE_S - STEP_S)
    assert region.changes == []
    region.connect("g2", BOB, "s3")
    region.run(LEASE_S + 2 * BEAT_S)
    assert region.seen(ANN) == {"offline"}
    assert region.seen(BOB) == {"online"}
    assert all(at - began >= FADE_S for at, _, state in region.changes if state.state == "offline")
    assert {state.person for _, _, state in region.changes if state.state == "offline"} == {ANN}
    region.run(1)
    assert region.cores["g2"].leases.live() == ["g2", "g3"]


def test_a_lost_connection_fades_and_a_new_one_ends_that() -> None:
    region = Region("g1", "g2")
    region.connect("g1", ANN, "s1")
    region.connect("g1", BOB, "s2")
    region.run(1)
    region.changes.clear()
    region.disconnect("g1", "s1", lost=True)
    region.disconnect("g1", "s2", lost=True)
    region.run(FADE_S - 2 * BEAT_S)
    region.connect("g2", BOB, "s3", "online")
    region.run(BEAT_S)
    assert region.seen(ANN) == region.seen(BOB) == {"online"}
    region.run(3 * BEAT_S)
    assert region.seen(ANN) == {"offline"}
    assert region.seen(BOB) == {"online"}
    assert "offline" not in {state.state for _, _, state in region.changes if state.person == BOB}


def test_a_hung_gateway_is_missed_and_taken_back() -> None:
    region = Region("g1", "g2")
    region.connect("g1", ANN, "s1")
    region.connect("g2", BOB, "s2")
    region.run(2)
    region.hang("g1")
    region.run(LEASE_S + FADE_S + 3)
    assert region.seen(ANN) == {"offline"}
    assert region.cores["g2"].leases.live() == ["g2"]
    region.resume("g1")
    assert region.cores["g1"].leases.live() == ["g1", "g2"]  # it was deaf, the others are not dead
    region.run(2)
    assert region.seen(ANN) == region.seen(BOB) == {"online"}


def test_a_gateway_without_a_bus_takes_nobody_for_dead() -> None:
    region = Region("g1", "g2")
    region.connect("g2", ANN, "s1")
    region.run(1)
    alone = region.cores["g1"]
    for _ in range(20):
        region.now += 1
        alone.tick(region.now, region.now_ms, hearing=False)
    assert alone.own(ANN).state == "online"


def test_a_wish_outlives_its_gateway_and_the_loss_of_its_messages() -> None:
    region = Region("g1", "g2", "g3")
    region.connect("g2", ANN, "s1")
    region.run(1)
    region.loss = 1.0
    region.wish("g1", ANN, "busy", "in the lab")
    region.run(1)
    region.loss = 0.0
    region.run(6)
    region.crash("g1")
    region.run(12)
    region.start("g4")
    region.run(1)
    region.crash("g2")
    region.crash("g3")
    region.connect("g4", ANN, "s2")
    region.run(12)
    own = region.cores["g4"].own(ANN)
    assert (own.state, own.text) == ("busy", "in the lab")


def test_limits_are_refusals() -> None:
    region = Region("g1")
    core = region.cores["g1"]
    core.connected(ANN, "s", "online", 1)
    with pytest.raises(Refused, match="session_taken"):
        core.connected(BOB, "s", "online", 2)
    with pytest.raises(Refused, match="id_malformed"):
        core.connected(BOB, "x" * 65, "online", 2)
    for number in range(5 * TABLE_DEVICES_MAX - 1):
        core.connected(BOB, f"s{number}", "online", 1)
    with pytest.raises(Refused, match="too_many_sessions"):
        core.connected(BOB, "one more", "online", 1)


NAMES, PEOPLE = ("g1", "g2", "g3"), ("ann", "bob", "cat")
step = st.one_of(
    st.tuples(st.just("connect"), st.sampled_from(NAMES), st.sampled_from(PEOPLE), st.sampled_from(["online", "away"])),
    st.tuples(st.just("leave"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("idle"), st.sampled_from(NAMES), st.sampled_from(["online", "away"])),
    st.tuples(
        st.just("wish"), st.sampled_from(NAMES), st.sampled_from(PEOPLE),
        st.sampled_from(["online", "away", "busy", "dnd", "invisible"]), st.sampled_from(["", "tea"]),
    ),
    st.tuples(st.just("crash"), st.sampled_from(NAMES)),
    st.tuples(st.just("stop"), st.sampled_from(NAMES)),
    st.tuples(st.just("hang"), st.sampled_from(NAMES)),
    st.tuples(st.just("run"), st.sampled_from([0.25, 1.0, 4.0])),
    st.tuples(st.just("loss"), st.sampled_from([0.0, 0.3, 1.0])),
)  # fmt: skip


class Play:
    """A region and what is true about it: who is connected where, and what was wished last."""

    def __init__(self, seed: int) -> None:
        self.region = Region(*NAMES, seed=seed)
        self.names = {name: name for name in NAMES}  # of the incarnation that runs now
        self.sessions: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in NAMES}
        self.count = 0

    def do(self, what: str, *given: object) -> None:
        place = str(given[0])
        name = self.names.get(place, place)
        if what == "run":
            self.region.run(float(name))
        elif what == "loss":
            self.region.loss = float(name)
        elif name in self.region.cores and name not in self.region.hung:
            getattr(self, what)(name, *given[1:])
        elif name in self.region.hung:
            self.region.resume(name)
        else:
            self.count += 1
            self.names[place] = name = f"{place}.{self.count}"
            self.sessions[name] = {}
            self.region.start(name)

    def connect(self, name: str, person: str, state: str) -> None:
        self.count += 1
        self.region.connect(name, f"usr_emea_{person}", f"s{self.count}", state)
        self.sessions[name][f"s{self.count}"] = (person, state)

    def leave(self, name: str, lost: bool) -> None:
        if self.sessions[name]:
            session = min(self.sessions[name])
            del self.sessions[name][session]
            self.region.disconnect(name, session, lost)

    def idle(self, name: str, state: str) -> None:
        if self.sessions[name]:
            session = min(self.sessions[name])
            self.sessions[name][session] = (self.sessions[name][session][0], state)
            self.region.change(name, session, state)

    def wish(self, name: str, person: str, state: str, text: str) -> None:
        self.region.wish(name, f"usr_emea_{person}", state, text)

    def crash(self, name: str) -> None:
        self.region.crash(name)
        self.sessions[name].clear()

    def stop(self, name: str) -> None:
        self.region.stop(name)
        self.sessions[name].clear()

    def hang(self, name: str) -> None:
        self.region.hang(name)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=25), st.integers(0, 99))
def test_when_the_faults_end_all_gateways_agree_with_the_truth(steps: list[tuple[object, ...]], seed: int) -> None:
    play = Play(seed)
    for what, *rest in steps:
        play.do(str(what), *rest)
    play.region.loss = 0.0
    for name in list(play.region.hung):
        play.region.resume(name)
    play.region.run(LEASE_S + FADE_S + 15)
    cores = play.region.cores
    for person in PEOPLE:
        ident = f"usr_emea_{person}"
        states = {state for found in play.sessions.values() for who, state in found.values() if who == person}
        own = [core.own(ident) for core in cores.values()]
        assert len(set(own)) <= 1
        for one in own:
            assert (one.state == "offline") == (not states)
            wish = next(iter(cores.values())).wishes.get(ident)
            if states and (wish is None or wish.state == "online"):
                assert one.state == ("online" if "online" in states else "away")
            elif states and wish is not None:
                assert (one.state, one.text) == (wish.state, wish.text)
    for core in cores.values():
        assert core.leases.live() == sorted(cores)


crashing = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), st.sampled_from(NAMES), st.sampled_from(PEOPLE)),
        st.tuples(st.just("crash"), st.sampled_from(NAMES)),
        st.tuples(st.just("run"), st.sampled_from([0.25, 1.0, 4.0])),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(crashing)
def test_a_crash_never_shows_anybody_offline_before_the_grace_time(steps: list[tuple[object, ...]]) -> None:
    play = Play(0)
    crashes: list[tuple[str, float]] = []
    for what, *rest in steps:
        name = play.names.get(str(rest[0]), "")
        if what == "crash" and name in play.region.cores:
            play.region.flush(name)  # what was not yet said when it crashed is known to nobody
            play.region.run(STEP_S)
            for person, _ in play.sessions[name].values():
                crashes.append((f"usr_emea_{person}", play.region.now))
        play.do(str(what), *rest, *(["online"] if what == "connect" else []))
    play.region.run(LEASE_S + FADE_S + 3)
    for at, _, state in play.region.changes:
        if state.state == "offline":
            assert any(gone + FADE_S <= at for person, gone in crashes if person == state.person)
