"""Decides what may rest where: files by their place, rows by the ids in them, lines of logs by their fields.

Laws: what is not in the catalogue is a finding; a private row rests only in the region named in its own id; an order
row only where its room is at home or has, or had, a member; a shared record is of the closed list and neither from nor
to a sealed region; nothing that a finding says is more than ids, places and names of fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import NamedTuple

import msgspec

from moonbow.base.ids import KINDS, home
from moonbow.federation.shared import may_say
from moonbow.timeline.model import decode_effect
from moonbow.wire.shared import SharedRecord
from moonbow.world import World

from .catalogue import DOOR_FIELDS, FILES, LOGGED_AT_HOME, NEVER_LOGGED, STORES, Column, File, Table
from .model import Finding

ID = re.compile(r"([a-z]{3})_([a-z][a-z0-9]{0,15})_([0-7][0-9a-hjkmnp-tv-z]{25})")
IDS_IN_BYTES = re.compile(rb"\b(?:usr|inb|ses|fam)_([a-z][a-z0-9]{0,15})_[0-7][0-9a-hjkmnp-tv-z]{25}")
ANY_ID = re.compile(rb"\b[a-z]{3}_[a-z][a-z0-9]{0,15}_[0-7][0-9a-hjkmnp-tv-z]{25}")
CODE = re.compile(r"[a-z0-9_]{1,40}")
BESIDE = re.compile(r"\.(.+)\.\d+")  # a file on its way to its name, see base/files.py
AT_WITNESSES = ("sites/{site}/backups/", "sites/{site}/objects/")  # sealed copies, encrypted volumes
STORE_WORDS = re.compile(rb"(?m)^\s*(jetstream|store_dir)\b")
_record: msgspec.msgpack.Decoder[SharedRecord] = msgspec.msgpack.Decoder(SharedRecord)


class Where(NamedTuple):
    """A file's place: its entry in the catalogue, the region whose disk it is on (empty: the world's), its site."""

    file: File
    region: str
    site: str
    keeps: bool  # whether a person's data may rest on that disk at all: not on edges


def place_file(world: World, path: str) -> Where | None:
    """What a file under the state folder is; None if the catalogue does not know it."""
    folder, _, name = path.rpartition("/")
    if (beside := BESIDE.fullmatch(name)) is not None:
        path = f"{folder}/{beside[1]}" if folder else beside[1]
    for file in FILES:
        found = file.matcher.fullmatch(path)
        if found is None:
            continue
        names = found.groupdict()
        region, site = names.get("region", ""), names.get("site", "")
        if region and region not in world.regions:
            return None
        kinds = {ref.site.name: (ref.region, ref.site.kind) for ref in world.sites()}
        if site and site not in kinds:
            return None
        if site:
            owner, kind = kinds[site]
            keeps = kind == "primary" or (kind == "witness" and file.pattern.startswith(AT_WITNESSES))
            return Where(file, owner, site, keeps) if region in ("", owner) else None
        return Where(file, region, "", bool(region))
    return None


def region_of(world: World, path: str) -> str:
    """Whose disk a path is on, whatever it is; empty for the world's."""
    parts = path.split("/")
    if parts[0] == "regions" and len(parts) > 1 and parts[1] in world.regions:
        return parts[1]
    sites = {ref.site.name: ref.region for ref in world.sites()}
    return sites.get(parts[1], "") if parts[0] == "sites" and len(parts) > 1 else ""


class Here(NamedTuple):
    """What judging a store's rows needs to know: its region, the world's regions, and which streams may rest here."""

    region: str
    regions: frozenset[str]
    open_regions: frozenset[str]  # those that share with this one, itself included
    streams: frozenset[str]  # ids of foreign rooms with a member here
    keys: frozenset[int]  # numbers of all streams in the table


def here_in(world: World, region: str, streams: frozenset[str], keys: frozenset[int]) -> Here:
    """What is known of a region's store."""
    shares = frozenset(name for name, found in world.regions.items() if not found.sealed)
    return Here(region, frozenset(world.regions), shares if region in shares else frozenset({region}), streams, keys)


class Fault(NamedTuple):
    """What is wrong with a value: the finding's code, a sentence, and whose data it seems to be."""

    code: str
    said: str
    of: str = ""


def judge_layout(store: str, found: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Fault]]:
    """Tables and columns that the data map does not have: the table, and what is wrong."""
    known = STORES[store]
    for table, columns in found.items():
        if table not in known:
            yield table, Fault("unknown_table", "is not in the data map")
            continue
        for column in columns:
            if column not in known[table].columns:
                yield table, Fault("unknown_column", f"column {column} is not in the data map")


def judge_row(table: Table, columns: Sequence[str], row: Sequence[object], here: Here) -> Fault | None:
    """The first thing that is wrong with a row; None if it may rest here."""
    known = table.columns
    for column, value in zip(columns, row, strict=True):
        rule = known.get(column)
        if rule is not None and (fault := judge_value(rule, value, here)) is not None:
            return fault._replace(said=f"{column} {fault.said}")
    return None


