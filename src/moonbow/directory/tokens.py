"""Access tokens: signed statements of a region about its own people (JWT, EdDSA over Ed25519; RFC 7519, RFC 8037).

Laws: a key of region r makes and checks tokens with iss = home = r only; nothing about a token is believed before its
signature holds, except to choose the words of its refusal.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from moonbow.base.base64url import decode64, encode64
from moonbow.base.errors import Refused

from .model import Claims

TOKEN_CHARS_MAX = 4096
USER, OPERATOR = "user", "operator"


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str = "JWT"


_header = msgspec.json.Decoder(_Header)
_claims = msgspec.json.Decoder(Claims)


def sign_token(key: Ed25519PrivateKey, kid: str, claims: Claims) -> str:
    """The compact JWT of `claims`."""
    header = msgspec.json.encode({"alg": "EdDSA", "kid": kid, "typ": "JWT"})
    times = {"iat": int(claims.iat), "exp": int(claims.exp)}
    body = msgspec.json.encode(msgspec.structs.asdict(claims) | times)
    signed = f"{encode64(header)}.{encode64(body)}"
    return f"{signed}.{encode64(key.sign(signed.encode()))}"


def check_token(token: str, region: str, keys: Mapping[str, Ed25519PublicKey], now: float) -> Claims:
    """What `token` says, if `region` itself signed it with one of `keys` and it has not ended.

    `Refused` (status 401): `token_invalid`, `token_foreign` (another region's) or `token_expired`.
    """
    if len(token) > TOKEN_CHARS_MAX or token.count(".") != 2:
        raise _invalid()
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    try:
        header = _header.decode(decode64(head))
        claims = _claims.decode(decode64(body))
        proof = decode64(signature)
    except (msgspec.DecodeError, binascii.Error, ValueError, UnicodeError) as error:
        raise _invalid() from error
    key = keys.get(header.kid)
    if claims.iss != region:
        raise Refused("token_foreign", "this token is of another region", status=401)
    if header.alg != "EdDSA" or key is None:
        raise _invalid()
    try:
        key.verify(proof, signed.encode())
    except InvalidSignature as error:
        raise _invalid() from error
    if claims.home != region or USER not in claims.scope.split(" "):
        raise _invalid()
    if claims.exp <= now:
        raise Refused("token_expired", "this token has ended; renew it", status=401)
    return claims


def scope_of(operator: bool) -> str:
    """What a person may do, as words in a row (RFC 8693, section 4.2): all are users, some operators as well."""
    return f"{USER} {OPERATOR}" if operator else USER


def is_operator(claims: Claims) -> bool:
    """Whether whoever holds this token may look into the world's traffic."""
    return OPERATOR in claims.scope.split(" ")


def _invalid() -> Refused:
    return Refused("token_invalid", "this token is not one of ours", status=401)
