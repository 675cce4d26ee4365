"""Values of the vault: rows of keys, and the formats of what is sealed and wrapped.

Sealed: a byte of version, a nonce of 12 bytes, then AES-256-GCM's text and tag (NIST SP 800-38D), bound to its place.
Wrapped: the same without the version, a key of 32 bytes bound to whose it is.  Nonces are random: one key seals far
fewer than the 2**32 texts for which that is sound.
"""

from __future__ import annotations

import hashlib

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moonbow.base.errors import Broken

SEALED = b"\x01"
NONCE_BYTES = 12
KEY_BYTES = 32
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + 16
MARK_BYTES = 16


class CompanyKey(msgspec.Struct, frozen=True):
    """A company's key `key`, wrapped by the region's `region_key`.  While `revoked` nothing under it is opened."""

    company: str
    key: str
    region_key: str
    wrapped: bytes
    revoked: bool = False


class PersonKey(msgspec.Struct, frozen=True):
    """A person's key `key`, wrapped by their company's; `wrapped` is None once it has been destroyed."""

    person: str
    company: str
    key: str
    wrapped: bytes | None


class RegionKeyInfo(msgspec.Struct, frozen=True):
    """What may be known of a region key: when it was made and, if it wraps nothing new, retired (seconds, 1970)."""

    key: str
    made_at: float
    retired_at: float | None = None


def seal(key: AESGCM, nonce: bytes, place: str, text: bytes) -> bytes:
    """`text` sealed for `place`."""
    return SEALED + nonce + key.encrypt(nonce, text, place.encode())


def unseal(key: AESGCM, place: str, sealed: bytes) -> bytes:
    """What was sealed for `place`; `Broken` if it was changed, or sealed for another place or by another key."""
    if sealed[:1] != SEALED:
        raise Broken(f"what rests at {place} is not of a format that is known")
    try:
        return key.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], place.encode())
    except (InvalidTag, ValueError) as error:
        raise Broken(f"what rests at {place} is not what was sealed for it") from error


def wrap(outer: bytes, nonce: bytes, owner: str, inner: bytes) -> bytes:
    """The key `inner` of `owner`, wrapped by the key `outer`."""
    return nonce + AESGCM(outer).encrypt(nonce, inner, owner.encode())


def unwrap(outer: bytes, owner: str, wrapped: bytes) -> bytes:
    """The key of `owner`; `Broken` if it was changed, or is another's, or was wrapped by another key."""
    try:
        return AESGCM(outer).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], owner.encode())
    except (InvalidTag, ValueError) as error:
        raise Broken(f"the wrapped key of {owner} is not the one that was made") from error


def marking_key(key: bytes) -> bytes:
    """The subkey with which a person's texts are marked."""
    return hashlib.blake2b(key=key, person=b"moonbow mark", digest_size=KEY_BYTES).digest()


def mark(marking: bytes, text: bytes) -> bytes:
    """`MARK_BYTES` that are the same for the same text, and say nothing without the key."""
    return hashlib.blake2b(text, key=marking, digest_size=MARK_BYTES).digest()


def owner_of_company(company: str, key: str) -> str:
    """To what a company's wrapped key is bound."""
    return f"company {company} {key}"


def owner_of_person(person: str, company: str, key: str) -> str:
    """To what a person's wrapped key is bound."""
    return f"person {person} {company} {key}"
