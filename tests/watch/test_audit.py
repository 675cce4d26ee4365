"""A real world is audited clean; then it is broken in every way, and each is found where it is."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from audited_world import Lived, Words, run_audit
from moonbow.base.errors import ConfigError
from moonbow.base.ids import new_id
from moonbow.watch.attest import KEPT, latest, public_key, read_attestation, verify
from moonbow.watch.canaries import make_canary, plant_marks
from moonbow.watch.model import Report
from moonbow.watch.process import audit

pytestmark = pytest.mark.engines


def codes(report: Report) -> set[tuple[str, str]]:
    return {(found.code, found.place) for found in report.findings}


def broken(report: Report) -> set[str]:
    return {control.code for control in report.controls if control.held is False}


def sql(state: Path, region: str, store: str, *statements: str) -> None:
    with closing(sqlite3.connect(state / "regions" / region / f"{store}.db", isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def test_a_running_world_is_clean_and_every_lock_was_tried(lived: Lived) -> None:
    _, planted, code, report = lived
    assert codes(report) == set()
    assert broken(report) == set()
    assert code == 0
    assert {control.code for control in report.controls if control.held} == {
        "control_seen", "canary_at_home", "canary_sealed", "edge_opens_nothing", "foreign_home", "replicator_sends", "replicator_takes",
        "bus_store", "bus_user", "memory_old", "bus_foreign_user", "bus_foreign_subject",
    }  # fmt: skip
    assert not [control for control in report.controls if control.held is None]
    assert report.canaries == sum(map(len, planted.values())) == 10
    rows = {line.what: line.records for line in report.map if line.region == "emea"}
    assert rows["table post"] >= 4
    assert rows["table span"] >= 4
    assert rows["table file"] == 1
    assert rows["what files hold"] >= 1


def test_at_rest_it_is_clean_too_and_says_what_was_not_looked_at(state: Path) -> None:
    code, report = run_audit(state)
    assert (code, codes(report), broken(report)) == (0, set(), set())
    assert {control.place for control in report.controls if control.held is None} == {"paris", "tokyo"}
    assert not list(state.glob("regions/*/audit/copy-*"))
    assert not list(state.glob("regions/*/audit/locks"))


def _foreign_body(state: Path, words: Words) -> None:
    entry, author = new_id("ent", "apac"), new_id("usr", "apac")
    sql(
        state, "emea", "timeline", "INSERT INTO body (key, text) VALUES (9999, 'what somebody in Asia wrote')",
        f"INSERT INTO post VALUES ('{entry}', '{author}', 'c', x'00', '{new_id('rom', 'emea')}', 'placed', 1, NULL, 0, 9999)",
    )  # fmt: skip


def _orphan(state: Path, words: Words) -> None:
    sql(state, "emea", "timeline", "INSERT INTO body (key, text) VALUES (9998, 'whose is this')")


def _foreign_person(state: Path, words: Words) -> None:
    ident = new_id("usr", "emea")
    sql(state, "apac", "directory", f"INSERT INTO person VALUES ('{ident}', '{new_id('org', 'emea')}', 'n', 'member', 'l', 'h', 0, 's')")  # fmt: skip


def _foreign_room(state: Path, words: Words) -> None:
    room = new_id("rom", "apac")
    sql(state, "emea", "timeline", f"INSERT INTO stream VALUES (NULL, '{room}', 0, 0, '{new_id('usr', 'apac')}', NULL, '', NULL)")  # fmt: skip


def _text_in_order(state: Path, words: Words) -> None:
    sql(state, "emea", "timeline", "UPDATE order_row SET target = 'Hello' WHERE kind = 'join'")


def _unknown_table(state: Path, words: Words) -> None:
    sql(state, "emea", "timeline", "CREATE TABLE search (word TEXT, entry TEXT)")


def _unknown_column(state: Path, words: Words) -> None:
    sql(state, "emea", "directory", "ALTER TABLE person ADD COLUMN phone TEXT")


def _made_for_another(state: Path, words: Words) -> None:
    sql(state, "emea", "timeline", "UPDATE made_for SET region = 'apac'")


def _unknown_file(state: Path, words: Words) -> None:
    (state / "regions" / "emea" / "export.csv").write_text("a,b\n")


def _link(state: Path, words: Words) -> None:
    (state / "regions" / "emea" / "timeline.lock").unlink()
    (state / "regions" / "emea" / "timeline.lock").symlink_to("/etc/hostname")


def _jetstream(state: Path, words: Words) -> None:
    (state / "sites" / "paris" / "bus" / "jetstream").mkdir()


def _bus_config(state: Path, words: Words) -> None:
    path = state / "sites" / "paris" / "border" / "nats.conf"
    path.write_text(path.read_text().replace('"private.emea.to.*.>", ', '"private.>", '))


def _bus_store(state: Path, words: Words) -> None:
    with (state / "sites" / "paris" / "bus" / "nats.conf").open("a") as file:
        file.write('jetstream { store_dir: "/tmp/x" }\n')


def _log_of_another(state: Path, words: Words) -> None:
    line = json.dumps({"event": "x", "note": words["emea"]["text"]})
    (state / "sites" / "tokyo" / "logs" / "gateway0.jsonl").write_text(line + "\n")


def _log_at_the_edge(state: Path, words: Words) -> None:
    line = json.dumps({"event": "x", "note": quote(words["emea"]["emoji"])})
    (state / "sites" / "capetown" / "logs" / "door0.envoy.jsonl").write_text(line + "\n")


def _packed(state: Path, words: Words) -> None:
    packed = base64.b64encode(b"x" + words["apac"]["title"].encode()) + gzip.compress(words["apac"]["text"].encode())
    (state / "world" / "director" / "zone.ds").write_bytes(packed)


def _log_without_form(state: Path, words: Words) -> None:
    (state / "sites" / "paris" / "logs" / "gateway0.jsonl").write_text("Traceback (most recent call last):\n")


def _log_says_too_much(state: Path, words: Words) -> None:
    (state / "sites" / "paris" / "logs" / "door0.jsonl").write_text(
        json.dumps({"event": "request", "path": "/v1"}) + "\n"
    )


def _log_names_a_stranger(state: Path, words: Words) -> None:
    line = json.dumps({"event": "x", "who": new_id("usr", "emea")})
    (state / "sites" / "tokyo" / "logs" / "gateway0.jsonl").write_text(line + "\n")


def _damaged(state: Path, words: Words) -> None:
    (state / "regions" / "emea" / "directory.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)


TIMELINE, DIRECTORY = "regions/emea/timeline.db", "regions/emea/directory.db"
Spoil = Callable[[Path, Words], None]
Way = tuple[Spoil, str, str]
WAYS: list[Way] = [
    (_foreign_body, "foreign_record", TIMELINE),
    (_orphan, "orphan_body", TIMELINE),
    (_foreign_person, "foreign_record", "regions/apac/directory.db"),
    (_foreign_room, "foreign_order", TIMELINE),
    (_text_in_order, "not_an_id", TIMELINE),
    (_unknown_table, "unknown_table", TIMELINE),
    (_unknown_column, "unknown_column", DIRECTORY),
    (_made_for_another, "not_a_word", TIMELINE),
    (_unknown_file, "unknown_file", "regions/emea/export.csv"),
    (_link, "unknown_file", "regions/emea/timeline.lock"),
    (_jetstream, "bus_store", "sites/paris/bus/jetstream"),
    (_bus_config, "bus_config", "sites/paris/border/nats.conf"),
    (_bus_store, "bus_store", "sites/paris/bus/nats.conf"),
    (_log_of_another, "foreign_canary", "sites/tokyo/logs/gateway0.jsonl"),
    (_log_at_the_edge, "foreign_canary", "sites/capetown/logs/door0.envoy.jsonl"),
    (_packed, "foreign_canary", "world/director/zone.ds"),
    (_log_without_form, "log_unreadable", "sites/paris/logs/gateway0.jsonl"),
    (_log_says_too_much, "log_field", "sites/paris/logs/door0.jsonl"),
    (_log_names_a_stranger, "foreign_person", "sites/tokyo/logs/gateway0.jsonl"),
    (_damaged, "unreadable", DIRECTORY),
]


@pytest.mark.parametrize("ways", [WAYS[:-2], WAYS[-2:]], ids=["most", "those that hide others"])
def test_what_is_broken_is_found(state: Path, lived: Lived, ways: list[Way]) -> None:
    """Each way breaks something else, so each must be found, and nothing besides."""
    for spoil, _, _ in ways:
        spoil(state, lived.planted)
    report = audit(state)
    assert codes(report) == {(code, place) for _, code, place in ways}
    assert not report.clean


@pytest.mark.long
@pytest.mark.parametrize(("spoil", "code", "place"), WAYS, ids=[way[0].__name__.strip("_") for way in WAYS])
def test_each_way_alone_is_found(state: Path, lived: Lived, spoil: Spoil, code: str, place: str) -> None:
    spoil(state, lived.planted)
    assert codes(audit(state)) == {(code, place)}


def test_findings_say_ids_and_never_what_stands_there(state: Path, lived: Lived) -> None:
    for spoil in (_foreign_body, _orphan, _text_in_order, _log_of_another):
        spoil(state, lived.planted)
    report = audit(state)
    (finding,) = [found for found in report.findings if found.table == "post"]
    assert finding.key.startswith("ent_apac_")
    assert finding.of == "apac"
    written = b"".join((state / path).read_bytes() for path in report.attestations.values())
    for word in (b"somebody in Asia wrote", b"whose is this", b"Hello", lived.planted["emea"]["text"].encode()):
        assert word not in written


def test_a_store_that_opens_for_another_region_is_an_open_lock(state: Path, lived: Lived) -> None:
    _made_for_another(state, lived.planted)
    assert broken(audit(state)) == {"foreign_home"}


def test_an_audit_that_cannot_see_says_so(state: Path) -> None:
    plant_marks(state, "emea", (make_canary("emea", "text", "mbcanary-that-was-never-said-anywhere"),))
    assert broken(audit(state)) == {"canary_at_home"}


def test_where_people_seal_what_they_write_no_canary_stands_in_clear(state: Path) -> None:
    world = state / "world.toml"
    world.write_text(world.read_text().replace("encrypted = false", "encrypted = true"))
    report = audit(state)
    found = {(code, place.removesuffix("-wal")) for code, place in codes(report)}
    assert {("unsealed", TIMELINE), ("unsealed", "regions/emea/files.db")} < found
    assert any(place.startswith("regions/emea/objects/") for _, place in found)
    assert {code for code, _ in found} == {"unsealed"}
    assert broken(report) == {"canary_sealed"}


def test_an_attestation_with_a_changed_byte_is_no_attestation(state: Path) -> None:
    path = state / audit(state).attestations["emea"]
    assert read_attestation(state, path).clean
    content, public = path.read_bytes(), public_key(state / "regions" / "emea" / "keys" / "audit.pub")
    for at in range(0, len(content), 61):
        with pytest.raises(ConfigError):
            verify(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], public)
    for changed in (content.replace(b'"files":', b'"files": ', 1), content[:-1], content + b" "):
        with pytest.raises(ConfigError):
            verify(changed, public)


def test_an_attestation_signed_by_another_key_is_no_attestation(state: Path) -> None:
    path = state / audit(state).attestations["emea"]
    with pytest.raises(ConfigError, match="another key"):
        read_attestation(state, path, state / "regions" / "apac" / "keys" / "audit.pub")


def test_attestations_are_bounded_in_number(state: Path) -> None:
    folder = state / "regions" / "emea" / "attestations"
    for number in range(KEPT + 5):
        (folder / f"2020{number:04}.json").write_bytes(b"{}")
    audit(state)
    assert len(list(folder.iterdir())) == KEPT
    newest = latest(state, "emea")
    assert newest is not None
    assert read_attestation(state, newest).region == "emea"
