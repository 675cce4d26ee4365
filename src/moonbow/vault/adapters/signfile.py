"""The key with which a region signs receipts, in a file of its own: it stays for as long as receipts are shown."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moonbow.base.base64url import decode64, encode64
from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.base.ids import new_id

from ..receipts import PublicJwk, Receipt, sign_receipt


class _File(msgspec.Struct, frozen=True):
    kid: str
    d: str
    x: str
    made_at: float

    def __repr__(self) -> str:
        return f"_File({self.kid})"


class SigningKeyFile:
    """The Ed25519 key in the file at `path` (mode 0600), made if it is missing; `ConfigError` if it is damaged."""

    def __init__(self, path: Path, region: str) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not path.exists():
                write_private(path, msgspec.json.encode(_fresh(region)), durable=True)
        finally:
            os.close(descriptor)
        try:
            self._file = msgspec.json.decode(path.read_bytes(), type=_File)
            self._key = Ed25519PrivateKey.from_private_bytes(decode64(self._file.d))
        except ValueError as error:
            raise ConfigError(f"{path}: not a signing key of ours: {error}") from error

    @property
    def public(self) -> PublicJwk:
        """What anybody may know of it, and needs to check a receipt."""
        return PublicJwk(self._file.kid, self._file.x)

    def sign(self, receipt: Receipt) -> str:
        """The signed receipt."""
        return sign_receipt(receipt, self._file.kid, self._key)


def _fresh(region: str) -> _File:
    key = Ed25519PrivateKey.generate()
    public = encode64(key.public_key().public_bytes_raw())
    return _File(new_id("key", region), encode64(key.private_bytes_raw()), public, time.time())
