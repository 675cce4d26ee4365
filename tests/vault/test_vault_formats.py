"""What is sealed opens for its person and its place only, whole and unchanged; marks tell nobody else anything."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.errors import Broken
from moonbow.vault import model, policy
from moonbow.vault.model import CompanyKey, PersonKey, RegionKeyInfo

KEYS = st.binary(min_size=32, max_size=32)
NONCES = st.binary(min_size=12, max_size=12)
PLACES = st.text(max_size=70)


@given(KEYS, NONCES, PLACES, st.binary(max_size=600))
def test_what_is_sealed_opens_again(key: bytes, nonce: bytes, place: str, text: bytes) -> None:
    sealed = model.seal(AESGCM(key), nonce, place, text)
    assert model.unseal(AESGCM(key), place, sealed) == text
    assert len(sealed) == len(text) + 29
    assert len(text) < 8 or text not in sealed[13:]


@given(KEYS, NONCES, PLACES, PLACES, KEYS, st.binary(max_size=300), st.data())
def test_whatever_is_not_as_it_was_sealed_is_broken(
    key: bytes, nonce: bytes, place: str, other: str, stranger: bytes, text: bytes, data: st.DataObject
) -> None:
    sealed = model.seal(AESGCM(key), nonce, place, text)
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:at] + bytes([sealed[at] ^ data.draw(st.integers(1, 255))]) + sealed[at + 1 :]
    trials = [(key, place, changed), (key, place, sealed[:at]), (key, place, sealed + b"x")]
    trials += [(key, other, sealed)] if other != place else []
    trials += [(stranger, place, sealed)] if stranger != key else []
    for with_key, at_place, what in trials:
        with pytest.raises(Broken):
            model.unseal(AESGCM(with_key), at_place, what)


@given(KEYS, NONCES, KEYS, st.text(max_size=40), st.text(max_size=40))
def test_a_wrapped_key_is_bound_to_its_owner(outer: bytes, nonce: bytes, inner: bytes, owner: str, other: str) -> None:
    wrapped = model.wrap(outer, nonce, owner, inner)
    assert len(wrapped) == model.WRAPPED_BYTES
    assert model.unwrap(outer, owner, wrapped) == inner
    if other != owner:
        with pytest.raises(Broken):
            model.unwrap(outer, other, wrapped)


@given(KEYS, KEYS, st.binary(max_size=100), st.binary(max_size=100))
def test_marks_are_the_same_for_the_same_and_of_one_person(one: bytes, other: bytes, a: bytes, b: bytes) -> None:
    mine, theirs = model.marking_key(one), model.marking_key(other)
    assert mine != one
    assert len(model.mark(mine, a)) == 16
    assert (model.mark(mine, a) == model.mark(mine, b)) == (a == b)
    assert (model.mark(mine, a) == model.mark(theirs, a)) == (one == other)


def test_no_sealed_text_looks_like_a_body_from_before() -> None:
    assert model.seal(AESGCM(os.urandom(32)), os.urandom(12), "x", b"{}")[:1] != b"{"


def company(name: str, region_key: str, revoked: bool = False) -> CompanyKey:
    return CompanyKey(name, f"key of {name}", region_key, b"", revoked)


@pytest.mark.parametrize(
    ("person", "revoked", "verdict"),
    [(None, False, "unknown"), (b"w", False, "usable"), (b"w", True, "revoked"), (b"", True, "destroyed")],
)
def test_when_a_key_may_be_used(person: bytes | None, revoked: bool, verdict: str) -> None:
    found = None if person is None else (PersonKey("p", "c", "k", person or None), company("c", "r", revoked))
    assert policy.decide_use(found) == verdict


@given(st.lists(st.sampled_from(["r1", "r2", "r3"])), st.sampled_from(["r1", "r2", "r3"]))
def test_an_interrupted_rotation_is_finished_by_the_next_plan(wrapped_by: list[str], current: str) -> None:
    companies = [company(f"c{no}", key) for no, key in enumerate(wrapped_by)]
    for done in range(len(companies) + 1):
        plan = policy.plan_rewrap(companies, current)
        moved = {row.company for row in plan[:done]}
        after = [company(row.company, current) if row.company in moved else row for row in companies]
        rest = policy.plan_rewrap(after, current)
        assert {row.company for row in plan} == moved | {row.company for row in rest}
        assert all(row.region_key != current for row in rest)


def test_a_region_key_goes_only_when_nothing_needs_it() -> None:
    keys = [
        RegionKeyInfo("old", 0, 10),
        RegionKeyInfo("used", 0, 10),
        RegionKeyInfo("late", 0, 90),
        RegionKeyInfo("now", 50),
    ]
    companies = [company("c", "used"), company("d", "now")]
    assert policy.plan_retire(keys, companies, 100, keep_s=50) == ["old"]
    assert policy.plan_retire(keys, companies, 60, keep_s=50) == []