def judge_value(rule: Column, value: object, here: Here) -> Fault | None:
    """What is wrong with one value in a column."""
    if rule.kind == "text" or (value in (None, "") and rule.null):
        return None
    match rule.kind:
        case "number":
            return None if isinstance(value, int | float) else Fault("not_a_number", "holds more than a number")
        case "own":
            return _judge_id(rule, value) or _judge_home(str(value), here)
        case "opaque":
            return _judge_opaque(rule, value, here)
        case "stream":
            return _judge_stream(value, here)
        case "key":
            known = isinstance(value, int) and value in here.keys
            return None if known else Fault("orphan", "belongs to no stream of this store")
        case "word":
            return _judge_word(rule, value, here)
        case "region" | "regions":
            return _judge_regions(str(value), here)
        case "record":
            return _judge_record(value, here)
        case "effect":
            return _judge_effect(value)
        case "path":
            return _judge_path(str(value), here)


def _judge_id(rule: Column, value: object) -> Fault | None:
    found = ID.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[1] not in rule.kinds:
        return Fault("not_an_id", f"holds something that is no id of kind {' or '.join(rule.kinds)}")
    return None


def _judge_home(ident: str, here: Here) -> Fault | None:
    where = home(ident)
    return None if where == here.region else Fault("foreign_record", f"is at home in {where}", where)


def _judge_opaque(rule: Column, value: object, here: Here) -> Fault | None:
    parts = str(value).split("|") if rule.parts > 1 else [value]
    for part in parts:
        if (fault := _judge_id(rule, part)) is not None:
            return fault
        if home(str(part)) not in here.open_regions:
            return _crossed(home(str(part)))
    return None


def _crossed(region: str) -> Fault:
    return Fault("sealed_crossed", f"names something of {region}, which shares nothing with this region", region)


def _judge_stream(value: object, here: Here) -> Fault | None:
    if (fault := _judge_id(Column("opaque", ("rom", "dir", "inb")), value)) is not None:
        return fault
    ident = str(value)
    where = home(ident)
    if where == here.region or (ident in here.streams and not ident.startswith("inb_")):
        return None
    code = "foreign_record" if ident.startswith("inb_") else "foreign_order"
    return Fault(code, f"is a stream of {where} without a member here", where)


def _judge_word(rule: Column, value: object, here: Here) -> Fault | None:
    known = [word.replace("{region}", here.region) for word in rule.kinds]
    sound = str(value) in known if known else CODE.fullmatch(str(value)) is not None
    return None if sound else Fault("not_a_word", "holds something that is none of our words")


def _judge_regions(value: str, here: Here) -> Fault | None:
    for name in filter(None, value.split(",")):
        if name not in here.regions:
            return Fault("not_a_region", "holds something that is no region of this world")
        if name not in here.open_regions:
            return _crossed(name)
    return None


def _judge_record(value: object, here: Here) -> Fault | None:
    try:
        record = _record.decode(value if isinstance(value, bytes) else b"")
    except msgspec.DecodeError:
        return Fault("not_shared", "holds something that is not of the closed list")
    origins = (origin for origin in here.open_regions if may_say(origin, record, here.open_regions))
    return (
        None if any(origins) else Fault("sealed_crossed", "is a record that nobody who shares with this region may say")
    )


def _judge_effect(value: object) -> Fault | None:
    try:
        effect = decode_effect(value if isinstance(value, bytes) else b"")
    except msgspec.DecodeError:
        return Fault("not_an_effect", "holds something that may not cross a border")
    for field in msgspec.structs.astuple(effect):
        if isinstance(field, str) and (ID.fullmatch(field) is None or field[:3] not in KINDS):
            return Fault("not_an_id", "carries something that is no id")
    return None


def _judge_path(path: str, here: Here) -> Fault | None:
    faults = (_judge_home(found[0], here) for found in ID.finditer(path) if found[1] in KINDS)
    return next((fault for fault in faults if fault is not None), None)


def judge_log_line(where: Where, line: bytes) -> Fault | None:
    """What is wrong with one line of a log of JSON."""
    try:
        found = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return Fault("log_unreadable", "is not an object of JSON")
    names = NEVER_LOGGED if where.file.person == "home" and where.keeps else NEVER_LOGGED | LOGGED_AT_HOME
    if bad := names.intersection(found):
        return Fault("log_field", f"has the field {min(bad)}")
    if where.file.content == "door_log":
        return _judge_door_line(found, line)
    return None


def _judge_door_line(found: Mapping[str, object], line: bytes) -> Fault | None:
    if more := found.keys() - DOOR_FIELDS:
        return Fault("log_field", f"has the field {min(more)}")
    if ANY_ID.search(line) is not None:
        return Fault("log_id", "holds an id")
    network = found.get("network")
    try:
        narrow = network is not None and ip_network(str(network)).prefixlen not in (24, 48)
    except ValueError:
        narrow = True
    return Fault("log_address", "says more of an address than its network") if narrow else None


def judge_names(world: World, where: Where, content: bytes) -> Fault | None:
    """Ids of people in a file in which they may not stand."""
    if where.file.person == "anybody":
        return None
    for found in IDS_IN_BYTES.finditer(content):
        region = found[1].decode()
        if region in world.regions and not (where.file.person == "home" and where.keeps and region == where.region):
            return Fault("foreign_person", f"names a person of {region}", region)
    return None


def judge_bus_config(found: bytes, wanted: bytes) -> Fault | None:
    """A bus server's configuration as it lies there, against what the world file makes of it."""
    if STORE_WORDS.search(found) is not None:
        return Fault("bus_store", "lets the bus store messages")
    return None if found == wanted else Fault("bus_config", "is not what the world file makes of it")


def as_finding(fault: Fault, place: str, at: str, table: str = "", key: str = "") -> Finding:
    """A fault with its place."""
    return Finding(code=fault.code, place=place, said=fault.said, at=at, of=fault.of, table=table, key=key)
