"""What a backup is: its manifest, the rows and objects it holds, and what `list` says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec

from moonbow.base.errors import Broken, ConfigError

VERSION = 1
INDEX, ERASED, SECRETS = "objects", "erased", "secrets"  # payloads that are no databases
Kind = Literal["data", "keys"]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what is written beside archives."""


class Payload(Struct, frozen=True):
    """One sealed file of an archive: `rows` per table where it is a database; sizes and SHA-256 before and after."""

    name: str
    plain_bytes: int
    plain_sha256: str
    sealed_bytes: int
    sealed_sha256: str
    rows: dict[str, int] = {}


class Manifest(Struct, frozen=True, omit_defaults=True):
    """What an archive holds, where and when it was taken and with which key it is sealed.  Times are Unix seconds.

    `epoch` is the timeline's at that moment; `objects` and `object_bytes` are what its index names; `position` is the
    place in the engine's own history that is in it at least, for Galera `history:number`.
    """

    version: int
    id: str
    kind: Kind
    region: str
    taken_at: float
    finished_at: float
    taken_from: str
    kept_at: str
    engine: str
    key_id: str
    epoch: int
    payloads: tuple[Payload, ...]
    objects: int = 0
    object_bytes: int = 0
    position: str = ""


class Sealed(Struct, frozen=True):
    """A manifest as it is written: the bytes of its JSON, and what shows that the holder of the key wrote them."""

    manifest: msgspec.Raw
    mac: str


class Checked(Struct, frozen=True):
    """When an archive was last opened from its first to its last byte, and what was wrong; empty if nothing was."""

    at: float
    faults: tuple[str, ...]


class Object(Struct, frozen=True):
    """One object of an index: where it lies (`blob`), and how it looked in its store (`mark`: for next time)."""

    name: str
    bytes: int
    sha256: str
    mark: str
    blob: str


class Archive(NamedTuple):
    """An archive on the shelf."""

    manifest: Manifest
    checked: Checked | None
    sealed_bytes: int

    @property
    def good(self) -> bool:
        """Whether it was opened whole, and nothing was wrong."""
        return self.checked is not None and not self.checked.faults


class Step(NamedTuple):
    """Progress: what is being worked on, and how much of it is done, in bytes; `total` 0 if that is not known."""

    what: str
    done: int = 0
    total: int = 0


def archive_id(at: float, kind: Kind) -> str:
    """The name of an archive begun at `at`: names sort by time."""
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dt%H%M%S}-{kind}"


def purpose(ident: str, name: str) -> str:
    """What a sealed payload is bound to: it opens as that of no other archive."""
    return f"{ident}/{name}"


def decode_manifest(content: bytes, source: str) -> tuple[Manifest, bytes, str]:
    """The manifest in a file, the bytes that its maker signed, and the signature; `Broken` for anything else."""
    try:
        sealed = msgspec.json.decode(content, type=Sealed)
        manifest = msgspec.json.decode(sealed.manifest, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Broken(f"{source}: not a manifest of a backup: {error}") from error
    if manifest.version != VERSION:
        raise ConfigError(f"{source}: a backup in format {manifest.version}; this program reads {VERSION}")
    return manifest, bytes(sealed.manifest), sealed.mac
