"""Secrets on disk: the key that seals a region's backups, and the small files that go into its archives of keys."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from moonbow.base.errors import Broken, ConfigError
from moonbow.base.files import make_private, write_private
from moonbow.directory.login import login_key_path

KEY_FILE = "backup.key"
KEY_BYTES = 32
LEFT_OUT = ("key_*.json", "region.secret", "*.lock", ".*", KEY_FILE)  # sessions do not outlive a restore
_files = msgspec.json.Decoder(dict[str, bytes])


def provide_key(region: Path) -> bytes:
    """The backup key of the region in this folder, made if it has none."""
    path = region / "keys" / KEY_FILE
    if not path.exists():
        make_private(path.parent)
        write_private(path, secrets.token_hex(KEY_BYTES).encode())
    return read_key(path)


def read_key(path: Path) -> bytes:
    """The key in a file (hex); `ConfigError` if there is none."""
    try:
        key = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise ConfigError(
            f"{path}: the key of the backups cannot be read ({error.strerror}); a copy is given with --key FILE"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: not hexadecimal") from error
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: {len(key)} bytes given, {KEY_BYTES} wanted")
    return key


def pack_secrets(state: Path, region: str) -> bytes:
    """The region's own key files and the secret that hashes logins; not the keys that sign, which are made anew."""
    folder = state / "regions" / region / "keys"
    left_out = {path for pattern in LEFT_OUT for path in folder.glob(pattern)}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in left_out]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    login_key = login_key_path(state, region, False)
    if login_key.exists():
        found["/login.key"] = login_key.read_bytes()
    return msgspec.json.encode(found)


def unpack_secrets(packed: bytes, state: Path, staged: Path, region: str) -> None:
    """Put them back: into `staged`, the region's folder to be; the logins' secret is only compared if there is one."""
    try:
        found = _files.decode(packed)
    except msgspec.MsgspecError as error:
        raise Broken(f"not the keys of a region: {error}") from error
    shared = found.pop("/login.key", None)
    for name, content in found.items():
        path = staged / "keys" / name
        if ".." in path.parts or name.startswith("/"):
            raise Broken(f"{name!r} is no name of a key file")
        make_private(path.parent)
        write_private(path, content)
    _settle_login_key(shared, login_key_path(state, region, False))


def _settle_login_key(content: bytes | None, path: Path) -> None:
    if content is None:
        return
    if not path.exists():
        make_private(path.parent)
        write_private(path, content)
    elif path.read_bytes().strip() != content.strip():
        raise ConfigError(f"{path}: another secret hashes logins here; nobody of the backup could sign in")
