"""The keys in use: a `ports.Sealer` that remembers a person's key for a short while, and forgets it when told to.

Laws: no key is remembered for more than `KEYS_S`, so that what cannot be asked any more cannot be opened any more;
a revocation or destruction that the table shows is in force here within `LOOK_S`; what is remembered is bounded.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moonbow.base.errors import Refused, Unavailable

from . import model, policy
from .model import CompanyKey, PersonKey
from .ports import KeyRows, RegionKey

KEYS_S = 30.0  # for which a key is remembered
LOOK_S = 5.0  # between two looks for changes
PEOPLE_MAX = 10_000
COMPANIES_MAX = 1_000


class _Known(NamedTuple):
    """What is remembered of a person: their key if it may be used."""

    verdict: policy.Verdict
    until: float
    key: AESGCM | None = None
    marking: bytes = b""


class Ring:
    """`ports.Sealer` over a table of keys and the region's key.  From any thread.  `clock` is in seconds, monotonic."""

    def __init__(self, rows: KeyRows, region_key: RegionKey, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows, self._region_key, self._clock = rows, region_key, clock
        self._lock = threading.Lock()
        self._people: dict[str, _Known] = {}
        self._companies: dict[bytes, tuple[float, bytes]] = {}
        self._changes, self._look_at = -1, 0.0

    def seal(self, person: str, place: str, text: bytes) -> bytes:
        """`text` sealed for `place` with the person's key."""
        key, _ = self._usable(person)
        return model.seal(key, os.urandom(model.NONCE_BYTES), place, text)

    def mark(self, person: str, text: bytes) -> bytes:
        """A mark of `text` under the person's key."""
        _, marking = self._usable(person)
        return model.mark(marking, text)

    def open(self, person: str, place: str, sealed: bytes) -> bytes | None:
        """What was sealed; None if the person's key is destroyed, or their company's revoked."""
        known = self._find(person)
        if known.key is not None:
            return model.unseal(known.key, place, sealed)
        if known.verdict == "unknown":
            raise _no_key()
        return None

    def _usable(self, person: str) -> tuple[AESGCM, bytes]:
        known = self._find(person)
        if known.key is not None:
            return known.key, known.marking
        if known.verdict == "revoked":
            raise Refused("company_key_revoked", "the company's key is revoked: nothing can be written", status=403)
        if known.verdict == "destroyed":
            raise Refused("person_erased", "this person has been erased", status=403)
        raise _no_key()

    def _find(self, person: str) -> _Known:
        now = self._clock()
        if now >= self._look_at:
            self._look(now)
        known = self._people.get(person)
        return known if known is not None and now < known.until else self._learn(person, now)

    def _look(self, now: float) -> None:
        """Forget everything if the table has changed.  While it cannot be asked, `KEYS_S` is the limit."""
        self._look_at = now + LOOK_S
        with suppress(Unavailable):
            changes = self._rows.changes()
            with self._lock:
                if changes != self._changes:
                    self._changes = changes
                    self._people.clear()
                    self._companies.clear()

    def _learn(self, person: str, now: float) -> _Known:
        before = self._changes
        found = self._rows.find(person)
        verdict = policy.decide_use(found)
        if found is None or verdict != "usable":
            known = _Known(verdict, now + KEYS_S)
        else:
            until, key = self._open_person(*found, now)
            known = _Known(verdict, until, AESGCM(key), model.marking_key(key))
        with self._lock:
            if before == self._changes and verdict != "unknown":  # who has no key may get one at any moment
                self._people.pop(person, None)
                self._people[person] = known
                if len(self._people) > PEOPLE_MAX:
                    del self._people[next(iter(self._people))]
        return known

    def _open_person(self, person: PersonKey, company: CompanyKey, now: float) -> tuple[float, bytes]:
        """A person's key, and until when it may be remembered: no longer than the company's that opened it."""
        assert person.wrapped is not None, "a destroyed key is not usable"
        owner = model.owner_of_person(person.person, person.company, person.key)
        until, outer = self._open_company(company, now)
        return until, model.unwrap(outer, owner, person.wrapped)

    def _open_company(self, company: CompanyKey, now: float) -> tuple[float, bytes]:
        """The company's key and until when it is remembered; by its wrapped form, because a KMS is slow to ask."""
        until, key = self._companies.get(company.wrapped, (0.0, b""))
        if until <= now:
            owner = model.owner_of_company(company.company, company.key)
            key = self._region_key.unwrap(company.region_key, owner, company.wrapped)
            until = now + KEYS_S
            with self._lock:
                self._companies[company.wrapped] = (until, key)
                if len(self._companies) > COMPANIES_MAX:
                    del self._companies[next(iter(self._companies))]
        return until, key


def _no_key() -> Unavailable:
    return Unavailable("key_unavailable", "this person's key is not there yet")
