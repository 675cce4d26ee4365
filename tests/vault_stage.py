"""Vaults for tests: the real table of keys and the real key file, in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from moonbow.base.ids import base32
from moonbow.stores import vault_sql
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql
from moonbow.stores.vault_sql import VaultSql
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.process import Vault

REGION = "emea"


def rows_in(folder: Path, region: str = REGION) -> VaultSql:
    return VaultSql(Sql.sqlite(folder / "keys.db", HomeRegion(region), vault_sql.TABLES))


def vault_in(folder: Path, region: str = REGION) -> Vault:
    return Vault(region, rows_in(folder, region), RegionKeyFile(folder / "region.key", region))


def person(number: int, region: str = REGION) -> str:
    return f"usr_{region}_{base32(number)}"


def company(number: int, region: str = REGION) -> str:
    return f"org_{region}_{base32(number)}"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


Now = Callable[[], float]
