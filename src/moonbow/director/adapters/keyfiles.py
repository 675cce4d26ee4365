"""The secrets of the name server in the state folder: the zone's key, and the root of its cookies.

Both are made where they are missing, readable by their owner only, and refused when others may read them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from moonbow.base.errors import ConfigError
from moonbow.director.codec import name_wire
from moonbow.director.cookies import ROOT_BYTES
from moonbow.director.dnssec import ZoneKey, dnskey_text, ds_text

ZONE_KEY = "zone.key"
COOKIE_ROOT = "cookies.key"
DS = "zone.ds"
DNSKEY = "zone.dnskey"


class Secrets(NamedTuple):
    """What a name server must not show."""

    key: ZoneKey
    cookie_root: bytes


def keep_secrets(folder: Path, domain: str) -> Secrets:
    """The secrets in `folder`, made if they are not there; the DS and DNSKEY records are written beside them.

    `ConfigError` where a file is damaged or readable by others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = _kept(folder / ZONE_KEY, _new_key)
    try:
        private = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{folder / ZONE_KEY}: is not a private key: {error}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ConfigError(f"{folder / ZONE_KEY}: is not a key of ECDSA P-256")
    key, zone = ZoneKey(private), name_wire(domain)
    _write(folder / DS, ds_text(domain, key, zone))
    _write(folder / DNSKEY, dnskey_text(domain, key))
    return Secrets(key, _root(folder / COOKIE_ROOT))


def _root(path: Path) -> bytes:
    try:
        root = bytes.fromhex(_kept(path, lambda: secrets.token_hex(ROOT_BYTES).encode()).decode("ascii").strip())
    except ValueError as error:
        raise ConfigError(f"{path}: is not hexadecimal") from error
    if len(root) != ROOT_BYTES:
        raise ConfigError(f"{path}: has {len(root)} bytes instead of {ROOT_BYTES}")
    return root


def _new_key() -> bytes:
    private = ec.generate_private_key(ec.SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a secret file; of two processes that make it at once, one wins and both read the same."""
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    if (mode := path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path}: may be read by others (mode {mode & 0o777:o}); chmod 600 it, or make a new one")
    return path.read_bytes()


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text)
    part.replace(path)
