"""Passwords: Argon2id in threads, a bounded number at a time, and the same work for names that nobody has.

Parameters follow OWASP's first choice for Argon2id (19 MiB, 2 passes, 1 lane); hashes made with others still verify
and are made anew at the next sign-in.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from moonbow.base.errors import Refused, Unavailable

T = TypeVar("T")

AT_ONCE_MAX = 2
WAITING_MAX = 64
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16)


def check_new_password(password: str, login: str) -> None:
    """`Refused` for a password that is too short or stands in the login."""
    if len(password) < 10 or len(password) > 1024:
        raise Refused("password_weak", "a password has 10 to 1024 characters", place="$.password")
    if password.casefold() in login.casefold() or login.casefold() in password.casefold():
        raise Refused("password_weak", "the password must not contain the login", place="$.password")


def hash_password(password: str) -> str:
    """The Argon2id hash of a password in PHC format.  Blocks for about 30 ms: call it in a thread."""
    return HASHER.hash(password)


def matches(password: str, phc: str) -> bool:
    """Whether the password is the one hashed.  Blocks as `hash_password`."""
    try:
        return HASHER.verify(phc, password)
    except (VerificationError, InvalidHashError):
        return False


class Passwords:
    """Hashing and verifying off the event loop.  `observe` is told the seconds each verification took."""

    def __init__(self, observe: Callable[[float], None] = lambda _: None) -> None:
        self._gate = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting = 0
        self._observe = observe
        self._nobody = ""

    async def prepare(self) -> None:
        """Make the hash that unknown names are checked against."""
        self._nobody = await asyncio.to_thread(hash_password, secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """The hash of a new password."""
        return await self._run(lambda: hash_password(password))

    async def verify(self, password: str, phc: str | None) -> bool:
        """Whether the password is right; with None (nobody has that name) the same work, and False."""
        start = time.perf_counter()
        right = await self._run(lambda: matches(password, phc or self._nobody))
        self._observe(time.perf_counter() - start)
        return right and phc is not None

    def wants_new_hash(self, phc: str) -> bool:
        """Whether `phc` was made with other parameters than today's."""
        return HASHER.check_needs_rehash(phc)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("sign_in_busy", "too many sign-ins at once; try again in a second")
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
