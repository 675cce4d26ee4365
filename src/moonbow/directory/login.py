"""Logins: one spelling each, and the hash by which the world knows them without knowing them.

The hash is HMAC-SHA-256 under a secret of the whole world (a sealed region has its own); `key_id` names the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from moonbow.base.errors import ConfigError, Refused

LOGIN_CHARS_MAX = 254


def normal_login(login: str) -> str:
    """The one spelling of `login`: trimmed, NFC, casefolded, NFC again; `Refused` for what cannot be one."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", login.strip()).casefold())
    if not 3 <= len(text) <= LOGIN_CHARS_MAX or any(
        char.isspace() or unicodedata.category(char) in ("Cc", "Cs", "Cn") for char in text
    ):
        raise Refused("login_malformed", "a login is 3 to 254 characters without spaces", place="$.login")
    return text


@dataclass(frozen=True)
class LoginKey:
    """The secret that hashes logins.  Its id is the first 8 hex digits of its SHA-256."""

    secret: bytes

    @property
    def id(self) -> str:
        return hashlib.sha256(self.secret).hexdigest()[:8]

    def hash(self, login: str) -> str:
        """The hash of a login in any spelling, lower-case hex."""
        return hmac.new(self.secret, normal_login(login).encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return f"LoginKey({self.id})"


def login_key_path(state: Path, region: str, sealed: bool) -> Path:
    """Where the secret rests: the world's, or a sealed region's own."""
    return state / "regions" / region / "keys" / "login.key" if sealed else state / "secrets" / "login.key"


def read_login_key(path: Path) -> LoginKey:
    """The secret in the file at `path` (hex); `ConfigError` if it is missing or too short."""
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise ConfigError(f"{path}: the secret that hashes logins is missing ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not hexadecimal") from error
    if len(secret) < 32:
        raise ConfigError(f"{path}: {len(secret)} bytes given, 32 wanted")
    return LoginKey(secret)
