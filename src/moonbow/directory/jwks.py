"""`jwks.json` of a site: the public keys of all regions, as its doors check tokens with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from moonbow.base.files import write_private
from moonbow.wire.shared import PublicKey
from moonbow.world import World


def render_jwks(keys: Iterable[PublicKey]) -> bytes:
    """`{"<region>": [{"kid": …, "x": …}, …]}`, regions and keys in order, so that equal keys give equal bytes."""
    table: dict[str, list[dict[str, str]]] = {}
    for key in sorted(keys, key=lambda key: (key.region, key.kid)):
        if not key.gone:
            table.setdefault(key.region, []).append({"kid": key.kid, "x": key.x})
    return msgspec.json.encode(table)


def jwks_paths(world: World, state: Path, site: str) -> tuple[Path, ...]:
    """The files that a gateway of `site` keeps: its own, and those of its region's edges that lie on this machine."""
    region = world.site(site).region
    edges = (ref.site.name for ref in world.sites() if ref.region == region and ref.site.kind == "edge")
    found = [name for name in edges if (state / "sites" / name).is_dir()]
    return tuple(state / "sites" / name / "jwks.json" for name in (site, *found))


def write_jwks(path: Path, content: bytes) -> bool:
    """Replace the file if it says something else; whether it did."""
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, content)
    return True
