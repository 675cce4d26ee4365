"""What may rest where: rows by the ids in them, files by their place, lines of logs by their fields."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData

from moonbow.balancer.log import compile_log
from moonbow.balancer.model import Door
from moonbow.base.ids import new_id
from moonbow.bus.policy import render_server
from moonbow.stores.directory_sql import DIRECTORY_TABLES
from moonbow.stores.erasures_sql import ERASURES
from moonbow.stores.files_sql import FILES_TABLES
from moonbow.stores.vault_sql import KEYS
from moonbow.timeline.model import PlaceEntry, encode_effect
from moonbow.timeline.transactions import recovery_notes
from moonbow.watch import policy
from moonbow.watch.catalogue import ABOUT, DOOR_FIELDS, FILES, STORES
from moonbow.wire.shared import CompanyRegions, Login, PublicKey
from moonbow.world import load_world

PLANET = load_world(Path("worlds/planet.toml"))
LAPTOP = load_world(Path("worlds/laptop.toml"))
ROOM, FAR, FAR_JOINED = new_id("rom", "emea"), new_id("rom", "apac"), new_id("rom", "apac")
HERE = policy.here_in(PLANET, "emea", frozenset({FAR_JOINED}), frozenset({1}))
US, THEM, SEALED = new_id("usr", "emea"), new_id("usr", "apac"), new_id("usr", "cn")


def judge(store: str, table: str, here: policy.Here = HERE, **values: object) -> str | None:
    fault = policy.judge_row(STORES[store][table], tuple(values), tuple(values.values()), here)
    return fault.code if fault else None


def test_private_rows_rest_at_home_only() -> None:
    assert judge("timeline", "post", entry=new_id("ent", "emea"), author=US) is None
    assert judge("timeline", "post", entry=new_id("ent", "emea"), author=THEM) == "foreign_record"
    assert judge("timeline", "seat", person=THEM, room=ROOM, read=1, invited=0) == "foreign_record"
    assert judge("directory", "person", id=THEM) == "foreign_record"
    assert judge("directory", "credential", person=THEM) == "foreign_record"
    assert judge("directory", "family", sid=new_id("fam", "emea"), person=THEM) == "foreign_record"


def test_names_in_a_path_are_at_home() -> None:
    path = policy.Column("path")
    for sound in ("/buckets/objects", "", "dGhlIGtleQ==", f"/buckets/objects/{new_id('fil', 'emea')}"):
        assert policy.judge_value(path, sound, HERE) is None
    fault = policy.judge_value(path, f"/buckets/objects/avatars/{new_id('usr', 'apac')}/t", HERE)
    assert fault is not None
    assert (fault.code, fault.of) == ("foreign_record", "apac")


def test_order_rows_rest_where_the_room_is_at_home_or_has_a_member() -> None:
    for room, wanted in ((ROOM, None), (FAR, "foreign_order"), (FAR_JOINED, None), ("a title", "not_an_id")):
        assert judge("timeline", "stream", id=room) == wanted
    assert judge("timeline", "stream", id=new_id("inb", "emea")) is None
    assert judge("timeline", "stream", id=new_id("inb", "apac")) == "foreign_record"
    assert judge("timeline", "order_row", stream=2) == "orphan"


def test_what_a_restore_writes_is_known() -> None:
    assert judge("directory", "erasure", person=US, company="") is None, "whose it was is in no backup any more"
    assert judge("directory", "erasure", person=US, company="Lunar") == "not_an_id"
    assert judge("directory", "erasure", person="", company="") == "not_an_id"
    under = recovery_notes("emea")
    assert judge("timeline", "applied", source="emea", stream=under, state="noop", code="apac") is None
    assert judge("timeline", "applied", source="emea", stream=under, state="done", code="apac") is None


@pytest.mark.parametrize("column", ["entry", "author", "target", "kind", "detail"])
def test_an_order_row_has_no_room_for_what_somebody_wrote(column: str) -> None:
    assert judge("timeline", "order_row", **{column: "Hello, Kenji!"}) in ("not_an_id", "not_a_word")


def test_nothing_of_a_sealed_region_is_named_elsewhere_and_nothing_of_others_there() -> None:
    assert judge("timeline", "span", stream=1, person=THEM) is None
    assert judge("timeline", "span", stream=1, person=SEALED) == "sealed_crossed"
    sealed = policy.here_in(PLANET, "cn", frozenset(), frozenset({1}))
    assert judge("timeline", "span", sealed, stream=1, person=SEALED) is None
    assert judge("timeline", "span", sealed, stream=1, person=US) == "sealed_crossed"
    assert judge("directory", "shared_head", sealed, origin="emea") == "sealed_crossed"


class Body(msgspec.Struct, frozen=True, array_like=True, tag_field="k", tag="body"):
    text: str


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        (Login(hash="h", key_id="k", region="apac", version=1), None),
        (Login(hash="h", key_id="k", region="cn", version=1), "sealed_crossed"),
        (CompanyRegions(company=new_id("org", "na"), home="na", regions=("na", "emea"), version=1), None),
        (PublicKey(region="cn", kid=new_id("key", "cn"), x="x", version=1), "sealed_crossed"),
        (Body(text="Hello"), "not_shared"),
        ("Hello", "not_shared"),
    ],
)
def test_shared_records_are_of_the_closed_list(record: object, wanted: str | None) -> None:
    assert judge("directory", "shared", record=msgspec.msgpack.encode(record)) == wanted


def test_what_waits_for_another_region_is_ids_only() -> None:
    sound = encode_effect(PlaceEntry(new_id("ent", "emea"), US, False))
    assert judge("timeline", "outbox", effect=sound) is None
    assert judge("timeline", "outbox", effect=encode_effect(PlaceEntry("Hello", US, False))) == "not_an_id"
    assert judge("timeline", "outbox", effect=msgspec.msgpack.encode(["say", "Hello"])) == "not_an_effect"


def test_a_table_or_column_that_nobody_entered_is_found() -> None:
    found = list(policy.judge_layout("timeline", {"body": ("key", "text", "note"), "draft": ("id",)}))
    assert [(table, fault.code) for table, fault in found] == [("body", "unknown_column"), ("draft", "unknown_table")]


@pytest.mark.parametrize(
    ("path", "data", "region", "keeps"),
    [
        ("regions/emea/timeline.db", "private", "emea", True),
        ("regions/emea/timeline.db-wal", "private", "emea", True),
        ("regions/emea/keys/.audit.key.1234", "secret", "emea", True),
        ("sites/paris/logs/gateway0.jsonl.1", "log", "emea", True),
        ("sites/capetown/logs/door0.jsonl", "log", "emea", False),
        ("sites/tokyo/door1/lds.json", "configuration", "apac", True),
        ("world/demo.json", "operator", "", False),
        ("sites/frankfurt/objects/volumes/objects_4.dat", "private", "emea", True),
        ("sites/frankfurt/objects/security.toml", "secret", "emea", True),
    ],
)
def test_files_are_known_by_their_place(path: str, data: str, region: str, keeps: bool) -> None:
    where = policy.place_file(LAPTOP, path)
    assert where is not None
    assert (where.file.data, where.region, where.keeps) == (data, region, keeps)


@pytest.mark.parametrize(
    "path",
    ["regions/mars/timeline.db", "sites/mars/jwks.json", "regions/emea/notes.txt", "sites/capetown/timeline.db", "dump.sql",
     "sites/paris/bus/jetstream/R_emea/streams/x.blk", "regions/emea/../apac/timeline.db"],
)  # fmt: skip
def test_files_that_nobody_entered_are_unknown(path: str) -> None:
    assert policy.place_file(LAPTOP, path) is None


def line(log: str, /, **fields: object) -> str | None:
    where = policy.place_file(LAPTOP, log)
    assert where is not None
    fault = policy.judge_log_line(where, msgspec.json.encode(fields))
    return fault.code if fault else None


def test_logs_hold_no_more_than_they_may() -> None:
    door, gateway, edge = "sites/paris/logs/door0.jsonl", "sites/paris/logs/gateway0.jsonl", "world/logs/internet.jsonl"
    assert line(door, route="/v1/rooms/{room}", status=200, network="194.2.0.0/24") is None
    assert line(door, route=f"/v1/rooms/{ROOM}") == "log_id"
    assert line(door, network="194.2.0.7/32") == "log_address"
    assert line(door, path="/v1/rooms") == "log_field"
    assert line(gateway, person=US, address="194.2.0.7", agent="curl") is None
    assert line(edge, person=US) == "log_field"
    assert line(gateway, text="Hello") == "log_field"
    where = policy.place_file(LAPTOP, gateway)
    assert where is not None
    assert (fault := policy.judge_log_line(where, b"Hello")) is not None
    assert fault.code == "log_unreadable"


def test_people_are_named_at_home_only() -> None:
    def names(path: str, person: str) -> str | None:
        where = policy.place_file(LAPTOP, path)
        assert where is not None
        fault = policy.judge_names(LAPTOP, where, f'{{"person": "{person}"}}'.encode())
        return fault.code if fault else None

    assert names("sites/paris/logs/gateway0.jsonl", US) is None
    for path in ("sites/tokyo/logs/gateway0.jsonl", "sites/capetown/logs/door0.jsonl", "world/logs/launcher.jsonl"):
        assert names(path, US) == "foreign_person"


def test_fields_of_a_doors_log_are_those_that_doors_write() -> None:
    ref = LAPTOP.site("paris")
    (access,) = compile_log(Door(LAPTOP, ref, 0, Path("/state")), "door")
    assert set(access["typed_config"]["log_format"]["json_format"]) == DOOR_FIELDS


def test_a_bus_that_may_store_is_found() -> None:
    text = render_server(LAPTOP, LAPTOP.site("paris"), Path("/state"), "bus").encode()
    codes = [
        policy.judge_bus_config(found, text) for found in (text, text + b"jetstream { }\n", text + b"debug: true\n")
    ]
    assert [fault and fault.code for fault in codes] == [None, "bus_store", "bus_config"]


@given(st.sampled_from([column for store in STORES.values() for table in store.values() for column in table.columns.values()]),
       st.one_of(st.none(), st.integers(), st.floats(), st.binary(max_size=40), st.text(max_size=60)))  # fmt: skip
def test_always_judges_whatever_stands_there(column: policy.Column, value: object) -> None:
    fault = policy.judge_value(column, value, HERE)
    assert fault is None or (
        (fault.code and str(value) not in fault.said) or not str(value).strip() or len(str(value)) < 3
    )


def test_every_pattern_names_one_kind_of_file() -> None:
    assert len({file.pattern for file in FILES}) == len(FILES)


@pytest.mark.parametrize(
    ("store", "metadata"),
    [("directory", [*DIRECTORY_TABLES, ERASURES]), ("keys", [KEYS]), ("files", [FILES_TABLES])],
    ids=["directory", "keys", "files"],
)
def test_the_data_map_has_every_table_that_stores_make(store: str, metadata: list[MetaData]) -> None:
    made = {table.name: set(table.columns.keys()) for some in metadata for table in some.sorted_tables}
    known = {name: set(table.columns) for name, table in STORES[store].items() if name not in ABOUT}
    assert made == known
