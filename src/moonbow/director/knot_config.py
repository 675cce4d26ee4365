"""The files that a knotd of ours reads: its configuration, its zone, and its views.  Pure: values in, text out.

Sources: Knot DNS 3.2, "Configuration reference" and "Modules" (geoip, rrl, cookies, stats).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .knot_records import DEFAULT, POOLS, SAID_TTL_S, STATE, Key, Owner, RecordSet, Views, service_names
from .model import SERVICES
from .policy import TTL_S
from .zone import NEGATIVE_TTL_S, ZONE_TTL_S, Servers

WHY = "this name server keeps no reasons; ask the director: moonbow explain ADDRESS"
RRSIG_LIFETIME_S = 14 * 86_400
VIEWS_STATE = f"views.{STATE}"


class KnotSettings(NamedTuple):
    """How one knotd runs.  `folder` holds all of its files; `listen` are (address, port)."""

    folder: Path
    domain: str
    listen: tuple[tuple[str, int], ...]
    servers: Servers
    signed: bool = True
    cookies: bool = True
    replies_per_s_max: int = 500  # to one network (/24, /56) over UDP; 0: no limit
    udp_workers: int = 1

    @property
    def config(self) -> Path:
        """What `knotd -c` is given."""
        return self.folder / "knot.conf"

    @property
    def socket(self) -> Path:
        """Where knotd is spoken to; sockets' paths are at most 107 bytes long."""
        return self.folder / "run" / "knot.sock"

    @property
    def zone(self) -> Path:
        """The zone as it was after the last decision."""
        return self.folder / "zone.txt"

    @property
    def views(self) -> Path:
        """The geo views."""
        return self.folder / "views.conf"

    @property
    def database(self) -> Path:
        """Networks -> buckets."""
        return self.folder / "buckets.mmdb"

    @property
    def labels(self) -> Path:
        """What the database was made of: the map's digest, and the labels of its buckets."""
        return self.folder / "buckets.json"


def render_config(settings: KnotSettings) -> str:
    """`knot.conf`."""
    folder = settings.folder
    modules = [name for name, wanted in (("mod-cookies", settings.cookies), ("mod-stats", True)) if wanted]
    if settings.replies_per_s_max:
        modules.insert(0, "mod-rrl/usual")
    lines = [
        "server:",
        f'    rundir: "{folder / "run"}"',
        *(f"    listen: {address}@{port}" for address, port in settings.listen),
        '    identity: ""',
        '    version: ""',
        "    edns-client-subnet: on",
        "    answer-rotation: on",
        "    udp-max-payload: 1232",
        f"    udp-workers: {settings.udp_workers}",
        f"    tcp-workers: {settings.udp_workers}",
        "    background-workers: 1",
        "log:",
        "  - target: stderr",
        "    any: notice",
        "database:",
        f'    storage: "{folder / "db"}"',
    ]
    if settings.replies_per_s_max:
        lines += ["mod-rrl:", "  - id: usual", f"    rate-limit: {settings.replies_per_s_max}", "    slip: 2"]
    lines += [
        "mod-geoip:",
        "  - id: buckets",
        f'    config-file: "{settings.views}"',
        f"    ttl: {TTL_S}",
        "    mode: geodb",
        f'    geodb-file: "{settings.database}"',
        "    geodb-key: [ bucket, slice ]",
        "policy:",
        "  - id: ours",  # keys are made once, by keymgr: the geoip module signs its views only when it is loaded
        "    algorithm: ecdsap256sha256",
        "    manual: on",
        f"    rrsig-lifetime: {RRSIG_LIFETIME_S}",
        "template:",
        "  - id: default",
        f"    global-module: [ {', '.join(modules)} ]",
        "zone:",
        f'  - domain: "{settings.domain}"',
        f'    storage: "{folder}"',
        f'    file: "{settings.zone}"',
        "    module: mod-geoip/buckets",
        "    serial-policy: unixtime",
        "    zonefile-sync: -1",  # the file is ours to write
        "    zonefile-load: difference-no-serial",
        "    journal-content: all",
        f"    dnssec-signing: {'on' if settings.signed else 'off'}",
        "    dnssec-policy: ours",
    ]
    return "\n".join(lines) + "\n"


