"""DNS cookies: proof that a client can hear us.  RFC 7873, with the server cookies of RFC 9018.

Laws: every process with the same root makes and takes the same cookies; a cookie is good for an hour, and a new one is
given after half of that; the secret changes daily, and the neighbours of the present one are taken, too; nobody
can make us compute more than `COOKIES_PER_S_MAX` of them (beyond that, queries are answered as if without cookies).
"""

from __future__ import annotations

import struct
from hashlib import blake2b

from .codec import CLIENT_COOKIE_BYTES

ROOT_BYTES = 32
DAY_S = 86_400
GOOD_S = 3_600
AHEAD_S = 300  # a clock of ours may run before another of ours
RENEW_S = 1_800
COOKIES_PER_S_MAX = 4_000
SERVER_COOKIE_BYTES = 16
VERSION = b"\x01\0\0\0"

_MASK = 0xFFFFFFFFFFFFFFFF
_WORDS = struct.Struct("<QQ")


class Jar:
    """Makes and checks server cookies.  `tick` tells it the time, once a second or so."""

    def __init__(self, root: bytes, now_s: float = 0.0) -> None:
        if len(root) != ROOT_BYTES:
            raise ValueError(f"the root of cookies has {ROOT_BYTES} bytes, not {len(root)}")
        self._root = root
        self._day = -1
        self._secrets: tuple[bytes, ...] = ()
        self.tick(now_s)

    def tick(self, now_s: float) -> None:
        """Go on to `now_s` (Unix seconds)."""
        self._now = int(now_s)
        self._left = COOKIES_PER_S_MAX
        if (day := self._now // DAY_S) != self._day:
            self._day = day
            self._secrets = tuple(secret_of(self._root, number) for number in (day, day - 1, day + 1))

    def read(self, cookie: bytes, source: bytes) -> tuple[bytes, bool]:
        """(the cookie option's data for the reply, whether the client has shown a good one) for the query's option.

        `source` is the client's packed address.  Empty data where too many are asked for at once.
        """
        client, server = cookie[:CLIENT_COOKIE_BYTES], cookie[CLIENT_COOKIE_BYTES:]
        self._left -= 1
        if self._left < 0:
            return b"", False
        if len(server) == SERVER_COOKIE_BYTES and (age_s := self._age_s(client, server, source)) is not None:
            return (cookie if age_s < RENEW_S else self._make(client, source)), True
        return self._make(client, source), False

    def _age_s(self, client: bytes, server: bytes, source: bytes) -> int | None:
        """How old a server cookie is; None if it is not good.  Age is counted in serial arithmetic (RFC 1982)."""
        age_s = (self._now - int.from_bytes(server[4:8], "big") + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if server[:1] != VERSION[:1] or not -AHEAD_S <= age_s <= GOOD_S:
            return None
        told = client + server[:8] + source
        return age_s if any(siphash24(secret, told) == server[8:] for secret in self._secrets) else None

    def _make(self, client: bytes, source: bytes) -> bytes:
        head = VERSION + (self._now & 0xFFFFFFFF).to_bytes(4, "big")
        return client + head + siphash24(self._secrets[0], client + head + source)


def secret_of(root: bytes, day: int) -> bytes:
    """The 16 bytes that are the secret of one day."""
    return blake2b(day.to_bytes(8, "big", signed=True), key=root, person=b"moonbow cookie", digest_size=16).digest()


def siphash24(key: bytes, data: bytes) -> bytes:
    """SipHash-2-4 (Aumasson, Bernstein), 8 bytes as the reference writes them."""
    k0, k1 = _WORDS.unpack(key)
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    size = len(data)
    padded = data + bytes(7 - size % 8) + bytes([size & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = _rounds(v0, v1, v2, v3 ^ word, 2)
        state = v0 ^ word, v1, v2, v3
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _rounds(v0, v1, v2 ^ 0xFF, v3, 4)
    return (v0 ^ v1 ^ v2 ^ v3).to_bytes(8, "little")


def _rounds(v0: int, v1: int, v2: int, v3: int, count: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        v0 = v0 + v1 & _MASK
        v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
        v0 = (v0 << 32 | v0 >> 32) & _MASK
        v2 = v2 + v3 & _MASK
        v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
        v0 = v0 + v3 & _MASK
        v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
        v2 = v2 + v1 & _MASK
        v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
        v2 = (v2 << 32 | v2 >> 32) & _MASK
    return v0, v1, v2, v3
