"""The folder in which a world lives: its layout, and making it ready for the first process."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.director.orders import Orders, encode_orders, parse_orders
from moonbow.world import World, objects_key

from .pki import ensure_pki


def prepare_state(world: World, world_text: str, state: Path) -> None:
    """Make or complete the folders, certificates and secrets of `world` under `state`; `ConfigError` if it cannot.

    What rests in `regions/` is never replaced.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in _folders(world):
            (state / folder).mkdir(mode=0o700, exist_ok=True)
        write_private(state / "world.toml", world_text.encode())
        login_key = state / "secrets" / "login.key"
        if not login_key.exists():
            write_private(login_key, secrets.token_hex(32).encode())
        for region in (name for name, found in world.regions.items() if found.data.objects == "seaweedfs"):
            if not (key := objects_key(state, region)).exists():
                write_private(key, secrets.token_hex(32).encode(), durable=True)
        ensure_pki(world, state)
    except OSError as error:
        raise ConfigError(f"{state}: cannot be prepared: {error}") from error


def _folders(world: World) -> Iterator[str]:
    """Every folder of a state, parents first."""
    yield from ("regions", "sites", "world", "world/logs", "secrets", "pki")
    for region in world.regions:
        yield from (f"regions/{region}", f"regions/{region}/keys")
    for ref in world.sites():
        yield from (f"sites/{ref.site.name}", f"sites/{ref.site.name}/logs")


def read_orders(state: Path) -> Orders:
    """The operator's word as it stands; none if the file is missing."""
    try:
        return parse_orders((state / "overrides.json").read_bytes())
    except FileNotFoundError:
        return Orders()


def write_orders(state: Path, orders: Orders) -> None:
    """Replace the operator's word at once."""
    write_private(state / "overrides.json", encode_orders(orders))
