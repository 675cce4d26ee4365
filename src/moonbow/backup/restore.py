"""Puts an archive back, beside the place where the region will look for it; nothing serves before all of it is done.

The region's folder is built whole in `regions/.restoring.<region>` and takes its place by a rename.  Before that a new
epoch begins, everybody's sessions end, and whoever was erased since the archive was taken is erased again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from moonbow.base.errors import Broken, ConfigError
from moonbow.base.files import make_private, write_private
from moonbow.world import Backup

from .model import ERASED, SECRETS, Manifest, Payload, Step, purpose
from .objects import read_index, read_object
from .payload import read_payload
from .policy import newest_keys, restoring_folder
from .ports import Databases, Place
from .secret import KEY_FILE, unpack_secrets
from .shelf import Shelf, genuine_manifest, key_id
from .verify import unseal

HARMLESS = frozenset({"keys", "keys/backup.key", "keys/objects.key", "backup.lock", ".backup"})
_ids = msgspec.json.Decoder(list[str])


@dataclass(frozen=True)
class Order:
    """What to restore from where to where.  `state` is the world's folder that the region will run in."""

    settings: Backup
    region: str
    ident: str
    shelf: Shelf
    key: bytes
    state: Path
    databases: Databases
    now: float
    others: tuple[str, ...] = ()  # regions that hold copies of this one's rooms, and are asked before it serves
    nodes: tuple[str, ...] = ()  # the sites with a node of the region's cluster; the first one's is built here
    stores: tuple[str, ...] = ()  # the sites with a store of the region's objects
    report: Callable[[Step], None] = lambda step: None

    @property
    def folder(self) -> Path:
        """Where the region's data will lie."""
        return self.state / "regions" / self.region

    @property
    def staging(self) -> Path:
        """A state folder of the restore's own, in which the region is built."""
        return restoring_folder(self.state, self.region)

    @property
    def staged(self) -> Path:
        """The region's folder in there."""
        return self.staging / "regions" / self.region

    @property
    def placed(self) -> bool:
        """Whether an earlier restore was broken off between its two renames: then the node is ours, the folder not."""
        return bool(self.nodes) and self.staged.exists() and not node_folder(self.staging, self.nodes[0]).exists()


@dataclass(frozen=True)
class Restored:
    """What was put back: the archive of data, that of keys if one still stands, everybody erased since."""

    data: Manifest
    keys: Manifest | None
    erased: tuple[str, ...]


def node_folder(state: Path, site: str) -> Path:
    """Where a site's node keeps everything."""
    return state / "sites" / site / "sql"


def store_folder(state: Path, site: str) -> Path:
    """Where a site's store of objects keeps everything."""
    return state / "sites" / site / "objects"


def check_empty(order: Order) -> None:
    """`ConfigError` if the region's folder, a node of its cluster or a store of its objects holds anything."""
    for site in order.stores:
        if (store_folder(order.state, site) / "volumes").exists():
            raise ConfigError(*_not_empty(order.region, store_folder(order.state, site), "volumes"))
    for site in order.nodes if not order.placed else ():
        if (node_folder(order.state, site) / "data").exists():
            raise ConfigError(*_not_empty(order.region, node_folder(order.state, site), "data"))
    folder = order.folder
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} if folder.exists() else set[str]()
    if found := sorted(names - HARMLESS):
        raise ConfigError(*_not_empty(order.region, folder, f"{', '.join(found[:3])}{', …' if found[3:] else ''}"))


def _not_empty(region: str, folder: Path, found: str) -> tuple[str, str]:
    return (
        f"{folder}: region {region} is not empty ({found})",
        f"  a restore replaces nothing; if its data are to go, stop the world and move the folder away:"
        f" mv {folder} {folder}.old",
    )


def stage(order: Order) -> None:
    """Make the folder in which the region is built, without anything that an earlier restore has left."""
    if order.placed:
        discard(node_folder(order.state, order.nodes[0]))
    shutil.rmtree(order.staging, ignore_errors=True)
    make_private(order.staged / "keys")


def unpack(order: Order, objects: Place) -> Restored:
    """Build the region in `order.staged`; `objects` writes into it.  `Broken` if the archive is damaged."""
    data = genuine_manifest(order.shelf.root / order.shelf.archive(order.ident).manifest.id, order.key)
    if data.kind != "data" or data.region != order.region:
        raise ConfigError(f"{order.ident} holds {data.kind} of region {data.region}, not data of {order.region}")
    newest = newest_keys(order.settings, order.shelf.archives(), key_id(order.key), order.now)
    keys = genuine_manifest(order.shelf.root / newest.manifest.id, order.key) if newest is not None else None
    for manifest in (data, keys) if keys is not None else (data,):
        _unpack_databases(order, manifest)
    if keys is not None:
        packed = b"".join(_content(order, keys, SECRETS))
        unpack_secrets(packed, order.state, order.staged, order.region)
    _unpack_objects(order, data, objects)
    write_private(order.staged / "keys" / KEY_FILE, order.key.hex().encode())
    return Restored(data, keys, tuple(_erased(order)))


def put_in_place(order: Order) -> None:
    """Make what was built the region's.  Its folder comes last: without it the region is empty, and no world starts
    while another one lies in `order.staged`."""
    if order.nodes:
        built, place = node_folder(order.staging, order.nodes[0]), node_folder(order.state, order.nodes[0])
        shutil.rmtree(place, ignore_errors=True)
        make_private(place.parent)
        built.rename(place)
    away = order.state / "regions" / f".before.{order.region}"
    shutil.rmtree(away, ignore_errors=True)
    if order.folder.exists():
        order.folder.rename(away)
    order.staged.rename(order.folder)
    discard(away)
    discard(order.staging)


def discard(folder: Path) -> None:
    """Remove what nobody needs any more, or a restore that has failed: it holds keys and rows in clear."""
    shutil.rmtree(folder, ignore_errors=True)


def _unpack_databases(order: Order, manifest: Manifest) -> None:
    for payload in manifest.payloads:
        if not payload.rows:
            continue
        copied = order.staging / payload.name
        unseal(_told(order, payload, _content(order, manifest, payload.name)), copied)
        if order.databases.examine(payload.name, copied)[0] != payload.rows:
            raise Broken(f"{payload.name}: other rows than the manifest counts")
        order.databases.place(payload.name, copied, order.staged)


def _told(order: Order, payload: Payload, pieces: Iterable[bytes]) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        done += len(piece)
        order.report(Step(f"restore {payload.name}", done, payload.plain_bytes))
        yield piece


def _unpack_objects(order: Order, data: Manifest, objects: Place) -> None:
    done = 0
    for found in read_index(order.shelf, data, order.key):
        objects.write(found.name, read_object(order.shelf.blobs, found, order.key))
        done += found.bytes
        order.report(Step("restore objects", done, data.object_bytes))


def _erased(order: Order) -> list[str]:
    """Everybody known to be erased: by the list beside the archives, and by every archive that can be opened."""
    found = set(order.shelf.erased())
    for archive in order.shelf.archives():
        if archive.manifest.kind == "data" and archive.manifest.key_id == key_id(order.key):
            manifest = genuine_manifest(order.shelf.root / archive.manifest.id, order.key)
            found.update(_ids.decode(b"".join(_content(order, manifest, ERASED))))
    return sorted(found)


def _content(order: Order, manifest: Manifest, name: str) -> Iterator[bytes]:
    for payload in manifest.payloads:
        if payload.name == name:
            path = order.shelf.file(manifest.id, name)
            return read_payload(path, payload, purpose(manifest.id, name), order.key)
    raise Broken(f"{manifest.id} holds no {name}")
