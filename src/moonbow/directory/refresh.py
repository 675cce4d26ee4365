"""Refresh tokens: `rft_<region>_<handle><secret>`, one family for each session, a new secret at every use.

Laws: a token is good once; the one before stays good for `REFRESH_GRACE_S` and gives the very same successor, because
a lost answer is no theft; anything else that names a family ends it.  The successor is derived from its predecessor
and a secret of the region, so that two gateways give the same one and no token ever rests.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple

from moonbow.base.errors import Refused
from moonbow.base.ids import base32
from moonbow.base.limits import REFRESH_GRACE_S, REFRESH_TOKEN_S

from .model import Family, Turn

HANDLE_CHARS = 26
SECRET_CHARS = 52
_TOKEN = re.compile(r"rft_([a-z][a-z0-9]{0,15})_([0-9a-hjkmnp-tv-z]{26})([0-9a-hjkmnp-tv-z]{52})")


class RefreshToken(NamedTuple):
    """A refresh token in its parts.  `handle` stays for the whole family, `secret` changes."""

    region: str
    handle: str
    secret: str

    def text(self) -> str:
        return f"rft_{self.region}_{self.handle}{self.secret}"

    def handle_hash(self) -> str:
        return _hash("handle", self.handle)

    def secret_hash(self) -> str:
        return _hash("secret", self.handle + self.secret)


def parse_refresh_token(text: str) -> RefreshToken:
    """The parts of a refresh token, or `Refused` (401, `token_invalid`)."""
    match = _TOKEN.fullmatch(text) if len(text) <= 200 else None
    if match is None:
        raise Refused("token_invalid", "this is not a refresh token", status=401)
    return RefreshToken(*match.groups())


def first_token(region: str, random: bytes) -> RefreshToken:
    """The first token of a family, from 48 random bytes."""
    assert len(random) == 48
    handle = base32(int.from_bytes(random[:16], "big"), HANDLE_CHARS)
    return RefreshToken(region, handle, base32(int.from_bytes(random[16:], "big"), SECRET_CHARS))


def successor(token: RefreshToken, region_secret: bytes) -> RefreshToken:
    """The one token that follows `token`."""
    digest = hmac.new(region_secret, f"{token.handle}{token.secret}".encode(), hashlib.sha256).digest()
    return token._replace(secret=base32(int.from_bytes(digest, "big"), SECRET_CHARS))


def new_family(token: RefreshToken, sid: str, person: str, now: float) -> Family:
    """The row of a session that begins with `token`."""
    return Family(
        handle=token.handle_hash(),
        sid=sid,
        person=person,
        secret=token.secret_hash(),
        previous=None,
        turned_at=now,
        made_at=now,
        expires_at=now + REFRESH_TOKEN_S,
    )


def decide_turn(family: Family | None, presented: str, following: str, now: float) -> Turn:
    """What comes of presenting the secret with hash `presented`, whose successor's hash is `following`."""
    if family is None:
        return Turn(verdict="unknown")
    if now >= family.expires_at:
        return Turn(verdict="expired")
    if hmac.compare_digest(presented, family.secret):
        kept = Family(
            handle=family.handle,
            sid=family.sid,
            person=family.person,
            secret=following,
            previous=presented,
            turned_at=now,
            made_at=family.made_at,
            expires_at=now + REFRESH_TOKEN_S,
        )
        return Turn(verdict="rotated", family=kept)
    recent = family.previous is not None and now - family.turned_at <= REFRESH_GRACE_S
    if recent and hmac.compare_digest(presented, family.previous or ""):
        return Turn(verdict="replayed", family=family)
    return Turn(verdict="reused")


def _hash(use: str, text: str) -> str:
    return hashlib.sha256(f"moonbow refresh {use} {text}".encode()).hexdigest()
