"""Files in a real world of two regions: in at one site, on at its sister, out in another region, and nowhere else."""

from __future__ import annotations

import io
import os
import uuid
from typing import Any

import httpx
import pytest
from PIL import Image

from conftest_gateway import Scene

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


def test_another_region_reads_live_and_keeps_nothing(world: Scene, ada: Somebody, yui: Somebody) -> None:
    content = os.urandom(PART + 300_000)
    file = ada.upload("far.bin", content)
    room = ada.room(yui)
    ada.say(room, "look", file["id"])
    answer = yui.read(file["id"])
    assert answer.status_code == 200
    assert answer.content == content
