"""Canaries: words planted in one region and never to be found in another, known to the audit only by salted marks.

A mark has a public head, by which a place is found quickly, and a salted hash of the rest: whoever reads the marks
does not learn the word.  A word stands in a file in many spellings; there is a mark for each.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.base.ids import ALPHABET

from .model import Value
from .search import Needle, mac_of
from .spelling import REST_CHARS_MAX, spell

Kind = Literal["text", "emoji", "title", "person", "file", "content", "id", "status", "address", "agent"]
HEAD, EMOJI_HEAD = "mbcanary", "🦖🪼🫨🦕🪭🦥🦨🦩"  # begin every word of ours, so that all are looked for at once
CANARIES_MAX = 64  # of one region
NEVER_ON_DISK: frozenset[Kind] = frozenset({"status"})  # presence rests nowhere
# Not in clear where people's words are sealed.
SEALED: frozenset[Kind] = frozenset({"text", "emoji", "title", "file", "content"})
MAY_BE_AT_HOME: frozenset[Kind] = frozenset({"address", "agent"})  # the home's own log may have them
_EMOJI = "🦖🦕🫎🪼🪭🫨🪿🫏🦥🦦🦨🦩🦫🦬🦭🪰"


class Mark(Value, frozen=True):
    """One spelling of a canary: bytes of its head, how many bytes follow, and their salted hash."""

    form: str
    head: bytes
    rest_bytes: int
    mac: bytes


class Canary(Value, frozen=True):
    """A planted word of a region, as far as the audit knows it."""

    region: str
    kind: Kind
    planted_at: str
    salt: bytes
    marks: tuple[Mark, ...]

    @property
    def needles(self) -> Iterator[Needle]:
        """What to look for."""
        for mark in self.marks:
            yield Needle(mark.head, mark.rest_bytes, mark.form, self.salt, mark.mac)


def make_word(kind: Kind) -> str:
    """A fresh word of a kind that can be made up; ids and addresses are given by others."""
    if kind == "emoji":
        return EMOJI_HEAD + "".join(secrets.choice(_EMOJI) for _ in range(8))
    return HEAD + "".join(secrets.choice(ALPHABET) for _ in range(REST_CHARS_MAX))


def make_canary(region: str, kind: Kind, word: str) -> Canary:
    """The marks of a word; the word itself is not kept."""
    salt = os.urandom(16)
    marks = tuple(
        Mark(form=form, head=head, rest_bytes=len(rest), mac=mac_of(salt, rest)) for form, head, rest in spell(word)
    )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Canary(region=region, kind=kind, planted_at=at, salt=salt, marks=marks)


class Canaries(Value, frozen=True):
    """The file of a region's canaries."""

    canaries: tuple[Canary, ...] = ()


def canaries_path(state: Path, region: str) -> Path:
    """Where the marks of a region's canaries lie: at home."""
    return state / "regions" / region / "audit" / "canaries.json"


def plant_marks(state: Path, region: str, canaries: tuple[Canary, ...]) -> None:
    """Let these canaries of a region be looked for from now on, instead of those before."""
    if len(canaries) > CANARIES_MAX or any(canary.region != region for canary in canaries):
        raise ConfigError(f"{region}: at most {CANARIES_MAX} canaries, all of the region")
    path = canaries_path(state, region)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, msgspec.json.encode(Canaries(canaries=canaries)))


def read_canaries(state: Path, region: str) -> tuple[Canary, ...]:
    """The canaries of a region; none if none were planted, `ConfigError` if the file is damaged."""
    path = canaries_path(state, region)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Canaries).canaries
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
