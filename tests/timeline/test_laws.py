"""The laws of streams hold for the real transactions, store, flow and federation, whatever crashes, is cut or lost."""

import os

import pytest

from stream_laws import play


@pytest.mark.parametrize("seed", range(24))
def test_laws_hold(seed: int) -> None:
    play(seed)


@pytest.mark.long
def test_laws_hold_for_long() -> None:
    first = int(os.environ.get("MOONBOW_SEED", "1000"))
    for seed in range(first, first + 400):
        play(seed, steps=300)
    print(f"400 schedules of 300 steps from seed {first}: every law holds")
