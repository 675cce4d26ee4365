"""Cursors of pages: a sort key, sealed, because it holds a name and stands in addresses and logs."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moonbow.base.base64url import decode64, encode64
from moonbow.base.errors import Refused

from .rpc import SortKey

NONCE_BYTES = 12
_key: msgspec.msgpack.Decoder[SortKey] = msgspec.msgpack.Decoder(SortKey)
CURSOR_CHARS_MAX = 512


class Cursors:
    """Seals and opens cursors; all gateways of a region share the secret that the key is derived from."""

    def __init__(self, region_secret: bytes) -> None:
        self._cipher = AESGCM(hmac.new(region_secret, b"moonbow directory cursor", hashlib.sha256).digest())

    def seal(self, key: SortKey) -> str:
        """The cursor behind `key`."""
        nonce = os.urandom(NONCE_BYTES)
        return encode64(nonce + self._cipher.encrypt(nonce, msgspec.msgpack.encode(key), None))

    def open(self, cursor: str) -> SortKey:
        """The sort key in a cursor; `Refused` (`cursor_unknown`) if it is not one of ours."""
        try:
            if len(cursor) > CURSOR_CHARS_MAX:
                raise ValueError("too long")
            data = decode64(cursor)
            plain = self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
            return _key.decode(plain)
        except (ValueError, binascii.Error, InvalidTag, msgspec.DecodeError) as error:
            raise Refused("cursor_unknown", "this cursor is not one of ours", place="cursor") from error
