"""Receipts of erasures: what was erased of a person, where, when, and which key was destroyed; signed by the region.

A receipt is a JSON Web Signature in its compact form (RFC 7515) with EdDSA over Ed25519 (RFC 8037), so that anybody
with the region's published key and any JOSE library can check it.  It names the person by id only.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from moonbow.base.base64url import decode64, encode64
from moonbow.base.errors import Refused

TYPE = "moonbow-erasure"
RECEIPT_CHARS_MAX = 16_384


class Touched(msgspec.Struct, frozen=True):
    """How many things of a class were erased in a store."""

    store: str
    kind: str = msgspec.field(name="class")
    count: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt says.  Times are RFC 3339; `key` is the id of the destroyed key, None if nothing was sealed."""

    person: str
    region: str
    asked_at: str
    done_at: str
    key: str | None
    touched: tuple[Touched, ...]


class PublicJwk(msgspec.Struct, frozen=True):
    """A region's public key for receipts, as a JWK (RFC 8037)."""

    kid: str
    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    use: str = "sig"
    alg: str = "EdDSA"


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str


_encode = msgspec.json.Encoder().encode
_header = msgspec.json.Decoder(_Header)
_receipt = msgspec.json.Decoder(Receipt)


def sign_receipt(receipt: Receipt, kid: str, key: Ed25519PrivateKey) -> str:
    """The signed receipt."""
    signed = f"{encode64(_encode(_Header('EdDSA', kid, TYPE)))}.{encode64(_encode(receipt))}"
    return f"{signed}.{encode64(key.sign(signed.encode()))}"


def read_receipt(text: str, keys: Iterable[PublicJwk]) -> Receipt:
    """What a receipt says, if one of `keys` signed it; `Refused` (`receipt_invalid`) otherwise."""
    try:
        if len(text) > RECEIPT_CHARS_MAX:
            raise ValueError("too long")
        head, body, signature = text.strip().split(".")
        header = _header.decode(decode64(head))
        if header.alg != "EdDSA" or header.typ != TYPE:
            raise ValueError("not a receipt")
        key = next(jwk for jwk in keys if jwk.kid == header.kid)
        Ed25519PublicKey.from_public_bytes(decode64(key.x)).verify(decode64(signature), f"{head}.{body}".encode())
        return _receipt.decode(decode64(body))
    except StopIteration:
        raise Refused("receipt_invalid", "none of the keys given signed this receipt") from None
    except (InvalidSignature, msgspec.DecodeError, ValueError) as error:
        raise Refused("receipt_invalid", "this is no receipt that a region signed") from error