def fixed_sets(settings: KnotSettings) -> dict[Key, RecordSet]:
    """The records that no decision changes, but for the SOA."""
    domain = f"{settings.domain}."
    sets = {
        (domain, "NS"): RecordSet(ZONE_TTL_S, tuple(f"{label}.{domain}" for label in settings.servers)),
        (domain, "CAA"): RecordSet(ZONE_TTL_S, ('0 issue ";"', f'0 iodef "mailto:hostmaster@{settings.domain}"')),
        (f"why.{domain}", "TXT"): RecordSet(ZONE_TTL_S, (f'"{WHY}"',)),
        (f"{VIEWS_STATE}.{domain}", "TXT"): RecordSet(SAID_TTL_S, ('"none"',)),
    }
    for service in SERVICES:
        sets[f"{service}.why.{domain}", "TXT"] = RecordSet(ZONE_TTL_S, (f'"{WHY}"',))
        # What stands here is what a view has where it answers, so that "no such type" is never proved wrongly.
        target = f"{DEFAULT}.{service}.{POOLS}.{domain}"
        for owner in service_names(service, domain):
            if owner != domain:
                sets[owner, "CNAME"] = RecordSet(TTL_S, (target,))
    for label, addresses in settings.servers.items():
        for kind, mark in (("A", False), ("AAAA", True)):
            if mine := tuple(text for text in addresses if (":" in text) is mark):
                sets[f"{label}.{domain}", kind] = RecordSet(ZONE_TTL_S, mine)
    return sets


def render_zone(settings: KnotSettings, decided: Mapping[Key, RecordSet], state: str, serial: int) -> str:
    """The zone file; the serial is the least that the zone may have."""
    domain = f"{settings.domain}."
    first = next(iter(settings.servers))
    times = f"{serial} 14400 3600 1209600 {NEGATIVE_TTL_S}"
    lines = [f"{domain} {ZONE_TTL_S} SOA {first}.{domain} hostmaster.{domain} {times}"]
    for (owner, kind), held in sorted({**fixed_sets(settings), **decided, **state_set(domain, state)}.items()):
        lines += (f"{owner} {held.ttl_s} {kind} {data}" for data in held.data)
    return "\n".join(lines) + "\n"


def state_set(domain: Owner, state: str) -> dict[Key, RecordSet]:
    """The record that says which record sets are in place."""
    return {(f"{STATE}.{domain}", "TXT"): RecordSet(SAID_TTL_S, (f'"{state}"',))}


def render_views(domain: Owner, views: Views, state: str) -> str:
    """The geoip module's file.  Its own state is told at `views._state`, to everybody alike."""
    owners: dict[Owner, list[str]] = {f"{VIEWS_STATE}.{domain}": ['  - geo: "*"', f'    TXT: "{state}"']}
    for (owner, key), rows in sorted(views.items()):
        lines = owners.setdefault(owner, [])
        lines.append(f'  - geo: "{key}"')
        lines += (f"    {kind}: {data}" for kind, data in rows)
    return "".join(f"{owner}:\n" + "\n".join(lines) + "\n" for owner, lines in owners.items())


def parse_zone(text: str) -> list[tuple[str, str, int, str]]:
    """(owner, type, TTL, data) of the lines of a file that `render_zone` wrote."""
    rows = (line.split(" ", 3) for line in text.splitlines())
    return [(row[0], row[2], int(row[1]), row[3]) for row in rows if len(row) == 4 and row[1].isdigit()]


def parse_views(text: str) -> tuple[str, Views]:
    """(state, views) of a file that `render_views` wrote; ("", {}) for any other."""
    views: Views = {}
    state, owner, key = "", "", ""
    for line in text.splitlines():
        name, _, value = line.strip().removeprefix("- ").partition(": ")
        value = value.strip('"')
        if not line.startswith(" "):
            owner = name.removesuffix(":")
        elif name == "geo":
            key = value
        elif name == "TXT":
            state = value
        else:
            views[owner, key] = (*views.get((owner, key), ()), (name, value))
    return state, views


def known_sets(rows: Iterable[tuple[str, str, int, str]], domain: Owner) -> dict[Key, RecordSet]:
    """What decisions made of a zone's records, as Knot shows them: pools, the zone's own addresses, the state."""
    found: dict[Key, RecordSet] = {}
    for owner, kind, ttl_s, data in rows:
        pool = owner.endswith(f".{POOLS}.{domain}") and kind in ("A", "AAAA")
        if pool or (owner == domain and kind in ("A", "AAAA")) or (owner == f"{STATE}.{domain}" and kind == "TXT"):
            before = found.get((owner, kind))
            found[owner, kind] = RecordSet(ttl_s, tuple(sorted((*(before.data if before else ()), data))))
    return found
