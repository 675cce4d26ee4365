"""The files that a knotd of ours reads: its configuration and its views; and the records that never change.  Pure.

Sources: Knot DNS 3.2, "Configuration reference" and "Modules" (geoip, rrl, cookies, stats).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .knot_records import DEFAULT, POOLS, SAID_TTL_S, STATE, Key, Owner, RecordSet, Views, service_names
from .model import SERVICES
from .policy import TTL_S
from .zone import NEGATIVE_TTL_S, ZONE_TTL_S, Servers

WHY = "this name server keeps no reasons; ask the director: moonbow explain ADDRESS"
RRSIG_LIFETIME_S = 14 * 86_400
KNOTS_OWN = frozenset({"SOA", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY", "ZONEMD"})
UNCOUNTED = ("request-protocol", "server-operation", "request-bytes", "response-bytes", "reply-nodata")
VIEWS_STATE = f"views.{STATE}"


class KnotSettings(NamedTuple):
    """How one knotd runs.  `folder` holds all of its files; `listen` are (address, port)."""

    folder: Path
    domain: str
    listen: tuple[tuple[str, int], ...]
    servers: Servers
    signed: bool = True
    key: Path | None = None  # the zone's key (PEM), where others sign with it too; without one keymgr makes its own
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
    modules = [name for name, wanted in (("mod-cookies", settings.cookies), ("mod-stats/usual", True)) if wanted]
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
        "mod-stats:",
        "  - id: usual",
        *(f"    {name}: off" for name in UNCOUNTED),
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
        "    module: mod-geoip/buckets",
        "    serial-policy: unixtime",
        "    zonefile-sync: -1",
        "    zonefile-load: none",  # the zone is in the journal, as the last commit left it
        "    journal-content: all",
        f"    dnssec-signing: {'on' if settings.signed else 'off'}",
        "    dnssec-policy: ours",
    ]
    return "\n".join(lines) + "\n"


def fixed_sets(settings: KnotSettings) -> dict[Key, RecordSet]:
    """The records that no decision changes, without the SOA."""
    domain = f"{settings.domain}."
    sets = {
        (domain, "NS"): RecordSet(ZONE_TTL_S, tuple(sorted(f"{label}.{domain}" for label in settings.servers))),
        (domain, "CAA"): RecordSet(ZONE_TTL_S, (f'0 iodef "mailto:hostmaster@{settings.domain}"', '0 issue ";"')),
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
            if mine := tuple(sorted(text for text in addresses if (":" in text) is mark)):
                sets[f"{label}.{domain}", kind] = RecordSet(ZONE_TTL_S, mine)
    return sets


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


def soa_data(settings: KnotSettings, serial: int) -> str:
    """The SOA of a zone that is new; from then on it is Knot's."""
    domain = f"{settings.domain}."
    first = next(iter(settings.servers))
    return f"{first}.{domain} hostmaster.{domain} {serial} 14400 3600 1209600 {NEGATIVE_TTL_S}"


def known_sets(rows: Iterable[tuple[str, str, int, str]]) -> dict[Key, RecordSet]:
    """The record sets of a zone as Knot shows them, without those that Knot makes itself."""
    found: dict[Key, RecordSet] = {}
    for owner, kind, ttl_s, data in rows:
        if kind not in KNOTS_OWN:
            before = found.get((owner, kind))
            found[owner, kind] = RecordSet(ttl_s, tuple(sorted((*(before.data if before else ()), data))))
    return found
