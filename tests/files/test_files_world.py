"""Files in a real world of two regions: in at one site, on at its sister, out in another region, and nowhere else."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from conftest_gateway import Scene
from support import eventually

from .conftest import command, every_door_leads_home, objects_of

pytestmark = pytest.mark.engines
PART = 1_048_576


class Somebody:
    """A person signed in at a site's door."""

    def __init__(self, world: Scene, site: str, person: dict[str, Any]) -> None:
        self.world, self.site, self.person = world, site, person
        session = world.sign_in(site, person)
        self.token, self.id = session["access_token"], session["person"]["id"]

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        with self.world.rest(self.site, self.token) as client:
            return client.request(method, path, **more)

    def announce(self, name: str, size: int, **more: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/v1/files", json={"name": name, "size": size, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def part(self, ident: str, content: bytes, start: int, end: int) -> httpx.Response:
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
        return self.ask("PUT", f"/v1/files/{ident}/content", content=content[start:end], headers=headers)

    def upload(self, name: str, content: bytes, *, part: int = PART) -> dict[str, Any]:
        made = self.announce(name, len(content))
        for start in range(0, len(content), part):
            answer = self.part(made["id"], content, start, min(start + part, len(content)))
            assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def room(self, *others: Somebody) -> str:
        answer = self.ask("POST", "/v1/rooms", json={"title": "Files", "members": [one.id for one in others]})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def say(self, room: str, text: str, *files: str) -> dict[str, Any]:
        wanted = {"client_id": str(uuid.uuid4()), "text": text, "files": list(files)}
        answer = self.ask("POST", f"/v1/rooms/{room}/entries", json=wanted)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def read(self, ident: str, **more: Any) -> httpx.Response:
        return self.ask("GET", f"/v1/files/{ident}/content", **more)


@pytest.fixture(scope="module")
def ada(world: Scene) -> Somebody:
    return Somebody(world, "paris", world.person("emea", 0))


@pytest.fixture(scope="module")
def ben(world: Scene) -> Somebody:
    return Somebody(world, "frankfurt", world.person("emea", 1))


@pytest.fixture(scope="module")
def yui(world: Scene) -> Somebody:
    return Somebody(world, "tokyo", world.person("apac", 0))


def picture(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((width, height), 60).save(out, "PNG")
    return out.getvalue()


def test_a_file_goes_from_one_person_to_another(ada: Somebody, ben: Somebody) -> None:
    content = os.urandom(2 * PART + 12_345)
    file = ada.upload("notes.bin", content)
    assert (file["state"], file["received"], file["type"]) == ("ready", len(content), "application/octet-stream")
    assert ben.read(file["id"]).status_code == 404, "not before it is shared"
    room = ada.room(ben)
    ada.say(room, "", file["id"])
    page = ben.ask("GET", f"/v1/rooms/{room}/entries").json()
    assert page["rows"][-1]["body"]["files"] == [
        {"id": file["id"], "name": "notes.bin", "type": file["type"], "size": len(content), "thumbnail": False}
    ]
    answer = ben.read(file["id"])
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-disposition"].startswith("attachment;")


def test_a_range_a_tag_and_a_thumbnail(ada: Somebody, ben: Somebody) -> None:
    content = picture(1000, 500)
    file = ada.upload("moon “rise”.png", content)
    assert (file["type"], file["width"], file["height"], file["thumbnail"]) == ("image/png", 1000, 500, True)
    ada.say(ada.room(ben), "", file["id"])
    part = ben.read(file["id"], headers={"Range": "bytes=100-1099"})
    assert (part.status_code, part.content) == (206, content[100:1100])
    assert part.headers["content-range"] == f"bytes 100-1099/{len(content)}"
    assert ben.read(file["id"], headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    whole = ben.read(file["id"])
    assert whole.headers["content-disposition"] == (
        "inline; filename=\"moon _rise_.png\"; filename*=UTF-8''moon%20%E2%80%9Crise%E2%80%9D.png"
    )
    assert whole.headers["content-security-policy"].startswith("sandbox")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert ben.read(file["id"], headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    small = ben.read(file["id"], params={"size": "small"})
    assert Image.open(io.BytesIO(small.content)).size == (320, 160)


def test_an_upload_outlives_its_site_and_is_read_in_another_region(world: Scene, ada: Somebody, yui: Somebody) -> None:
    canary = os.urandom(64)
    content = os.urandom(PART - 500) + canary + os.urandom(PART) + canary + os.urandom(200_000)
    file = ada.announce("canary-7f3a.bin", len(content))
    assert ada.part(file["id"], content, 0, PART).status_code == 200
    command(world, "kill", "paris")
    try:
        away = Somebody(world, "frankfurt", ada.person)
        assert away.ask("GET", f"/v1/files/{file['id']}").json()["received"] == PART
        again = away.part(file["id"], content, 0, PART)
        assert (again.status_code, again.json()["received"]) == (200, PART), "a part whose answer was lost"
        gap = away.part(file["id"], content, 2 * PART, len(content))
        assert (gap.status_code, gap.json()["code"]) == (409, "part_out_of_order")
        assert away.part(file["id"], content, PART, 2 * PART).status_code == 200
        done = away.part(file["id"], content, 2 * PART, len(content)).json()
        assert done["state"] == "ready"
        room = away.room(yui)
        said = away.say(room, "look", file["id"])
        assert eventually(lambda: yui.read(file["id"]).content == content, within_s=10)
        middle = yui.read(file["id"], headers={"Range": f"bytes={PART - 10}-{PART + 9}"})
        assert (middle.status_code, middle.content) == (206, content[PART - 10 : PART + 10])
        for needle in (canary, b"canary-7f3a"):
            assert holds(world.state / "regions" / "emea", needle), "the control: at home it is found"
            assert not holds(world.state / "regions" / "apac", needle)
            assert not holds(world.state / "sites" / "tokyo", needle)
        assert away.ask("DELETE", f"/v1/rooms/{room}/entries/{said['id']}").status_code == 202
        assert yui.read(file["id"]).status_code == 404, "its owner's region decides, at once"
        assert away.read(file["id"]).status_code == 200, "it is still its owner's"
    finally:
        command(world, "start", "paris")
    eventually(lambda: every_door_leads_home(world), within_s=60)


def test_what_rests_is_sealed_where_the_world_file_does_not_say_otherwise(
    world: Scene, ada: Somebody, yui: Somebody
) -> None:
    canary = os.urandom(64)
    content = canary + os.urandom(PART) + picture(600, 600)
    file = yui.upload("canary-51c0.bin", content)
    yui.say(yui.room(ada), "", file["id"])
    assert eventually(lambda: ada.read(file["id"]).content == content, within_s=10)
    assert len(objects_of(world.state, "apac")) >= 2
    for needle in (canary, b"canary-51c0"):
        assert not holds(world.state / "regions", needle)


def test_a_region_that_is_cut_off_holds_its_files(world: Scene, ada: Somebody, yui: Somebody) -> None:
    file = ada.upload("held.bin", b"held" * 1000)
    ada.say(ada.room(yui), "", file["id"])
    assert eventually(lambda: yui.read(file["id"]).status_code == 200)
    command(world, "cut", "emea", "apac")
    try:
        answer = yui.read(file["id"])
        assert (answer.status_code, answer.json()["code"], answer.json()["region"]) == (503, "file_held", "emea")
    finally:
        command(world, "heal")
    assert eventually(lambda: yui.read(file["id"]).status_code == 200, within_s=20)


def test_an_avatar_is_seen_in_every_region(ada: Somebody, ben: Somebody, yui: Somebody) -> None:
    file = ada.upload("me.png", picture(900, 600))
    tag = ada.ask("PUT", "/v1/me/avatar", json={"file": file["id"]}).json()["avatar"]
    assert ada.ask("GET", "/v1/me").json()["person"]["avatar"] == tag
    for one in (ben, yui):
        assert tag in [p["avatar"] for p in one.ask("GET", "/v1/people").json()["people"]]
        shown = one.ask("GET", f"/v1/avatars/{ada.id}")
        assert Image.open(io.BytesIO(shown.content)).size == (256, 256)
        known = one.ask("GET", f"/v1/avatars/{ada.id}", headers={"If-None-Match": shown.headers["etag"]})
        assert known.status_code == 304
        assert one.ask("GET", f"/v1/avatars/{one.id}").status_code == 404
    assert ada.ask("PUT", "/v1/me/avatar", json={"file": None}).json() == {"avatar": None}
    assert ben.ask("GET", f"/v1/avatars/{ada.id}").status_code == 404


def test_what_is_not_ones_own_is_not_there(ada: Somebody, ben: Somebody, yui: Somebody) -> None:
    file = ada.upload("mine.txt", b"mine")
    for one in (ben, yui):
        assert one.ask("GET", f"/v1/files/{file['id']}").status_code == 404
        assert one.part(file["id"], b"mine", 0, 4).status_code == 404
        assert one.ask("DELETE", f"/v1/files/{file['id']}").status_code == 404
        assert one.read(file["id"]).status_code == 404
        assert one.ask("PUT", "/v1/me/avatar", json={"file": file["id"]}).status_code == 404
        post = {"client_id": str(uuid.uuid4()), "text": "", "files": [file["id"]]}
        assert one.ask("POST", f"/v1/rooms/{one.room()}/entries", json=post).status_code == 404
    ada.say(ada.room(ben), "", file["id"])
    assert ben.read(file["id"]).content == b"mine"
    assert ada.ask("DELETE", f"/v1/files/{file['id']}").status_code == 204
    assert (ben.read(file["id"]).status_code, ada.read(file["id"]).status_code) == (404, 404)


def holds(folder: Path, needle: bytes) -> bool:
    """Whether any file below a folder holds these bytes."""
    return any(needle in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_requests_that_lie_or_are_too_much(ada: Somebody) -> None:
    content = os.urandom(PART + 1)
    file = ada.announce("lies.bin", len(content))["id"]

    def put(body: bytes, said: str) -> tuple[int, str]:
        answer = ada.ask("PUT", f"/v1/files/{file}/content", content=body, headers={"Content-Range": said})
        return answer.status_code, answer.json()["code"]

    whole = len(content)
    assert put(content[:10], f"bytes 0-19/{whole}") == (400, "content_range_malformed")
    assert put(b"", f"bytes 0-0/{whole}") == (400, "content_range_malformed")
    assert put(content[:10], f"bytes 0-9/{whole + 1}") == (400, "content_range_malformed")
    assert put(content[:10], "bytes 0-9/10, 0-9/10") == (400, "content_range_malformed")
    assert put(content[:10], f"bytes 10-19/{whole}") == (409, "part_out_of_order")
    assert put(content, f"bytes 0-{whole - 1}/{whole}")[0] == 413, "a part has an end"
    assert ada.ask("PUT", f"/v1/files/{file}/content", content=b"x").status_code == 400, "without a place"
    assert ada.ask("GET", f"/v1/files/{file}").json()["received"] == 0
    assert ada.ask("POST", "/v1/files", content=b"x" * 70_000).status_code == 413, "only parts may be that large"
    for name in ("../../etc/passwd", "a\\b", "a\nb", ".."):
        answer = ada.ask("POST", "/v1/files", json={"name": name, "size": 1})
        assert (answer.status_code, answer.json()["code"]) == (400, "name_malformed")
    big = ada.ask("POST", "/v1/files", json={"name": "big", "size": 2**40})
    assert (big.status_code, big.json()["code"]) == (413, "file_too_large")
    for ident in (
        "fil_emea_01k00000000000000000000000",
        "fil_apac_01k00000000000000000000000",
        "fil_mars_01k00000000000000000000000",
    ):
        assert ada.read(ident).status_code == 404
    post = {"client_id": str(uuid.uuid4()), "text": "", "files": []}
    assert ada.ask("POST", f"/v1/rooms/{ada.room()}/entries", json=post).status_code == 400
    assert ada.ask("DELETE", f"/v1/files/{file}").status_code == 204


def test_a_reader_who_leaves_disturbs_nobody(world: Scene, ada: Somebody) -> None:
    content = os.urandom(8 * PART)
    file = ada.upload("long.bin", content)
    for _ in range(5):
        with (
            world.rest("paris", ada.token) as client,
            client.stream("GET", f"/v1/files/{file['id']}/content") as answer,
        ):
            assert next(answer.iter_raw(1000)) == content[:1000]
    assert ada.read(file["id"]).content == content
    log = (world.state / "sites" / "paris" / "logs" / "gateway0.jsonl").read_text()
    assert '"level":"error"' not in log
    assert '"level":"critical"' not in log
