"""Signatures of the zone: ECDSA P-256, one key for everything, and "no" said by compact denial.

Sources: RFC 4034 (records, canonical form), RFC 6605 (ECDSA), RFC 6840 (clarifications), RFC 9824 (compact denial).
Laws: signatures of one key over the same records and window are the same bytes wherever they are made; a window always
has more than five days to run; what is kept of signatures is bounded.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .codec import IN, NAME_BYTES_MAX, NSEC, RRSIG
from .recent import Recent

ALGORITHM = 13  # ECDSAP256SHA256
ZONE_AND_ENTRY_KEY = 257
DIGEST_SHA256 = 2
DAY_S = 86_400
HOUR_S = 3_600
WINDOW_DAYS = 7
SIGNATURES_MAX = 16_384  # kept to be given again, about 300 bytes each
SIGNATURES_PER_S_MAX = 5_000  # made because of questions; a tenth of a core

_SIGNATURE_HEAD = struct.Struct("!HBBIIIH")
_FIXED = struct.Struct("!HHI")


class Window(NamedTuple):
    """From when until when signatures are good, Unix seconds."""

    inception: int
    expiration: int


def window_at(now_s: float) -> Window:
    """The window for signatures made now: from an hour before this day (clocks differ) until a week after it began."""
    day = int(now_s) // DAY_S * DAY_S
    return Window(day - HOUR_S, day + WINDOW_DAYS * DAY_S)


class ZoneKey:
    """The zone's key: signs its records, and itself (a "CSK")."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
        self.dnskey = struct.pack("!HBB", ZONE_AND_ENTRY_KEY, 3, ALGORITHM) + point
        self.tag = key_tag(self.dnskey)

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of a signature; always the same for the same data (RFC 6979)."""
        r, s = decode_dss_signature(self._private.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def ds(self, zone: bytes) -> bytes:
        """The data of the DS record that the parent zone publishes."""
        digest = sha256(zone + self.dnskey).digest()
        return struct.pack("!HBB", self.tag, ALGORITHM, DIGEST_SHA256) + digest


def key_tag(dnskey: bytes) -> int:
    """RFC 4034, appendix B."""
    total = sum(byte << 8 if at % 2 == 0 else byte for at, byte in enumerate(dnskey))
    return (total + (total >> 16)) & 0xFFFF


class Exhausted(Exception):
    """More signatures are wanted at once than may be made; ask again over TCP."""


class Signer:
    """Signs record sets of one zone in one window, and remembers what it signed.

    `left` is how many signatures may still be made for questions, until somebody fills it up again.
    """

    def __init__(self, key: ZoneKey, zone: bytes, window: Window) -> None:
        self.key = key
        self.zone = zone
        self.window = window
        self.signed = 0
        self.left = SIGNATURES_PER_S_MAX
        self._known: Recent[bytes, bytes] = Recent(SIGNATURES_MAX)

    def sign(self, owner: bytes, kind: int, ttl_s: int, datas: Iterable[bytes]) -> bytes:
        """The data of the RRSIG over a record set.  `owner` and names within `datas` are lower case, uncompressed."""
        records = canonical(owner, kind, ttl_s, datas)
        return self._known.get(records) or self._sign(owner, kind, ttl_s, records)

    def sign_now(self, owner: bytes, kind: int, ttl_s: int, data: bytes) -> bytes:
        """As `sign` for one record, because somebody asks; `Exhausted` if that happens too often."""
        records = canonical(owner, kind, ttl_s, (data,))
        if found := self._known.get(records):
            return found
        if self.left <= 0:
            raise Exhausted
        self.left -= 1
        return self._sign(owner, kind, ttl_s, records)

    def refill(self) -> None:
        """A second has passed."""
        self.left = SIGNATURES_PER_S_MAX

    def _sign(self, owner: bytes, kind: int, ttl_s: int, records: bytes) -> bytes:
        inception, expiration = self.window
        fields = (kind, ALGORITHM, count_labels(owner), ttl_s, expiration, inception, self.key.tag)
        head = _SIGNATURE_HEAD.pack(*fields) + self.zone
        found = head + self.key.sign(head + records)
        self.signed += 1
        self._known.put(records, found)
        return found


def canonical(owner: bytes, kind: int, ttl_s: int, datas: Iterable[bytes]) -> bytes:
    """A record set as it is signed (RFC 4034, section 6.3)."""
    fixed = owner + _FIXED.pack(kind, IN, ttl_s)
    return b"".join(fixed + len(data).to_bytes(2, "big") + data for data in sorted(set(datas)))


def count_labels(name: bytes) -> int:
    """Labels of a name on the wire, without the root and a leading asterisk (RFC 4034, section 3.1.3)."""
    labels, at = (-1 if name.startswith(b"\x01*") else 0), 0
    while name[at]:
        labels += 1
        at += name[at] + 1
    return labels


def nsec_data(owner: bytes, kinds: Iterable[int]) -> bytes:
    """The data of the NSEC that says: only these types are here, and nothing between here and the next name."""
    return next_name(owner) + type_bitmap((*kinds, RRSIG, NSEC))


def next_name(name: bytes) -> bytes:
    """The name that follows directly in canonical order (RFC 4471): a null label in front.

    Where that would be too long: its first label a byte longer, or else counted up, or else what follows its parent.
    """
    if len(name) + 2 <= NAME_BYTES_MAX:
        return b"\x01\x00" + name
    label, parent = name[1 : name[0] + 1], name[name[0] + 1 :]
    if len(name) < NAME_BYTES_MAX and len(label) < 63:
        return bytes([len(label) + 1]) + label + b"\0" + parent
    kept = label.rstrip(b"\xff")
    if not kept:
        return next_label(parent)
    return _counted_up(kept) + parent


def next_label(name: bytes) -> bytes:
    """The least name that is neither `name` nor below it: its first label made longer by a null byte."""
    label, parent = name[1 : name[0] + 1], name[name[0] + 1 :]
    return bytes([len(label) + 1]) + label + b"\0" + parent if len(label) < 63 else _counted_up(label) + parent


def _counted_up(label: bytes) -> bytes:
    last = label[-1] + 1
    if 0x41 <= last <= 0x5A:  # capitals do not exist in canonical order
        last = 0x5B
    return bytes([len(label)]) + label[:-1] + bytes([last])


def type_bitmap(kinds: Iterable[int]) -> bytes:
    """RFC 4034, section 4.1.2."""
    windows: dict[int, bytearray] = {}
    for kind in kinds:
        bits = windows.setdefault(kind >> 8, bytearray(32))
        bits[(kind & 0xFF) >> 3] |= 0x80 >> (kind & 7)
    parts = ((number, bytes(bits).rstrip(b"\0")) for number, bits in sorted(windows.items()))
    return b"".join(bytes([number, len(bits)]) + bits for number, bits in parts)


def ds_text(domain: str, key: ZoneKey, zone: bytes) -> str:
    """The DS record as the operator hands it to the parent zone."""
    digest = key.ds(zone)[4:].hex().upper()
    return f"{domain}. 3600 IN DS {key.tag} {ALGORITHM} {DIGEST_SHA256} {digest}\n"


def dnskey_text(domain: str, key: ZoneKey) -> str:
    """The DNSKEY record as a validator takes it for a trust anchor."""
    return f"{domain}. 3600 IN DNSKEY {ZONE_AND_ENTRY_KEY} 3 {ALGORITHM} {b64encode(key.dnskey[4:]).decode()}\n"
