"""The signing keys of a region: files shared by its gateways, and when each of them signs, stays and goes.

Laws: there is always a key that may sign; a new key is announced `ANNOUNCE_S` before it signs, so that doors all over
the world know it; an old one stays until the last token it signed has ended; so a rotation signs nobody out.
A file `<kid>.json` is a private JWK (RFC 8037) with two times; `region.secret` derives refresh tokens and cursors.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from moonbow.base.base64url import decode64, encode64
from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.base.ids import new_id
from moonbow.base.limits import ACCESS_TOKEN_S, CLOCK_SKEW_S

from .model import KnownKey

ANNOUNCE_S = 60.0
ROTATE_AFTER_S = 30 * 86_400.0


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """A private JWK with the times it was made and may sign from (seconds since 1970)."""

    kid: str
    d: str
    x: str
    made_at: float
    use_from: float
    kty: str = "OKP"
    crv: str = "Ed25519"

    def __repr__(self) -> str:
        return f"KeyFile({self.kid})"


@dataclass(frozen=True)
class KeyPlan:
    """What to do with the keys now: whether a new one is due, and which have had their time."""

    make: bool
    retire: tuple[str, ...]


def choose_signer(keys: Sequence[KeyFile], now: float) -> KeyFile:
    """The newest key that may sign; before any may, the first that will."""
    ready = [key for key in keys if key.use_from <= now]
    return max(ready, key=_order) if ready else min(keys, key=_order)


def plan_keys(keys: Sequence[KeyFile], now: float, rotate_after_s: float = ROTATE_AFTER_S) -> KeyPlan:
    """Which keys to make and to retire at `now`."""
    if not keys:
        return KeyPlan(True, ())
    newest = max(keys, key=_order)
    ready = sorted((key for key in keys if key.use_from <= now), key=_order)
    last_token_s = ACCESS_TOKEN_S + CLOCK_SKEW_S + ANNOUNCE_S
    retired = [old.kid for old, new in pairwise(ready) if new.use_from + last_token_s < now]
    return KeyPlan(now - newest.made_at > rotate_after_s, tuple(retired))


def _order(key: KeyFile) -> tuple[float, str]:
    return key.use_from, key.kid


def make_key(region: str, now: float, use_from: float) -> KeyFile:
    """A fresh Ed25519 key of `region`."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    secret = private.private_bytes_raw()
    return KeyFile(kid=new_id("key", region), d=encode64(secret), x=encode64(public), made_at=now, use_from=use_from)


def public_part(key: KeyFile) -> KnownKey:
    """What others may know of a key."""
    return KnownKey(kid=key.kid, x=key.x)


@dataclass
class KeyRing:
    """The keys of one region on disk and in memory.  `refresh` looks at the folder; the rest is memory only."""

    region: str
    folder: Path
    files: tuple[KeyFile, ...] = ()
    public: dict[str, Ed25519PublicKey] = field(default_factory=dict[str, Ed25519PublicKey])
    _private: dict[str, Ed25519PrivateKey] = field(default_factory=dict[str, Ed25519PrivateKey], repr=False)

    def open(self, now: float) -> bytes:
        """Read the folder, make what a first start lacks, and return the region's secret."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            path = self.folder / "region.secret"
            if not path.exists():
                write_private(path, secrets.token_hex(32).encode(), durable=True)
            if not self._read():
                self._write(make_key(self.region, now, now))
        self.refresh()
        return bytes.fromhex(path.read_text().strip())

    def refresh(self) -> bool:
        """Read the folder again; whether anything changed."""
        found = self._read()
        if found == self.files:
            return False
        self.files = found
        self.public = {key.kid: Ed25519PublicKey.from_public_bytes(decode64(key.x)) for key in found}
        self._private = {key.kid: Ed25519PrivateKey.from_private_bytes(decode64(key.d)) for key in found}
        return True

    def signer(self, now: float) -> tuple[str, Ed25519PrivateKey]:
        """The kid and key that sign at `now`."""
        kid = choose_signer(self.files, now).kid
        return kid, self._private[kid]

    def make(self, now: float, unless_made_since: float | None = None) -> None:
        """Add a key that signs `ANNOUNCE_S` from now; not if a sister has made one since the time given."""
        with self._locked():
            found = self._read()
            if unless_made_since is not None and any(key.made_at >= unless_made_since for key in found):
                return
            self._write(make_key(self.region, now, now + ANNOUNCE_S))
        self.refresh()

    def drop(self, kids: Sequence[str]) -> None:
        """Delete the private parts of `kids`."""
        for kid in kids:
            (self.folder / f"{kid}.json").unlink(missing_ok=True)
        self.refresh()

    def _write(self, key: KeyFile) -> None:
        write_private(self.folder / f"{key.kid}.json", msgspec.json.encode(key), durable=True)

    def _read(self) -> tuple[KeyFile, ...]:
        found: list[KeyFile] = []
        for path in sorted(self.folder.glob("key_*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=KeyFile))
            except FileNotFoundError:
                continue
            except msgspec.DecodeError as error:
                raise ConfigError(f"{path}: not a signing key of ours: {error}") from error
        return tuple(found)

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        descriptor = os.open(self.folder / "keys.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
