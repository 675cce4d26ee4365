"""A first start: secrets, signing keys, and a demo company with people in every region, ready to sign in.

`python -m moonbow.directory.seed --state STATE`.  It plays every region in turn, which only the one who has all of
them on one machine can.  Safe to run again: what stands is left, what is missing is added, so an interrupted run is
mended by the next.  The operator's list of logins and pass-phrases is STATE/world/demo.json (mode 0600).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from moonbow.base.files import write_private
from moonbow.base.ids import new_id
from moonbow.federation.shared import NOTHING, PAGE_MAX
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_directory, open_keys
from moonbow.vault.ports import Keys
from moonbow.wire.shared import PublicKey
from moonbow.world import World, load_world

from .demo import Demo, DemoCompany, DemoPerson, plan_demo
from .jwks import render_jwks, write_jwks
from .keys import KeyRing
from .login import LoginKey, login_key_path, normal_login, read_login_key
from .model import CompanyRow, PersonRow
from .passwords import hash_password
from .ports import Store
from .process import open_regions

Stores = dict[str, Store]


async def seed(state: Path, now: float) -> Demo:
    """Make what the world in `state` lacks for its first start; the demo's people, with their pass-phrases."""
    world = load_world(state / "world.toml")
    _make_login_keys(world, state)
    demo = _demo(world, state / "world" / "demo.json")
    stores: Stores = {}
    keys: dict[str, Keys] = {}
    try:
        for region in world.regions:
            stores[region] = open_directory(world, state, HomeRegion(region))
            keys[region] = open_keys(world, state, HomeRegion(region))
            await _announce_keys(region, state, stores[region], now)
        for company in demo.companies:
            await _seed_company(world, state, company, stores, keys, now)
        await _copy_logs(open_regions(world), stores)
        for ref in world.sites():
            if ref.site.kind != "witness":
                content = render_jwks(await stores[ref.region].shared.keys())
                write_jwks(state / "sites" / ref.site.name / "jwks.json", content)
    finally:
        for store in stores.values():
            await store.close()
        for of_region in keys.values():
            await of_region.close()
    return demo


def _make_login_keys(world: World, state: Path) -> None:
    for name, region in world.regions.items():
        path = login_key_path(state, name, region.sealed)
        (state / "regions" / name / "keys").mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_private(path, secrets.token_hex(32).encode())


def _demo(world: World, path: Path) -> Demo:
    """The demo as written by an earlier run, else a new one, written before anything is made of it."""
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Demo)
    demo = plan_demo(world, secrets.choice, lambda region: new_id("org", region))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, msgspec.json.format(msgspec.json.encode(demo), indent=2))
    return demo


async def _announce_keys(region: str, state: Path, store: Store, now: float) -> None:
    ring = KeyRing(region, state / "regions" / region / "keys")
    ring.open(now)
    await store.shared.append([PublicKey(region=region, kid=key.kid, x=key.x, version=0) for key in ring.files], now)


async def _seed_company(
    world: World, state: Path, company: DemoCompany, stores: Stores, keys: dict[str, Keys], now: float
) -> None:
    key = read_login_key(login_key_path(state, company.home, world.regions[company.home].sealed))
    await stores[company.home].put_company(CompanyRow(id=company.id, name=company.name))
    missing = [
        person for person in company.people if await stores[person.region].credential(key.hash(person.login)) is None
    ]
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        hashes = list(pool.map(hash_password, [person.password for person in missing]))
    for person, password in zip(missing, hashes, strict=True):
        row = _row(company.id, person, key, now)
        await stores[company.home].claim_login(company.id, row.login_hash, key.id, person.region, now)
        await keys[person.region].provide(row.id, company.id)
        await stores[person.region].create_person(row, password)


def _row(company: str, person: DemoPerson, key: LoginKey, now: float) -> PersonRow:
    return PersonRow(
        id=new_id("usr", person.region),
        company=company,
        name=person.name,
        role=person.role,
        login=normal_login(person.login),
        login_hash=key.hash(person.login),
        made_at=now,
    )


async def _copy_logs(regions: frozenset[str], stores: Stores) -> None:
    """Give every open region every other's log, as the shared plane would do in a moment."""
    for origin in regions:
        for copier in regions - {origin}:
            head = (await stores[copier].shared.heads()).get(origin, NOTHING)
            while entries := await stores[origin].shared.tail(origin, head.epoch, head.seq, PAGE_MAX):
                head = await stores[copier].shared.apply(origin, entries)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the secrets and the demo company of a first start.")
    parser.add_argument("--state", type=Path, default=Path(".state"), help="the world's folder")
    asyncio.run(seed(parser.parse_args().state, time.time()))


if __name__ == "__main__":
    main()
