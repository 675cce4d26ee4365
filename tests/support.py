"""What tests of every room share: waiting for a condition, and free ports."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")
STEP_S = 0.02


def eventually(check: Callable[[], T], within_s: float = 5.0) -> T:
    """The first truthy result of `check`, tried until `within_s` seconds have passed; AssertionError otherwise.

    An AssertionError or OSError raised by `check` counts as "not yet" and is shown when the time is up.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            result, fault = check(), None
        except (AssertionError, OSError) as error:
            result, fault = None, error
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {fault or repr(result)}") from fault
        time.sleep(STEP_S)


async def eventually_async(check: Callable[[], Awaitable[T] | T], within_s: float = 5.0) -> T:
    """As `eventually`, without blocking the event loop; `check` may be a plain function or a coroutine function."""
    deadline = time.monotonic() + within_s
    while True:
        fault: BaseException | None = None
        result: T | None = None
        try:
            answer = check()
            result = await answer if inspect.isawaitable(answer) else answer
        except (AssertionError, OSError) as error:
            fault = error
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {fault or repr(result)}") from fault
        await asyncio.sleep(STEP_S)


def not_tested(why: object) -> NoReturn:
    """What a test says that lacks an engine: skipped on somebody's machine, a failure where CI must have it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"NOT TESTED: {why}")
    raise AssertionError("both raise")


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listened on at `address` a moment ago."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(address: str, port: int, within_s: float = 0.5) -> bool:
    """Whether somebody accepts a TCP connection there."""
    try:
        socket.create_connection((address, port), within_s).close()
    except OSError:
        return False
    return True
