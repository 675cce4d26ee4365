"""One small world of real doors for all tests of the balancer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from balancer.stage import Stage, make_world, start_all


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    state: Path = tmp_path_factory.mktemp("doors")
    with closing(Stage(make_world(), state)) as found:
        start_all(found)
        yield found
