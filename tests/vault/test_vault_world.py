"""A real world: what people write is on no disk as they wrote it, unless its region is told not to seal.

Both regions are played at once, one sealed and one not: the second is the control of the first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from conftest_gateway import Scene
from moonbow.vault.receipts import PublicJwk, read_receipt
from moonbow.watch.search import search
from moonbow.world import load_world
from support import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]
SLOT = 2  # where no other test keeps a world
WORLD = """
name = "two"
domain = "moonbow.localhost"
slot = {slot}
[regions.emea]
title = "Europe"
sites = [{{ name = "paris", city = "Paris", at = [48.9, 2.4] }}]
[regions.apac]
title = "Asia"
sites = [{{ name = "tokyo", city = "Tokyo", at = [35.7, 139.7] }}]
[regions.apac.data]
encrypted = false
[traffic]
default = "emea"
"""
SITES = {"emea": "paris", "apac": "tokyo"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("vault")
    file, state = folder / "world.toml", folder / "state"
    file.write_text(WORLD.format(slot=SLOT))
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "moonbow.launch", "--world", str(file), "--state", str(state)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert launcher.stdout is not None
    try:
        said = [json.loads(line) for line in launcher.stdout]
        assert said[-1:] == [{"ready": True}], said[-1:]
        found = Scene(load_world(file), state)
        for site in SITES.values():
            with found.rest(site) as client:
                eventually(lambda c=client: c.get("/healthz").status_code == 200, within_s=30)
        yield found
    finally:
        launcher.terminate()
        launcher.wait(20)
        launcher.stdout.close()


def keys(world: Scene, *words: str) -> subprocess.CompletedProcess[str]:
    """`moonbow keys …` on the running world."""
    program = "import sys; from moonbow.cli.app import run; sys.exit(run())"
    return subprocess.run(
        [sys.executable, "-c", program, "keys", *words, "--state", str(world.state)],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def say(world: Scene, region: str, person: dict[str, Any], text: str) -> tuple[str, str, str]:
    """Say something in a new room: the speaker's id, the room's, and the entry's."""
    session = world.sign_in(SITES[region], person)
    with world.rest(SITES[region], session["access_token"]) as client:
        room = client.post("/v1/rooms", json={"title": text}).json()["id"]
        answer = client.post(f"/v1/rooms/{room}/entries", json={"client_id": str(uuid.uuid4()), "text": text})
        assert answer.status_code == 201, answer.text
        assert answer.json()["state"] == "placed"
        return session["person"]["id"], room, answer.json()["id"]


def shown(world: Scene, region: str, token: str, room: str) -> list[str | None]:
    """The texts of a room's messages."""
    with world.rest(SITES[region], token) as client:
        rows = client.get(f"/v1/rooms/{room}/entries").json()["rows"]
    return [(row["body"] or {}).get("text") for row in rows if row["kind"] == "entry" and row.get("target") is None]


def test_words_are_on_no_disk_unless_the_region_does_not_seal(world: Scene) -> None:
    words = {region: f"canary{uuid.uuid4().hex}" for region in SITES}
    for region, word in words.items():
        say(world, region, world.person(region), word)
    found = search([world.state], words)
    assert not found["emea"], "sealed: neither text nor title"
    assert any("apac" in path.parts for path in found["apac"]), "the control"


def test_a_revoked_company_is_unreadable_within_a_minute_and_comes_back(world: Scene) -> None:
    person = world.person("emea", 1)
    session = world.sign_in("paris", person)
    token, company = session["access_token"], session["person"]["company"]
    _, room, _ = say(world, "emea", person, "for a while")
    assert shown(world, "emea", token, room) == ["for a while"]
    assert keys(world, "revoke", company, "--region", "emea").returncode == 0
    eventually(lambda: shown(world, "emea", token, room) == [None], within_s=20)
    with world.rest("paris", token) as client:
        answer = client.post(f"/v1/rooms/{room}/entries", json={"client_id": str(uuid.uuid4()), "text": "no"})
        assert (answer.status_code, answer.json()["code"]) == (403, "company_key_revoked")
    assert "revoked" in keys(world, "status", "--region", "emea").stdout
    assert keys(world, "rotate", "--region", "emea").returncode == 0
    assert keys(world, "restore", company, "--region", "emea").returncode == 0
    eventually(lambda: shown(world, "emea", token, room) == ["for a while"], within_s=20)
    assert keys(world, "revoke", "org_emea_nobody", "--region", "emea").returncode == 2


def test_an_erased_person_leaves_a_receipt_that_anybody_can_check(world: Scene) -> None:
    owner = world.sign_in("paris", next(p for p in world.people if p["role"] == "owner"))
    member = next(p for p in world.people if p["role"] == "member" and p["region"] == "emea")
    person, room, _ = say(world, "emea", member, "to be forgotten")
    with world.rest("paris", owner["access_token"]) as client:
        assert client.get(f"/v1/people/{person}/erasure").status_code == 404
        done = client.delete(f"/v1/people/{person}")
        assert done.status_code == 202, done.text
        receipt = done.json()["receipt"]
        asked = client.get(f"/v1/people/{person}/erasure").json()
        assert (asked["state"], asked["receipt"]) == ("done", receipt)
    with world.rest("paris") as anybody:
        jwks = anybody.get("/v1/keys").json()["keys"]
        assert anybody.get(f"/v1/people/{person}/erasure").status_code == 401
    said = read_receipt(receipt, [PublicJwk(kid=key["kid"], x=key["x"]) for key in jwks])
    counts = {(found.store, found.kind): found.count for found in said.touched}
    assert said.person == person
    assert counts["timeline", "entries"] >= 2, "the message and the title"
    assert counts["directory", "sessions"] >= 1
    assert counts["vault", "key"] == 1
    shown_by_cli = keys(world, "receipt", person)
    assert receipt in shown_by_cli.stdout
    file = world.state / "receipt.jws"
    file.write_text(receipt)
    assert keys(world, "verify", str(file), "--region", "emea").returncode == 0
    file.write_text(receipt[:-8] + "AAAAAAAA")
    assert keys(world, "verify", str(file), "--region", "emea").returncode == 2
    assert room
