"""Which address map a world uses and used: one line a change, the last one counts.  Pure.

Laws: a number is never used twice; going back never takes anything away, it is a change of its own, so going back
twice is where one was; the map in use is always among those kept.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from moonbow.base.errors import ConfigError

KEPT_MAX = 8  # maps, with the one in use
ENTRIES_MAX = 200
LEDGER_BYTES_MAX = 1_048_576


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A map was put into use.

    `digest` names its file (BLAKE2b-128); `source` is what the data is; `at` is RFC 3339 in UTC; `how` says whether it
    was found there at first, built, or gone back to; `database_digest` is the BLAKE2b-128 of the file it was made of.
    """

    number: int
    digest: str
    source: str
    at: str
    who: str
    why: str = ""
    how: Literal["found", "built", "rolled back"] = "built"
    database: str | None = None
    database_digest: str | None = None


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every change, oldest first."""

    entries: tuple[Entry, ...] = ()

    @property
    def current(self) -> Entry | None:
        """The map in use; None if nobody ever chose one."""
        return self.entries[-1] if self.entries else None


def parse_ledger(data: bytes) -> Ledger:
    """The ledger in a file; `ConfigError` if it is damaged."""
    if len(data) > LEDGER_BYTES_MAX:
        raise ConfigError("the ledger of maps is too long")
    try:
        ledger = msgspec.json.decode(data, type=Ledger)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the ledger of maps is damaged: {error}") from error
    for entry in ledger.entries:
        if len(entry.digest) != 32 or not set(entry.digest) <= set("0123456789abcdef"):
            raise ConfigError(f"the ledger of maps is damaged: {entry.digest!r} names no map")
    return ledger


def render_ledger(ledger: Ledger) -> bytes:
    """The file of a ledger."""
    return msgspec.json.format(msgspec.json.encode(ledger), indent=1) + b"\n"


def add_entry(ledger: Ledger, entry: Entry) -> Ledger:
    """The ledger after a change; the entry gets the next number."""
    number = 1 + max((old.number for old in ledger.entries), default=0)
    entries = (*ledger.entries, msgspec.structs.replace(entry, number=number))
    return Ledger(entries[-ENTRIES_MAX:])


def kept_digests(ledger: Ledger) -> tuple[str, ...]:
    """The maps whose files are kept, the one used last first."""
    return tuple(dict.fromkeys(entry.digest for entry in reversed(ledger.entries)))[:KEPT_MAX]


def choose_rollback(ledger: Ledger, to: int | None = None) -> Entry:
    """The change whose map to go back to: `to`, else the last one with another map than the present one.

    `ConfigError` if there is none, or its map is no longer kept.
    """
    current = ledger.current
    if current is None:
        raise ConfigError("no map was ever built for this world: there is nothing to go back to")
    if to is None:
        earlier = [entry for entry in ledger.entries if entry.digest != current.digest]
        if not earlier:
            raise ConfigError("there is no other map to go back to")
        return earlier[-1]
    return choose_entry(ledger, to)


def choose_entry(ledger: Ledger, number: int) -> Entry:
    """The change called `number`; `ConfigError` if there is none or its map is no longer kept."""
    found = [entry for entry in ledger.entries if entry.number == number]
    if not found:
        known = ", ".join(str(entry.number) for entry in ledger.entries) or "none"
        raise ConfigError(f"there is no map {number}; known: {known}")
    if found[0].digest not in kept_digests(ledger):
        raise ConfigError(f"map {number} is no longer kept: only the last {KEPT_MAX} are")
    return found[0]
