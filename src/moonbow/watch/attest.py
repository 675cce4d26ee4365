"""Signed attestations: a region's key, made once; its files, bounded in number; and whether one is what was signed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private

from .model import FORMAT, Attestation, Signed, canonical

KEPT = 30  # attestations of one region
BYTES_MAX = 16 * 1_048_576


def signing_key(state: Path, region: str) -> Ed25519PrivateKey:
    """The region's key for attestations, made with its public half if there is none."""
    path = state / "regions" / region / "keys" / "audit.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate()
        write_private(path, made.private_bytes_raw().hex().encode())
        write_private(path.with_suffix(".pub"), made.public_key().public_bytes_raw().hex().encode())
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def public_key(path: Path) -> str:
    """The public key in a file, in hex; `ConfigError` if it is none."""
    try:
        text = path.read_text().strip()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return text


def sign(attestation: Attestation, key: Ed25519PrivateKey) -> bytes:
    """The bytes of the signed file."""
    public = key.public_key().public_bytes_raw().hex()
    return canonical(Signed(attestation=attestation, key=public, signature=key.sign(canonical(attestation)).hex()))


def verify(content: bytes, public: str) -> Attestation:
    """What was signed with `public`'s other half; `ConfigError` saying what is wrong with anything else.

    The file must be byte for byte what was written.
    """
    try:
        signed = msgspec.json.decode(content, type=Signed)
    except msgspec.DecodeError as error:
        raise ConfigError(f"this is no attestation: {error}") from error
    if signed.attestation.format != FORMAT:
        raise ConfigError(f"this attestation has format {signed.attestation.format}, and this program knows {FORMAT}")
    if signed.key != public:
        raise ConfigError(f"this was signed with another key than that of {signed.attestation.region}")
    if canonical(signed) != content:
        raise ConfigError("this file is not as it was written")
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signed.signature), canonical(signed.attestation))
    except (InvalidSignature, ValueError) as error:
        raise ConfigError("the signature does not fit: this attestation was changed") from error
    return signed.attestation


def keep(state: Path, attestation: Attestation) -> Path:
    """Sign and write an attestation into its region's folder; the oldest beyond `KEPT` go."""
    folder = state / "regions" / attestation.region / "attestations"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = attestation.started_at.replace(":", "").replace("-", "").partition("+")[0]
    path = folder / f"{stamp}.json"
    write_private(path, sign(attestation, signing_key(state, attestation.region)))
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def latest(state: Path, region: str) -> Path | None:
    """The region's last attestation; None if there is none."""
    found = sorted((state / "regions" / region / "attestations").glob("*.json"))
    return found[-1] if found else None


def read_attestation(state: Path, path: Path, key: Path | None = None) -> Attestation:
    """The attestation in a file, checked with `key` or with the public key of the region that it names."""
    try:
        if os.stat(path).st_size > BYTES_MAX:
            raise ConfigError(f"{path}: more than {BYTES_MAX} bytes are no attestation")
        content = path.read_bytes()
        region = msgspec.json.decode(content, type=Signed).attestation.region
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    beside = key or state / "regions" / Path(region).name / "keys" / "audit.pub"
    try:
        return verify(content, public_key(beside))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
