"""Decisions of the directory: roles, throttling, logins, signing keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.errors import ConfigError, Refused, Unavailable
from moonbow.base.limits import ACCESS_TOKEN_S
from moonbow.directory.demo import WORDS, plan_demo
from moonbow.directory.keys import ANNOUNCE_S, KeyFile, choose_signer, plan_keys
from moonbow.directory.login import LoginKey, normal_login, read_login_key
from moonbow.directory.roles import RANK, Actor, decide_add, decide_change, decide_erase
from moonbow.directory.sign_in import decide_home
from moonbow.directory.throttle import (
    LOGIN_RULE,
    Rule,
    Throttle,
    Trail,
    after_attempt,
    after_refund,
    decide_wait,
    network_of,
)
from moonbow.wire.values import Role
from moonbow.world import load_world

WORLDS = Path(__file__).parents[2] / "worlds"
roles = st.sampled_from(sorted(RANK))


def actor(role: Role, person: str = "usr_a", company: str = "org_a") -> Actor:
    return Actor(person, company, role)


@pytest.mark.parametrize(
    ("who", "adds", "allowed"),
    [
        ("owner", "owner", True), ("owner", "admin", True), ("owner", "member", True), ("owner", "guest", True),
        ("admin", "owner", False), ("admin", "admin", False), ("admin", "member", True), ("admin", "guest", True),
        ("member", "guest", False), ("member", "member", False), ("guest", "guest", False),
    ],
)  # fmt: skip
def test_who_adds_whom(who: Role, adds: Role, allowed: bool) -> None:
    decision = decide_add(actor(who), adds)
    assert decision.allowed is allowed
    assert decision.reason


@pytest.mark.parametrize(
    ("who", "target", "erases"),
    [
        ("owner", "owner", True), ("owner", "admin", True), ("owner", "guest", True),
        ("admin", "owner", False), ("admin", "admin", False), ("admin", "member", True), ("admin", "guest", True),
        ("member", "guest", False), ("guest", "member", False),
    ],
)  # fmt: skip
def test_who_erases_and_changes_others(who: Role, target: Role, erases: bool) -> None:
    other = actor(target, "usr_b")
    assert decide_erase(actor(who), other).allowed is erases
    assert decide_change(actor(who), other, name=True).allowed is erases
    assert decide_change(actor(who), other, password=True).allowed is erases


@given(who=roles, target=roles, role=roles)
def test_nobody_acts_on_another_company(who: Role, target: Role, role: Role) -> None:
    other = actor(target, "usr_b", "org_b")
    assert not decide_erase(actor(who), other).allowed
    assert not decide_change(actor(who), other, role=role, name=True).allowed


@given(who=roles, role=roles)
def test_oneself(who: Role, role: Role) -> None:
    me = actor(who)
    assert decide_change(me, me, name=True, password=True).allowed
    assert decide_change(me, me, role=role).allowed is (role == who)
    assert decide_erase(me, me).allowed is (who != "owner")


@given(who=roles, target=roles, role=roles)
def test_nobody_gives_a_role_that_they_could_not_take_away(who: Role, target: Role, role: Role) -> None:
    if decide_change(actor(who), actor(target, "usr_b"), role=role).allowed:
        assert decide_change(actor(who), actor(role, "usr_b"), role="guest").allowed


@given(
    steps=st.lists(st.tuples(st.floats(0, 1000), st.booleans()), max_size=60),
    free=st.integers(0, 5),
    ceiling=st.floats(1, 600),
)
def test_delays_grow_to_a_ceiling_and_time_forgives(steps: list[tuple[float, bool]], free: int, ceiling: float) -> None:
    rule, trail, now = Rule(free, ceiling, 100.0), Trail(), 0.0
    for passed, refunded in steps:
        now += passed
        trail = after_attempt(rule, trail, now)
        assert 0 <= decide_wait(trail, now) <= ceiling + 1e-6
        if refunded:
            before = decide_wait(trail, now)
            trail = after_refund(rule, trail, now)
            assert decide_wait(trail, now) <= before
    assert decide_wait(trail, now + ceiling) == 0
    assert decide_wait(after_attempt(rule, trail, now + 1e6), now + 1e6) == (0 if free else min(ceiling, 1.0))


def test_successive_failures_wait_longer_and_longer() -> None:
    trail, waits = Trail(), []
    for _ in range(20):
        trail = after_attempt(LOGIN_RULE, trail, 0.0)
        waits.append(decide_wait(trail, 0.0))
    assert waits[:5] == [0.0] * 5
    assert waits[5:9] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LOGIN_RULE.delay_s_max


@given(keys=st.lists(st.text(max_size=3), max_size=200))
def test_the_table_is_bounded(keys: list[str]) -> None:
    table = Throttle(LOGIN_RULE, keys_max=10)
    for key in keys:
        table.charge(key, 0.0)
        assert len(table) <= 10


def test_the_right_password_forgives() -> None:
    table = Throttle(LOGIN_RULE)
    for _ in range(9):
        table.charge("x", 0.0)
    assert table.wait_s("x", 0.0) > 0
    table.forgive("x")
    assert table.wait_s("x", 0.0) == 0


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("194.2.0.77", "194.2.0.0/24"),
        ("::ffff:194.2.0.77", "194.2.0.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("no address", "unknown"),
    ],
)
def test_networks(client: str, network: str) -> None:
    assert network_of(client) == network


@pytest.mark.parametrize(
    "spelling", ["ada@lunar.example", " ADA@Lunar.Example\n", "Ada@lunar.EXAMPLE", "\tada@lunar.example "]
)
def test_one_login_many_spellings(spelling: str) -> None:
    assert normal_login(spelling) == "ada@lunar.example"


@given(text=st.text(st.characters(exclude_categories=["Z", "C"]), min_size=3, max_size=80))
def test_a_normal_login_stays_as_it_is(text: str) -> None:
    once = normal_login(text)
    assert normal_login(once) == once


@pytest.mark.parametrize("text", ["", "ab", "a b", "a\x00bc", "a\u2028bc", "x" * 255])
def test_what_cannot_be_a_login(text: str) -> None:
    with pytest.raises(Refused, match="login_malformed"):
        normal_login(text)


def test_composed_and_decomposed_accents_are_one_login() -> None:
    key = LoginKey(b"k" * 32)
    assert key.hash("zoë@lunar.example") == key.hash("zoe\u0308@lunar.example")
    assert key.hash("zoë@lunar.example") != LoginKey(b"l" * 32).hash("zoë@lunar.example")
    assert len(key.id) == 8
    assert "kkkk" not in repr(key)


def test_a_login_key_is_there_and_long(tmp_path: Path) -> None:
    for content in (None, "zz", "00" * 31):
        if content is not None:
            (tmp_path / "login.key").write_text(content)
        with pytest.raises(ConfigError):
            read_login_key(tmp_path / "login.key")


@pytest.mark.parametrize(
    ("answers", "home"),
    [([], None), ([None, None], None), ([None, "apac"], "apac"), ([Unavailable("x", "y"), "apac"], "apac")],
)
def test_where_a_login_belongs(answers: list[str | Unavailable | None], home: str | None) -> None:
    assert decide_home(answers) == home


def test_a_silent_region_is_never_nobody() -> None:
    with pytest.raises(Unavailable) as caught:
        decide_home([None, Unavailable("home_unreachable", "silent")])
    assert caught.value.code == "directory_incomplete"


def key_file(no: int, made_at: float, use_from: float) -> KeyFile:
    return KeyFile(kid=f"key_emea_{no:04}", d="", x="", made_at=made_at, use_from=use_from)


@given(waits=st.lists(st.floats(0, 5_000), min_size=1, max_size=40))
def test_a_rotation_signs_nobody_out(waits: list[float]) -> None:
    """Rotate whenever, retire as planned: what signs has been announced, and every live token keeps its key."""
    now, keys = 0.0, [key_file(0, 0.0, 0.0)]
    tokens: list[tuple[str, float]] = []
    for no, wait in enumerate(waits, 1):
        now += wait
        keys = [key for key in keys if key.kid not in plan_keys(keys, now).retire]
        signer = choose_signer(keys, now)
        assert signer.use_from <= now
        assert signer.made_at == 0 or now - signer.made_at >= ANNOUNCE_S
        tokens.append((signer.kid, now + ACCESS_TOKEN_S))
        assert {kid for kid, exp in tokens if exp > now} <= {key.kid for key in keys}
        if no % 2:
            keys.append(key_file(no, now, now + ANNOUNCE_S))


def test_old_keys_go_and_due_keys_come() -> None:
    old, new = key_file(0, 0, 0), key_file(1, 100, 160)
    assert plan_keys([], 0.0).make
    assert plan_keys([old, new], 500.0).retire == ()
    assert plan_keys([old, new], 5_000.0).retire == (old.kid,)
    assert plan_keys([new], 100.0 + 31 * 86_400).make
    assert not plan_keys([new], 100.0 + 29 * 86_400).make


@pytest.mark.parametrize("name", ["laptop", "solo", "planet"])
def test_the_demo_has_people_in_every_region(name: str) -> None:
    world = load_world(WORLDS / f"{name}.toml")
    demo = plan_demo(world, lambda words: words[0], lambda region: f"org_{region}_x")
    assert {person.region for company in demo.companies for person in company.people} == set(world.regions)
    for company in demo.companies:
        assert sum(person.role == "owner" for person in company.people) == 1
        assert any(person.role == "admin" for person in company.people)
        assert any(person.role == "guest" for person in company.people)
        assert company.sealed or not any(world.regions[person.region].sealed for person in company.people)
        assert len({normal_login(person.login) for person in company.people}) == len(company.people)
    if name == "laptop":
        assert [sum(p.region == region for p in demo.companies[0].people) for region in world.regions] == [3, 3]


def test_pass_phrases_are_long_enough() -> None:
    assert len(set(WORDS)) == len(WORDS) >= 180
