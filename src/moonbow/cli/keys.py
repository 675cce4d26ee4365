"""`moonbow keys`: revoke, restore and rotate keys of a region, and check receipts of erasures.

A process of its own that opens the region's tables and key files on this machine; running gateways see what it changed
within seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from moonbow.base.errors import ConfigError, Refused
from moonbow.base.ids import home, parse_id
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_erasing, open_keys, open_vault
from moonbow.vault.erasing import Erasing
from moonbow.vault.process import Vault
from moonbow.vault.receipts import Receipt, read_receipt
from moonbow.world import World

from .options import State, world_in

app = typer.Typer(help="Keys with which what people wrote is sealed; receipts of erasures.", no_args_is_help=True)
Company = Annotated[str, typer.Argument(metavar="COMPANY", help="Id of a company, as `status` shows it.")]
Region = Annotated[str, typer.Option("--region", metavar="REGION", help="The region whose keys are meant.")]
T = TypeVar("T")


@app.command()
def status(state: State, region: Region) -> None:
    """Every company's key: what wraps it, how many people's keys it wraps, whether it is revoked."""
    table = Table("Company", "Key", "Wrapped by", "People", "Destroyed", "")
    for found in _with_vault(state, region, Vault.status):
        mark = "[bold red]revoked[/]" if found.revoked else "[green]in force[/]"
        table.add_row(found.company, found.key, found.region_key, str(found.people), str(found.destroyed), mark)
    Console(highlight=False, width=200).print(table)


@app.command()
def revoke(company: Company, state: State, region: Region) -> None:
    """Make everything of a company's people in a region unreadable, within a minute everywhere."""
    _with_vault(state, region, lambda vault: vault.revoke(company))
    _say(f"the key of [bold]{company}[/] is revoked in {region}; `keys restore` takes it back")


@app.command()
def restore(company: Company, state: State, region: Region) -> None:
    """Take a revocation back."""
    _with_vault(state, region, lambda vault: vault.restore(company))
    _say(f"the key of [bold]{company}[/] is in force again in {region}")


@app.command()
def rotate(state: State, region: Region) -> None:
    """Make a new region key and wrap every company's key with it.  Nobody waits, and no text is touched."""
    done = _with_vault(state, region, Vault.rotate)
    _say(f"region key [bold]{done.key}[/] wraps {done.rewrapped} companies' keys")
    for key in done.dropped:
        _say(f"{key}, retired long ago, is deleted")


@app.command()
def receipt(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Id of an erased person.")], state: State
) -> None:
    """Print the signed receipt of an erasure."""
    region = home(parse_id(person, "usr", place="PERSON"))

    async def find(erasing: Erasing) -> str:
        found = await erasing.find(person)
        if found is None or found.receipt is None:
            raise ConfigError(f"there is no receipt for {person}" + (": its erasure is under way" if found else ""))
        return found.receipt

    print(_with_erasing(state, region, find))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A receipt.", exists=True)], state: State, region: Region
) -> None:
    """Check a receipt with the region's key, and say what it says."""
    text = file.read_text()

    async def check(erasing: Erasing) -> Receipt:
        return read_receipt(text, [erasing.public])

    try:
        found = _with_erasing(state, region, check)
    except Refused as refused:
        raise ConfigError(f"{file}: {refused.detail}") from refused
    _say(f"[green]✓[/] {found.person} was erased in {found.region}, asked {found.asked_at}, done {found.done_at}")
    for touched in found.touched:
        _say(f"  {touched.store}: {touched.count} {touched.kind}")
    _say(f"  key destroyed: {found.key or 'none, nothing was sealed'}")


def _with_vault(state: Path, region: str, work: Callable[[Vault], Awaitable[T]]) -> T:
    async def go() -> T:
        vault = open_vault(*_place(state, region))
        try:
            return await work(vault)
        finally:
            await vault.close()

    return asyncio.run(go())


def _with_erasing(state: Path, region: str, work: Callable[[Erasing], Awaitable[T]]) -> T:
    async def go() -> T:
        world, state_, home_ = _place(state, region)
        keys = open_keys(world, state_, home_)
        erasing = open_erasing(world, state_, home_, keys)
        try:
            return await work(erasing)
        finally:
            await erasing.close()
            await keys.close()

    return asyncio.run(go())


def _place(state: Path, region: str) -> tuple[World, Path, HomeRegion]:
    world = world_in(state)
    if region not in world.regions:
        raise ConfigError(f"there is no region {region!r}; the world has {', '.join(world.regions)}")
    if not (state / "regions" / region).is_dir():
        raise ConfigError(f"nothing of region {region} rests in {state}")
    return world, state, HomeRegion(region)


def _say(text: str) -> None:
    Console(highlight=False).print(text, soft_wrap=True)
