"""Directors whose doors cannot make up their minds, with the hold-down as it is shipped."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from moonbow.director.addresses import Ranges
from moonbow.world import World
from support import eventually

from .conftest import Doors
from .directors import directing

pytestmark = pytest.mark.slow

FRANCE, PARIS = "194.2.0.0", "127.110.1.11"
SPELL_S, TURN_S = 12.0, 0.7


def test_oscillation_does_not_flap(laptop: World, state: Path, doors: Doors, ranges: Ranges) -> None:
    """A door that changes its mind each 0.7 s changes the answer a few times, and less and less often."""
    says = doors["paris"][0].says
    with directing(laptop, state, ranges, hold_max_s=64.0) as directors:
        tokyo = directors["tokyo"]
        began, turns = time.monotonic(), 0
        answers = [tokyo.answer(FRANCE)]
        while (now := time.monotonic() - began) < SPELL_S:
            if int(now / TURN_S) >= turns:
                turns += 1
                says.write_text("503 dizzy") if turns % 2 else says.unlink()
            eventually(lambda until=now + 0.05: time.monotonic() - began > until)
            if (answer := tokyo.answer(FRANCE)) != answers[-1]:
                answers.append(answer)
        says.unlink(missing_ok=True)
        assert 2 <= len(answers) <= 9, f"{len(answers)} answers to {turns} changes of mind"
        eventually(lambda: directors.answers(FRANCE) == [{PARIS}] * 4, within_s=40)
