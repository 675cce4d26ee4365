"""Refresh tokens as a state machine on the real store: every schedule of uses, losses, thefts and time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from directory_stores import open_directory_at
from moonbow.base.errors import Refused
from moonbow.base.limits import REFRESH_GRACE_S, REFRESH_TOKEN_S
from moonbow.directory.model import PersonRow, Turn
from moonbow.directory.refresh import (
    RefreshToken,
    decide_turn,
    first_token,
    new_family,
    parse_refresh_token,
    successor,
)
from moonbow.stores.home import HomeRegion

T = TypeVar("T")
SECRET = b"r" * 32
PERSON = "usr_emea_0000000000000000000000000a"


class RefreshMachine(RuleBasedStateMachine):
    """The model: a list of tokens given out, when the newest was first given, and whether the family lives."""

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "directory.db"
        self.stores = [open_directory_at(self.path, HomeRegion("emea")) for _ in range(2)]
        self.now = 1_800_000_000.0
        row = PersonRow(
            id=PERSON, company="org", name="Ada", role="member", login="ada@x", login_hash="h", made_at=self.now
        )
        self.do(self.stores[0].create_person(row, "x"))
        self.given = [first_token("emea", bytes(range(48)))]
        self.turned_at = self.now
        self.lives = True
        self.do(self.stores[0].open_family(new_family(self.given[0], "fam_emea_1", PERSON, self.now), 50))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def present(self, token: RefreshToken, gateway: int) -> Turn:
        following = successor(token, SECRET).secret_hash()
        turn, family, ended = self.do(
            self.stores[gateway].turn_family(
                token.handle_hash(),
                lambda found: decide_turn(found, token.secret_hash(), following, self.now),
                self.now,
            )
        )
        assert (family is not None) == (turn.verdict != "unknown")
        assert bool(ended) == (turn.verdict in ("reused", "expired"))
        return turn

    @rule(seconds=st.one_of(st.floats(0, 2 * REFRESH_GRACE_S), st.just(REFRESH_TOKEN_S + 1.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(gateway=st.integers(0, 1), back=st.integers(0, 3))
    def use(self, gateway: int, back: int) -> None:
        """Present a token given out earlier, the newest or one `back` before it."""
        number = max(0, len(self.given) - 1 - back)
        token = self.given[number]
        verdict = self.present(token, gateway).verdict
        if not self.lives:
            assert verdict == "unknown"
        elif self.now >= self.turned_at + REFRESH_TOKEN_S:
            assert verdict == "expired"
            self.lives = False
        elif number == len(self.given) - 1:
            assert verdict == "rotated"
            self.given.append(successor(token, SECRET))
            self.turned_at = self.now
        elif number == len(self.given) - 2 and self.now - self.turned_at <= REFRESH_GRACE_S:
            assert verdict == "replayed"
            assert successor(token, SECRET) == self.given[-1]
        else:
            assert verdict == "reused"
            self.lives = False

    @precondition(lambda self: self.lives)
    @rule(secret=st.binary(min_size=48, max_size=48))
    def forge(self, secret: bytes) -> None:
        """A token of another family is nobody's, and harms nobody."""
        token = first_token("emea", secret)
        if token.handle != self.given[0].handle:
            assert self.present(token, 0).verdict == "unknown"

    def teardown(self) -> None:
        if not hasattr(self, "stores"):
            return
        for store in self.stores:
            self.do(store.close())
        held = b"".join(file.read_bytes() for file in self.path.parent.iterdir())
        for token in self.given:
            assert token.secret.encode() not in held
            assert token.handle.encode() not in held
        self.loop.close()
        self.folder.cleanup()


RefreshMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestRefresh = RefreshMachine.TestCase


def test_a_token_reads_as_it_was_written() -> None:
    token = first_token("emea", bytes(range(48)))
    assert parse_refresh_token(token.text()) == token
    assert 20 <= len(token.text()) <= 200
    assert successor(token, SECRET).handle == token.handle
    assert successor(token, SECRET) != successor(token, b"s" * 32)


@pytest.mark.parametrize("text", ["", "rft_emea_", "rft_EMEA_" + "0" * 78, "rft_emea_" + "i" * 78, "x" * 300])
def test_what_is_no_refresh_token(text: str) -> None:
    with pytest.raises(Refused, match="token_invalid"):
        parse_refresh_token(text)
