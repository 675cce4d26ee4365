"""What two people in two regions see of each other, through real doors."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from conftest_gateway import Raw, Scene, claims_of, dial, forge, hello, new_id, region_key
from support import eventually

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def ada(scene: Scene) -> dict[str, Any]:
    return scene.sign_in("paris", scene.person("emea", 0))


@pytest.fixture(scope="module")
def kenji(scene: Scene) -> dict[str, Any]:
    """Signed in at a door far from home: served from home all the same."""
    return scene.sign_in("frankfurt", scene.person("apac", 0))


def make_room(scene: Scene, maker: dict[str, Any], site: str, *others: dict[str, Any], title: str = "Far") -> str:
    with scene.rest(site, maker["access_token"]) as client:
        answer = client.post("/v1/rooms", json={"title": title, "members": [o["person"]["id"] for o in others]})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


async def say(raw: Raw, room: str, text: str) -> dict[str, Any]:
    raw.send({"t": "post", "room": room, "client_id": (key := new_id()), "text": text})
    return await raw.wait("ack", client_id=key)


async def body_of(raw: Raw, entry: str) -> Any:
    """The text of an entry, with its row or after it."""
    row = await raw.wait("row", id=entry, kind="entry")
    if row["state"] == "ok":
        return row["body"]["text"]
    return (await raw.wait("body", id=entry, state="ok"))["body"]["text"]


def test_two_regions_talk(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    async def go() -> None:
        room = make_room(scene, ada, "paris", kenji)
        here, _ = await hello(scene, "paris", ada["access_token"])
        there, welcome = await hello(scene, "frankfurt", kenji["access_token"])
        assert (welcome["region"], welcome["person"]) == ("apac", kenji["person"]["id"])
        if room not in [r["id"] for r in welcome["rooms"]]:
            assert (await there.wait("room"))["room"]["id"] == room
        ack = await say(here, room, "hello from emea")
        assert ack["state"] == "placed"
        assert await body_of(there, ack["id"]) == "hello from emea"
        kept = await say(there, room, "hello from apac")
        assert (kept["state"], kept["seq"]) == ("kept", None)
        placed = await there.wait("row", kind="placed", id=kept["id"])
        assert await body_of(here, kept["id"]) == "hello from apac"
        with scene.rest("singapore", kenji["access_token"]) as client:
            page = client.get(f"/v1/rooms/{room}/entries").json()
            texts = [r["body"]["text"] for r in page["rows"] if r["body"] and r["body"]["kind"] == "text"]
            assert texts == ["hello from emea", "hello from apac"]
            assert str(next(r["seq"] for r in page["rows"] if r["id"] == kept["id"])) == placed["detail"]
            shown = client.get(f"/v1/rooms/{room}").json()
            assert (shown["title"], shown["region"], shown["unread"]) == ("Far", "emea", 1)
            assert client.put(f"/v1/rooms/{room}/read", json={"seq": page["head"]}).status_code == 204
            assert client.get(f"/v1/rooms/{room}").json()["unread"] == 0
            names = {
                m["person"]: (m["name"], m["region"]) for m in client.get(f"/v1/rooms/{room}/members").json()["members"]
            }
            assert names[ada["person"]["id"]] == (ada["person"]["name"], "emea")
        assert (await there.wait("read", room=room))["unread"] == 0
        await here.leave()
        await there.leave()

    asyncio.run(go())


def test_resume_brings_what_was_missed_once(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    async def go() -> None:
        room = make_room(scene, ada, "paris", kenji, title="Resume")
        here, _ = await hello(scene, "paris", ada["access_token"])
        first = await say(here, room, "0")
        await here.leave()
        writer, _ = await hello(scene, "frankfurt", ada["access_token"])
        for n in range(1, 60):
            assert (await say(writer, room, str(n)))["state"] == "placed"
        again = await dial(scene, "frankfurt", ada["access_token"])
        again.send({"t": "resume", "cursors": {room: first["seq"]}, "missing": [first["id"]]})
        await again.wait("welcome")
        await again.wait("synced")
        rows = [f for f in again.frames if f["t"] == "row" and f["stream"] == room]
        assert [r["body"]["text"] for r in rows] == [str(n) for n in range(1, 60)]
        assert [r["seq"] for r in rows] == list(range(first["seq"] + 1, first["seq"] + 60))
        assert (await again.wait("body", id=first["id"]))["body"]["text"] == "0"
        ahead = await dial(scene, "paris", ada["access_token"])
        ahead.send({"t": "resume", "cursors": {room: 1_000_000, "rom_emea_01k00000000000000000000000": 3}})
        resets = (await ahead.wait("synced"))["resets"]
        assert resets == {room: first["seq"] + 59, "rom_emea_01k00000000000000000000000": 0}
        for raw in (writer, again, ahead):
            await raw.leave()

    asyncio.run(go())


def test_redaction_reaches_everybody(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    async def go() -> None:
        room = make_room(scene, ada, "paris", kenji, title="Redact")
        here, _ = await hello(scene, "paris", ada["access_token"])
        there, _ = await hello(scene, "tokyo", kenji["access_token"])
        said = await say(there, room, "regret")
        assert await body_of(here, said["id"]) == "regret"
        there.send({"t": "redact", "room": room, "entry": said["id"]})
        await here.wait("row", kind="redaction", target=said["id"])
        await there.wait("row", kind="redaction", target=said["id"])
        for site, who in (("paris", ada), ("tokyo", kenji)):
            with scene.rest(site, who["access_token"]) as client:
                rows = client.get(f"/v1/rooms/{room}/entries").json()["rows"]
                assert next(r for r in rows if r["id"] == said["id"])["state"] == "erased"
        await here.leave()
        await there.leave()

    asyncio.run(go())


def test_removed_people_see_no_more(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    async def go() -> None:
        room = make_room(scene, ada, "paris", kenji, title="Remove")
        there, _ = await hello(scene, "singapore", kenji["access_token"])
        here, _ = await hello(scene, "paris", ada["access_token"])
        with scene.rest("paris", ada["access_token"]) as client:
            answer = client.delete(f"/v1/rooms/{room}/members/{kenji['person']['id']}")
            assert (answer.status_code, answer.json()["state"]) == (202, "done")
        await there.wait("row", kind="removed", target=room)
        said = await say(here, room, "behind his back")
        await here.wait("row", id=said["id"])
        refused = await say(there, room, "still here?")
        assert (refused["state"], refused["code"]) == ("refused", "not_member")
        assert not [f for f in there.frames if f.get("id") == said["id"]]
        with scene.rest("paris", ada["access_token"]) as client:
            client.put(f"/v1/rooms/{room}/members/{kenji['person']['id']}")
        await there.wait("row", kind="added", target=room)
        back = await say(here, room, "welcome back")
        assert await body_of(there, back["id"]) == "welcome back"
        assert not [f for f in there.frames if f.get("id") == said["id"]]
        await here.leave()
        await there.leave()

    asyncio.run(go())


def test_a_pair_has_one_direct_room(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    rooms = set()
    for site, who, other in (("paris", ada, kenji), ("tokyo", kenji, ada), ("frankfurt", ada, kenji)):
        with scene.rest(site, who["access_token"]) as client:
            answer = client.post("/v1/rooms", json={"kind": "direct", "members": [other["person"]["id"]]})
            assert answer.status_code == 201, answer.text
            rooms.add(answer.json()["id"])
            fixed = client.delete(f"/v1/rooms/{answer.json()['id']}/members/{other['person']['id']}")
            assert fixed.status_code in (202, 403)
    assert len(rooms) == 1


def test_typing_and_presence_cross_the_border(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    async def go() -> None:
        room = make_room(scene, ada, "paris", kenji, title="Typing")
        here, _ = await hello(scene, "paris", ada["access_token"])
        there, _ = await hello(scene, "singapore", kenji["access_token"])
        here.send({"t": "watch", "people": [kenji["person"]["id"]]})
        await here.wait("presence", person=kenji["person"]["id"], state="online", within_s=10)
        there.send({"t": "typing", "room": room})
        assert (await here.wait("typing", room=room))["person"] == kenji["person"]["id"]
        with scene.rest("tokyo", kenji["access_token"]) as client:
            assert client.put("/v1/me/presence", json={"state": "dnd", "text": "in the bath"}).status_code == 204
        assert (await here.wait("presence", person=kenji["person"]["id"], state="dnd"))["text"] == "in the bath"
        with scene.rest("tokyo", kenji["access_token"]) as client:
            client.put("/v1/me/presence", json={"state": "online"})
        await here.leave()
        await there.leave()

    asyncio.run(go())


def test_signing_out_everywhere_closes_sockets(scene: Scene) -> None:
    person = scene.person("emea", 2)

    async def go() -> None:
        session = scene.sign_in("paris", person)
        sockets = [(await hello(scene, site, session["access_token"]))[0] for site in ("paris", "frankfurt")]
        with scene.rest("paris", session["access_token"]) as client:
            assert client.delete("/v1/sessions").status_code == 204
        for raw in sockets:
            await asyncio.wait_for(raw.gone.wait(), 5)
            assert raw.closed is not None
            assert raw.closed[0] == 4003
        with scene.rest("paris", session["access_token"]) as client:
            assert client.get("/v1/me").json()["code"] == "token_revoked"

    asyncio.run(go())


def test_a_socket_ends_with_its_token_unless_renewed(scene: Scene, ada: dict[str, Any]) -> None:
    async def go() -> None:
        key, kid = region_key(scene, "emea")
        short = forge(claims_of(ada["access_token"]) | {"exp": int(time.time()) + 3}, key, kid)
        ends, _ = await hello(scene, "paris", short)
        stays, _ = await hello(scene, "paris", short)
        stays.send({"t": "renew", "access_token": ada["access_token"]})
        await stays.wait("renewed")
        await asyncio.wait_for(ends.gone.wait(), 6)
        assert ends.closed is not None
        assert ends.closed[0] == 4001
        stays.send({"t": "ping", "n": 1})
        await stays.wait("pong")
        await stays.leave()

    asyncio.run(go())


def test_an_edge_and_a_foreign_door_serve_from_home(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    async def go() -> None:
        for site in ("capetown", "tokyo"):
            raw, welcome = await hello(scene, site, ada["access_token"])
            assert welcome["region"] == "emea"
            await raw.leave()
        with scene.rest("capetown", kenji["access_token"]) as client:
            me = client.get("/v1/me")
            assert me.headers["moonbow-region"] == "apac"
            assert me.json()["person"]["id"] == kenji["person"]["id"]

    asyncio.run(go())


def test_erasing_a_person_erases_what_they_wrote(scene: Scene, ada: dict[str, Any], kenji: dict[str, Any]) -> None:
    login = {"login": f"gone-{new_id()[:8]}@lunar.example", "password": "a long enough password", "name": "Gone Soon"}
    with scene.rest("paris", ada["access_token"]) as client:
        person = client.post("/v1/people", json={**login, "region": "emea"})
        assert person.status_code == 201, person.text
    gone = scene.sign_in("paris", login)
    room = make_room(scene, ada, "paris", kenji, gone, title="Erase")
    with scene.rest("paris", gone["access_token"]) as client:
        said = client.post(f"/v1/rooms/{room}/entries", json={"client_id": new_id(), "text": "forget me"}).json()
        assert said["state"] == "placed"
    with scene.rest("tokyo", kenji["access_token"]) as far:

        def state() -> str:
            rows = far.get(f"/v1/rooms/{room}/entries").json().get("rows", [])
            return str(next((r["state"] for r in rows if r["id"] == said["id"]), "absent"))

        eventually(lambda: state() == "ok")
        with scene.rest("paris", ada["access_token"]) as client:
            erased = client.delete(f"/v1/people/{gone['person']['id']}")
            assert erased.status_code == 202, erased.text
        eventually(lambda: state() == "erased")
    with scene.rest("paris") as client:
        again = client.post("/v1/sessions", json={"login": login["login"], "password": login["password"]})
        assert again.json()["code"] == "sign_in_refused"


def test_sync_for_those_without_a_socket(scene: Scene, ada: dict[str, Any]) -> None:
    room = make_room(scene, ada, "paris", title="Sync")
    with scene.rest("paris", ada["access_token"]) as client:
        head = client.get(f"/v1/rooms/{room}").json()["head"]
        for n in range(5):
            client.post(f"/v1/rooms/{room}/entries", json={"client_id": new_id(), "text": str(n)})
        answer = client.post("/v1/sync", json={"cursors": {room: head}}).json()
        assert [r["body"]["text"] for r in answer["rows"]] == ["0", "1", "2", "3", "4"]
        assert client.post("/v1/sync", json={"cursors": {room: head + 99}}).json()["resets"] == {room: head + 5}
