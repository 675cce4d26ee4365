"""Options of the whole suite: what is slow or needs a browser runs only when asked for."""

from __future__ import annotations

import pytest

pytest_plugins = ["galera_cluster"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("moonbow")
    group.addoption("--long", action="store_true", help="run tests marked long as well")
    group.addoption("--fast", action="store_true", help="leave out what is slow or needs real engines or a browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unwanted = set()
    if not config.getoption("--long"):
        unwanted.add("long")
    if config.getoption("--fast"):
        unwanted |= {"long", "engines", "browser", "slow"}
    # Playwright keeps an event loop running in this thread for as long as it lives: its tests come last.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    kept = [item for item in items if not unwanted.intersection(mark.name for mark in item.iter_markers())]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
