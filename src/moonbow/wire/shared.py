"""The closed list of types that may be replicated to other regions (DESIGN, section 8, class *shared*).

Nothing else passes the replicator.  A golden file lists their fields; changing one is a decision about residency.
"""

from __future__ import annotations

import msgspec


class Shared(msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag_field="k"):
    """Base of replicated records.  `version` grows at the single writer; the highest wins; `gone` is a tombstone."""


class Login(Shared, frozen=True, tag="login"):
    """Where the person with this login belongs.  `hash` is an HMAC-SHA-256 of the login, hex, under key `key_id`."""

    hash: str
    key_id: str
    region: str
    version: int
    gone: bool = False


class CompanyRegions(Shared, frozen=True, tag="company"):
    """In which regions a company has people; `home` is the single writer of its logins."""

    company: str
    home: str
    regions: tuple[str, ...]
    version: int
    gone: bool = False


class PublicKey(Shared, frozen=True, tag="key"):
    """A region's public key for checking access tokens: an Ed25519 JWK's `kid` and `x` (RFC 8037)."""

    region: str
    kid: str
    x: str
    version: int
    gone: bool = False


SharedRecord = Login | CompanyRegions | PublicKey


class LogEntry(msgspec.Struct, frozen=True, array_like=True):
    """One record in the log of its origin: dense `seq` within (`origin`, `epoch`)."""

    origin: str
    epoch: int
    seq: int
    record: SharedRecord
