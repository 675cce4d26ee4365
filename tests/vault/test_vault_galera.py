"""The tables of keys and of erasures on a real MariaDB Galera node, as two processes have them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from directory_stores import emptied
from galera_cluster import Cluster
from moonbow.stores.erasures_sql import ERASURES, ErasuresSql
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql
from moonbow.stores.vault_sql import KEYS, VaultSql
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.erasing import Erasure
from moonbow.vault.process import Vault
from moonbow.vault.ring import LOOK_S, Ring
from vault_stage import REGION, Clock, company, person

pytestmark = [pytest.mark.engines, pytest.mark.slow]
ADA, BOB, LUNAR = person(1), person(2), company(1)


def test_keys_and_erasures_on_galera(galera_node: Cluster, tmp_path: Path) -> None:
    way, home = emptied(galera_node, "paris"), HomeRegion(REGION)
    file = RegionKeyFile(tmp_path / "region.key", REGION)

    async def go() -> None:
        vault = Vault(REGION, VaultSql(Sql.galera(way, home, KEYS)), file)
        rows = VaultSql(Sql.galera(way, home, KEYS))
        clock = Clock()
        ring = Ring(rows, file, clock)
        await asyncio.gather(*(vault.provide(who, LUNAR) for who in (ADA, BOB, ADA, BOB)))
        sealed = {who: ring.seal(who, "x", b"hello") for who in (ADA, BOB)}
        assert vault.sealer.open(ADA, "x", sealed[ADA]) == b"hello"
        assert (await vault.rotate()).rewrapped == 1
        await vault.revoke(LUNAR)
        clock.at += LOOK_S
        assert ring.open(ADA, "x", sealed[ADA]) is None
        await vault.restore(LUNAR)
        key = await vault.destroy(ADA)
        clock.at += LOOK_S
        assert [ring.open(who, "x", sealed[who]) for who in (ADA, BOB)] == [None, b"hello"]
        await vault.provide(ADA, LUNAR)
        assert await vault.destroy(ADA) == key
        assert [(s.people, s.destroyed) for s in await vault.status()] == [(1, 1)]
        erasures = ErasuresSql(Sql.galera(way, home, ERASURES))
        began = Erasure(ADA, LUNAR, 1_800_000_000.125, {"directory": {"sessions": 2}})
        assert await erasures.begin(began) == await erasures.begin(Erasure(ADA, "", 1.0, {})) == began
        noted = await erasures.note(ADA, "directory", {"sessions": 0, "profile": 1})
        assert noted.counts == {"directory": {"sessions": 2, "profile": 1}}
        assert await erasures.unfinished() == [ADA]
        assert await erasures.finish(ADA, "first") == await erasures.finish(ADA, "second") == "first"
        assert await erasures.unfinished() == []
        for opened in (vault, rows, erasures):
            await opened.close()

    asyncio.run(go())
