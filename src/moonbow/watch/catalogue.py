"""The closed list of what may rest under a state folder: every file, table and column, and whose it may be.

What is not in it is a finding (`unknown_file`, `unknown_table`, `unknown_column`), so nothing can be added to the
house without being added here.  A new engine adds its entries and, if its rows are read another way, a walker.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec

from .model import DataClass

Content = Literal["opaque", "sqlite", "text", "json_log", "door_log", "bus_config", "sealed"]
WHILE_USED = "as long as it is used"
STAYS = "until it is erased"
LOGS = "20 MB a process"
Kind = Literal[
    "own", "opaque", "stream", "key", "text", "number", "word", "region", "regions", "record", "effect", "path"
]


class Column(NamedTuple):
    """What a column may hold.

    own: an id of one of `kinds`, at home here.  opaque: such an id of any region.  stream: a stream's id that may rest
    here.  key: the number of such a stream in its table.  text: what a person wrote, or what proves them: only as
    private as the row it stands in.  word: one of `kinds`.  region(s): names of regions of the world.
    path: what is named in it is at home here.  record: a shared record.  effect: what crosses a
    border.  A word without `kinds` is a code of ours or a number.
    """

    kind: Kind
    kinds: tuple[str, ...] = ()
    null: bool = False
    parts: int = 1  # ids in one value, separated by a bar


def own(*kinds: str, null: bool = False) -> Column:
    """Ids of this region only."""
    return Column("own", kinds, null)


def opaque(*kinds: str, null: bool = False, parts: int = 1) -> Column:
    """Ids of any region: they say where, never who."""
    return Column("opaque", kinds, null, parts)


def words(*known: str, null: bool = False) -> Column:
    """One of a few words of ours."""
    return Column("word", known, null)


STREAM, KEY, TEXT, NUMBER, RECORD, EFFECT, PATH = (
    Column("stream"), Column("key"), Column("text", null=True), Column("number", null=True), Column("record"),
    Column("effect"), Column("path"),
)  # fmt: skip
REGION, REGIONS = Column("region"), Column("regions")
FATES = words("placed", "kept", "refused", "done", "noop")
CODE = Column("word", (), True)


class Table(NamedTuple):
    """A table of a store: its class, its columns, which of them name a row to people (ids only), how long rows stay."""

    data: DataClass
    columns: dict[str, Column]
    key: tuple[str, ...]
    retention: str = STAYS


ROW_KINDS = words("entry", "redaction", "join", "leave", "erasure", "added", "removed", "kept", "placed", "refused")
OURS = Column("word", ("{region}",))
ABOUT = {  # in every database of its own
    "made_for": Table("configuration", {"one": NUMBER, "region": OURS}, ("one",), "as the store"),
    "layout": Table("configuration", {"one": NUMBER, "version": NUMBER, "oldest": NUMBER}, ("one",), "as the store"),
}
_TIMELINE = {
    **ABOUT,
    "meta": Table("configuration", {"epoch": NUMBER}, ("epoch",), "as the store"),
    "stream": Table(
        "order",
        {
            "key": NUMBER, "id": STREAM, "head": NUMBER, "no": NUMBER, "creator": opaque("usr"),
            "card": opaque("ent", null=True), "regions": REGIONS, "pair": opaque("usr", null=True, parts=2),
            "erasures": NUMBER,
        },
        ("id",),
    ),
    "order_row": Table(
        "order",
        {
            "stream": KEY, "seq": NUMBER, "kind": ROW_KINDS, "entry": opaque("ent", null=True),
            "author": opaque("usr", null=True), "target": opaque("usr", "ent", "rom", "dir", null=True), "no": NUMBER,
            "at": NUMBER, "gone": NUMBER, "detail": CODE, "placed": NUMBER,
        },
        ("stream", "seq"),
    ),
    "span": Table(
        "order", {"stream": KEY, "person": opaque("usr"), "joined": NUMBER, "left": NUMBER}, ("stream", "person")
    ),
    "post": Table(
        "private",
        {
            "entry": own("ent"), "author": own("usr"), "client_id": TEXT, "mark": TEXT, "room": opaque("rom", "dir"),
            "state": FATES, "seq": NUMBER, "code": CODE, "early": NUMBER, "body": NUMBER,
        },
        ("entry",),
    ),
    "seat": Table(
        "private",
        {"person": own("usr"), "room": opaque("rom", "dir"), "read": NUMBER, "invited": NUMBER},
        ("person", "room"),
    ),
    "outbox": Table(
        "order",
        {"dest": REGION, "stream": opaque("rom", "dir", "inb"), "out_no": NUMBER, "effect": EFFECT},
        ("dest", "stream", "out_no"),
        "until the other region has it",
    ),
    "out_no": Table(
        "order", {"dest": REGION, "stream": opaque("rom", "dir", "inb"), "last": NUMBER}, ("dest", "stream")
    ),
    "applied": Table(
        "order",
        {
            "source": REGION, "epoch": NUMBER, "stream": opaque("rom", "dir", "inb"), "out_no": NUMBER, "state": FATES,
            "seq": NUMBER, "code": CODE,
        },
        ("source", "stream", "out_no"),
        "the last of each queue",
    ),
    "gone": Table("order", {"person": opaque("usr")}, ("person",), "for ever, so that nothing comes back"),
    "body": Table("private", {"key": NUMBER, "entry": own("ent"), "text": TEXT}, ("key", "entry")),
    "timeline_meta": Table(
        "configuration",
        {"one": NUMBER, "made_for": OURS, "version": NUMBER, "epoch": NUMBER},
        ("one",),
        "as the store",
    ),
}  # fmt: skip
_NAMELESS = {"_id": TEXT}  # MongoDB's own number
_MONGODB = {
    "meta": Table("configuration", {"_id": words("region", "layout", "epoch"), "value": CODE}, (), "as the store"),
    "stream": Table(
        "order",
        {
            "_id": STREAM, "head": NUMBER, "no": NUMBER, "creator": opaque("usr"), "card": opaque("ent", null=True),
            "regions": REGIONS, "pair": opaque("usr", null=True, parts=2), "turn": NUMBER,
        },
        ("_id",),
    ),
    "order_row": Table(
        "order", {**_NAMELESS, **_TIMELINE["order_row"].columns, "stream": STREAM}, ("stream", "seq")
    ),
    "span": Table("order", {**_NAMELESS, **_TIMELINE["span"].columns, "stream": STREAM}, ("stream", "person")),
    "post": Table(
        "private",
        {**_TIMELINE["post"].columns, "_id": own("ent"), "body": TEXT},
        ("_id",),
    ),
    **{
        name: _TIMELINE[name]._replace(columns={**_NAMELESS, **_TIMELINE[name].columns})
        for name in ("seat", "outbox", "out_no", "applied")
    },
    "gone": Table("order", {"_id": opaque("usr")}, ("_id",), "for ever, so that nothing comes back"),
}  # fmt: skip
ROLES = words("owner", "admin", "member", "guest")
_DIRECTORY = {
    **ABOUT,
    "company": Table("private", {"id": own("org"), "name": TEXT}, ("id",)),
    "person": Table(
        "private",
        {
            "id": own("usr"), "company": opaque("org"), "name": TEXT, "role": ROLES,
            "login": TEXT, "login_hash": TEXT, "made_at": NUMBER, "sort": TEXT,
        },
        ("id",),
    ),
    "credential": Table("secret", {"login_hash": TEXT, "person": own("usr"), "password": TEXT}, ("person",)),
    "family": Table(
        "secret",
        {
            "handle": TEXT, "sid": own("fam"), "person": own("usr"), "secret": TEXT, "previous": TEXT,
            "turned_at": NUMBER, "made_at": NUMBER, "expires_at": NUMBER,
        },
        ("sid",),
        "30 days after its last use",
    ),
    "revocation": Table(
        "private",
        {"no": NUMBER, "person": own("usr"), "sid": TEXT, "before_at": NUMBER},
        ("no", "person"),
        "20 minutes",
    ),
    "counter": Table("configuration", {"name": CODE, "last": NUMBER}, ("last",), "as the store"),
    "erasure": Table(
        "proof",
        {
            "person": own("usr"), "company": opaque("org", null=True), "asked_at": NUMBER, "counts": TEXT,
            "receipt": TEXT,  # no company of an erasure that a restore has carried out again
        },
        ("person",),
        "for ever: who asked may ask again",
    ),
    "login_owner": Table("private", {"login_hash": TEXT, "company": own("org")}, ("company",)),
    "release": Table(
        "private",
        {"no": NUMBER, "login_hash": TEXT, "company": opaque("org")},
        ("no", "company"),
        "until the company's home has it",
    ),
    "erased": Table("order", {"person": own("usr"), "at": NUMBER}, ("person",), "for ever, so that nothing comes back"),
    "shared_head": Table("shared", {"origin": REGION, "epoch": NUMBER, "seq": NUMBER}, ("origin",)),
    "shared_log": Table(
        "shared",
        {"origin": REGION, "epoch": NUMBER, "seq": NUMBER, "record": RECORD},
        ("origin", "seq"),
    ),
    "shared": Table(
        "shared",
        {"kind": words("login", "company", "key"), "key": TEXT, "origin": REGION, "record": RECORD},
        ("kind", "origin"),
    ),
}  # fmt: skip
_KEYS = {
    **ABOUT,
    "company_key": Table(
        "secret",
        {
            "company": opaque("org"),
            "key": opaque("key"),
            "region_key": opaque("key"),
            "wrapped": TEXT,
            "revoked": NUMBER,
        },
        ("company",),
        "until it is rotated",
    ),
    "person_key": Table(
        "secret",
        {"person": own("usr"), "company": opaque("org"), "key": opaque("key"), "secret": NUMBER},
        ("person",),
    ),
    "key_secret": Table("secret", {"no": NUMBER, "wrapped": TEXT}, ("no",)),
    "key_changes": Table("configuration", {"one": NUMBER, "number": NUMBER}, ("one",), "as the store"),
}
_FILES = {
    **ABOUT,
    "file": Table(
        "private",
        {
            "id": own("fil"), "owner": own("usr"), "name": TEXT, "size": NUMBER, "received": NUMBER, "state": CODE,
            "type": TEXT, "made_at": NUMBER, "expires_at": NUMBER, "parts": NUMBER, "reason": CODE, "width": NUMBER,
            "height": NUMBER, "thumbnail": NUMBER, "tries": NUMBER, "due_at": NUMBER, "gone": NUMBER,
            "client_id": TEXT,
        },
        ("id",),
        "until it is deleted or expires",
    ),
    "file_part": Table(
        "private",
        {"file": own("fil"), "start": NUMBER, "size": NUMBER, "attempt": CODE},
        ("file", "start"),
        "as its file",
    ),
    "file_share": Table(
        "private",
        {"file": own("fil"), "client_id": TEXT, "room": opaque("rom", "dir")},
        ("file", "room"),
        "as its file",
    ),
    "avatar": Table(
        "private",
        {"person": own("usr"), "tag": TEXT, "type": TEXT, "size": NUMBER, "made_at": NUMBER},
        ("person",),
        "until it is replaced",
    ),
    "file_keeper": Table("private", {"person": own("usr"), "turns": NUMBER}, ("person",)),
}  # fmt: skip
_OBJECTS = {  # SeaweedFS's own layout: a name in a folder, and where the parts of its content lie
    "filemeta": Table("private", {"dirhash": NUMBER, "name": PATH, "directory": PATH, "meta": TEXT}, ("dirhash",)),
}
STORES: dict[str, dict[str, Table]] = {
    "timeline": _TIMELINE,
    "mongodb": _MONGODB,
    "directory": _DIRECTORY,
    "keys": _KEYS,
    "files": _FILES,
    "cluster": {**_TIMELINE, **_DIRECTORY, **_KEYS, **_FILES},  # all in the one database of a region's cluster
    "objects": _OBJECTS,
}


class File(msgspec.Struct, frozen=True, dict=True):
    """Files of one kind: `pattern` is a path under the state folder with `{region}`, `{site}`, `*`, `**` (any depth).

    `content` says how they are looked into; `store` which tables are in them.  `person`: whose ids may stand in it,
    nobody's, those of the region, or anybody's.
    """

    pattern: str
    data: DataClass
    what: str
    retention: str = WHILE_USED
    content: Content = "opaque"
    engine: str = "file"
    store: str = ""
    person: Literal["nobody", "home", "anybody"] = "nobody"

    @cached_property
    def matcher(self) -> re.Pattern[str]:
        """The pattern as a regular expression with groups `region` and `site`."""
        text = re.escape(self.pattern).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
        for name in ("region", "site"):
            text = text.replace(rf"\{{{name}\}}", f"(?P<{name}>[a-z][a-z0-9]{{0,15}})")
        return re.compile(text)


def _database(name: str, data: DataClass, what: str) -> tuple[File, ...]:
    path = f"regions/{{region}}/{name}.db"
    main = File(path, data, what, STAYS, "sqlite", "SQLite", name, "anybody")
    log = File(f"{path}-*", data, f"{what}: log", "until written back", "opaque", "SQLite", person="anybody")
    return main, log


FILES: tuple[File, ...] = (
    File("world.toml", "configuration", "world file", content="text"),
    File("launch.lock", "configuration", "the launcher's lock"),
    File("control.sock", "configuration", "the operator's socket"),
    File("overrides.json", "operator", "orders in force: who of the operators, and why"),
    File("pki/*.crt", "shared", "certificates", "10 years at most"),
    File("pki/*.key", "secret", "keys of certificates", "10 years at most"),
    File("secrets/login.key", "secret", "key of logins' hashes"),
    File("regions/{region}/keys/login.key", "secret", "key of logins' hashes of a sealed region"),
    *_database("timeline", "private", "streams, bodies, cursors"),
    *_database("directory", "private", "people, credentials, the shared plane"),
    *_database("keys", "secret", "wrapped keys of people and companies"),
    *_database("files", "private", "what is known of files"),
    File("regions/{region}/objects/**", "private", "what files hold", STAYS, person="anybody"),
    File("regions/{region}/timeline.lock", "configuration", "the writers' lock"),
    File("regions/{region}/backup.lock", "configuration", "the backups' lock"),
    File("regions/{region}/.backup/*", "private", "a database's copy", "while a backup runs", person="anybody"),
    File("regions/{region}/keys/key_*.json", "secret", "keys that sign access tokens"),
    File("regions/{region}/keys/*.lock", "configuration", "the keys' locks"),
    File(
        "regions/{region}/keys/region.key", "secret", "the region's key, that wraps companies'", "until 30 days retired"
    ),
    File("regions/{region}/keys/receipt.key", "secret", "key that signs receipts of erasures"),
    File("regions/{region}/keys/objects.key", "secret", "key of the objects' store, and of what it encrypts"),
    File("regions/{region}/keys/backup.key", "secret", "key of the region's backups"),
    File("regions/{region}/keys/region.secret", "secret", "the region's secret"),
    File("regions/{region}/keys/audit.key", "secret", "key that signs attestations"),
    File("regions/{region}/keys/audit.pub", "shared", "key that proves attestations"),
    File("regions/.before.{region}/**", "private", "what a restore replaced", "until it is removed", person="anybody"),
    File("regions/.restoring.{region}/**", "private", "what is being restored", "while it runs", person="anybody"),
    File("regions/{region}/attestations/*.json", "proof", "signed attestations", "the last 30", person="home"),
    File("regions/{region}/audit/canaries.json", "proof", "salted marks of canaries", "until others are planted"),
    File("regions/{region}/audit/control-*", "proof", "the scan's own control", "while an audit runs", person="home"),
    File("regions/{region}/audit/copy-*", "private", "a store's copy", "while an audit runs", person="anybody"),
    File("sites/{site}/sql/**", "private", "the cluster's node", STAYS, "opaque", "MariaDB", person="anybody"),
    File("sites/{site}/objects/security.toml", "secret", "keys of the objects' store"),
    File("sites/{site}/objects/s3.json", "secret", "who may speak with the objects' store"),
    File("sites/{site}/objects/*.toml", "configuration", "objects' store"),
    File("sites/{site}/objects/master/**", "configuration", "which volumes there are", engine="SeaweedFS"),
    File("sites/{site}/objects/volumes/*", "private", "what files hold", STAYS, engine="SeaweedFS", person="anybody"),
    File(
        "sites/{site}/backups/{region}/**",
        "private",
        "sealed copies",
        "as `[backup]` says",
        "opaque",
        "archive",
        person="home",
    ),
    File("sites/{site}/jwks.json", "shared", "public keys of tokens", content="text"),
    File("sites/{site}/bus/nats.conf", "configuration", "bus server", content="bus_config"),
    File("sites/{site}/border/nats.conf", "configuration", "border server", content="bus_config"),
    File("sites/{site}/door*/*.json", "configuration", "door"),
    File("sites/{site}/door*/admin.sock", "configuration", "a door's own socket"),
    File("sites/{site}/director/orders.key", "secret", "key of the director's orders", "until the next start"),
    File("sites/{site}/director/*.json", "operator", "the director's decisions and orders"),
    File("sites/{site}/knot/**", "configuration", "name server"),
    File("sites/{site}/logs/*.envoy.jsonl", "log", "a door's own words", LOGS, "text"),
    File("sites/{site}/logs/*.envoy.jsonl.1", "log", "a door's own words", LOGS, "text"),
    File("sites/{site}/logs/door*.jsonl", "log", "requests at a door", LOGS, "door_log"),
    File("sites/{site}/logs/door*.jsonl.1", "log", "requests at a door", LOGS, "door_log"),
    File("sites/{site}/logs/*.jsonl", "log", "a process's log", LOGS, "json_log", person="home"),
    File("sites/{site}/logs/*.jsonl.1", "log", "a process's log", LOGS, "json_log", person="home"),
    File("sites/{site}/logs/objects.log", "log", "the objects' store's log", LOGS, "text", person="home"),
    File("sites/{site}/logs/objects.log.1", "log", "the objects' store's log", LOGS, "text", person="home"),
    File("sites/{site}/logs/*.log", "log", "a bus or name server's log", LOGS, "text"),
    File("sites/{site}/logs/*.log.1", "log", "a bus or name server's log", LOGS, "text"),
    File("world/logs/*.jsonl", "log", "logs of what belongs to no site", LOGS, "json_log"),
    File("world/logs/*.jsonl.1", "log", "logs of what belongs to no site", LOGS, "json_log"),
    File("world/demo.json", "operator", "sign-ins of the demo company, for whoever started it", person="anybody"),
    File("world/seeded", "configuration", "mark of a first start"),
    File("world/internet.sock", "configuration", "the forwarder's socket"),
    File("world/director/*.key", "secret", "keys of DNS answers"),
    File("world/director/*", "shared", "public keys of DNS answers, orders kept"),
    File("world/audit/lock", "configuration", "the audits' lock"),
)
# What a line of a door's log may hold; a test holds it against the doors' own configuration.
DOOR_FIELDS = frozenset({
    "at", "room", "event", "site", "process", "hop", "route", "method", "status", "flags", "home", "network", "cluster",
    "attempts", "duration_ms",
})  # fmt: skip
# What no line of any log may hold: what people wrote, and what lets somebody in.
NEVER_LOGGED = frozenset({
    "body", "text", "title", "login", "password", "token", "secret", "authorization", "cookie", "query", "email",
    "file_name",
})  # fmt: skip
# What names a person or their machine: in logs of their own home only.
LOGGED_AT_HOME = frozenset({"person", "subject", "path", "agent", "user_agent", "address", "client", "client_ip"})
