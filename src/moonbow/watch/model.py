"""Values of the residency audit: what it found, what it walked, which locks held, and the signed word about it."""

from __future__ import annotations

from typing import Literal

import msgspec

DataClass = Literal["private", "order", "shared", "secret", "log", "operator", "configuration", "proof"]
FORMAT = 1


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what is written down: immutable, and a field that nobody knows is a fault."""


class Finding(Value, frozen=True, order=True):
    """Something that is not as the laws want it.

    `code` is stable (README.md lists them); `place` is a path under the state folder or a live place, with the table
    and the key of the row after it; `at` is the region whose disk that is, empty for what belongs to the world as a
    whole; `of` the region whose data it is, as far as known.  Ids and names of fields only, never what they hold.
    """

    code: str
    place: str
    said: str
    at: str = ""
    of: str = ""
    table: str = ""
    key: str = ""


class Control(Value, frozen=True):
    """A check of the audit itself or of a lock: `held` is None if it could not be tried, and `said` says why."""

    code: str
    place: str
    held: bool | None
    said: str
    at: str = ""


class Mapped(Value, frozen=True):
    """One line of the data map: what of one class rests where, as last seen.

    `records` are rows of tables and files of everything else; `retention` says for how long they stay.
    """

    data: DataClass
    what: str
    engine: str
    region: str
    site: str
    where: str
    retention: str
    records: int
    size_bytes: int
    checked_at: str


class Attestation(Value, frozen=True):
    """What one audit says of one region.  `walked` are the folders and live places that were looked at."""

    format: int
    world: str
    region: str
    started_at: str
    ended_at: str
    software: dict[str, str]
    walked: tuple[str, ...]
    files: int
    rows: int
    size_bytes: int
    canaries: int
    findings: tuple[Finding, ...]
    controls: tuple[Control, ...]
    map: tuple[Mapped, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found, and everything that was tried held."""
        return not self.findings and all(control.held is not False for control in self.controls)


class Signed(Value, frozen=True):
    """An attestation with its signature, Ed25519 (RFC 8032) over its canonical bytes; it and the public key in hex."""

    attestation: Attestation
    key: str
    signature: str


class Report(Value, frozen=True):
    """The outcome of one audit, for people: all regions together, and where each one's attestation lies."""

    attestations: dict[str, str]
    findings: tuple[Finding, ...]
    controls: tuple[Control, ...]
    map: tuple[Mapped, ...]
    files: int
    rows: int
    size_bytes: int
    canaries: int
    lasted_s: float

    @property
    def clean(self) -> bool:
        """Whether nothing was found, and everything that was tried held."""
        return not self.findings and all(control.held is not False for control in self.controls)


class Progress(Value, frozen=True):
    """How far an audit is: `done` of `total` bytes or steps of a stage."""

    stage: str
    done: int
    total: int


_encoder = msgspec.json.Encoder(order="deterministic")


def canonical(value: Value) -> bytes:
    """The one way to write a value down: JSON, keys in order, no spaces."""
    return _encoder.encode(value)
