"""Bad input meets a precise error with a stable code and its place, and disturbs nobody else."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conftest_gateway import Scene, claims_of, dial, forge, hello, new_id, region_key
from support import eventually_async

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def ada(scene: Scene) -> dict[str, Any]:
    return scene.sign_in("paris", scene.person("emea", 0))


@pytest.fixture(scope="module")
def room(scene: Scene, ada: dict[str, Any]) -> str:
    with scene.rest("paris", ada["access_token"]) as client:
        answer = client.post("/v1/rooms", json={"title": "Hostile"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "place"),
    [
        ("POST", "/v1/rooms", b"{", 400, "malformed_json", "$"),
        ("POST", "/v1/rooms", b'{"kind": 7}', 400, "invalid", "$.kind"),
        ("POST", "/v1/rooms", b'{"colour": "red"}', 400, "invalid", "$"),
        ("POST", "/v1/rooms", b'{"title": ""}', 400, "invalid", "$.title"),
        ("POST", "/v1/rooms", b'{"members": ["usr_emea_x"]}', 400, "id_malformed", "$.members[0]"),
        ("POST", "/v1/rooms", b'{"members": ["usr_mars_01k00000000000000000000000"]}', 404, "region_unknown", "$.members[0]"),
        ("POST", "/v1/rooms", b'{"members": ["usr_emea_01k00000000000000000000000"]}', 404, "person_unknown", "$.members"),
        ("POST", "/v1/rooms", b'{"kind": "direct"}', 400, "direct_is_two", "$.members"),
        ("GET", "/v1/rooms/nonsense", None, 400, "id_malformed", "$path.room"),
        ("GET", "/v1/rooms/rom_emea_01k00000000000000000000000", None, 404, "room_unknown", "$path.room"),
        ("GET", "/v1/rooms/rom_apac_01k00000000000000000000000", None, 404, "room_unknown", "$path.room"),
        ("GET", "/v1/people?limit=0", None, 400, "invalid", None),
        ("GET", "/v1/people?cursor=zzz", None, 400, None, None),
        ("GET", "/v1/presence?ids=a,b", None, 400, "id_malformed", "$query.ids"),
        ("PATCH", "/v1/me", b"{}", 405, "method_not_allowed", None),
        ("GET", "/v1/nothing", None, 404, "not_found", None),
        ("POST", "/v1/sync", json.dumps({"cursors": {"rom_emea_01k00000000000000000000000": -1}}).encode(), 400, "invalid", None),
        ("POST", "/v1/sync", json.dumps({"cursors": {f"rom_emea_{i:026d}": 1 for i in range(1001)}}).encode(), 400, "invalid", "$.cursors"),
    ],
)  # fmt: skip
def test_rest_says_what_is_wrong_and_where(
    scene: Scene,
    ada: dict[str, Any],
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    code: str | None,
    place: str | None,
) -> None:
    with scene.rest("paris", ada["access_token"]) as client:
        answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    if code is not None:
        assert problem["code"] == code, problem
    if place is not None:
        assert [fault["place"] for fault in problem["faults"]][:1] == [place], problem
    for header in ("moonbow-region", "moonbow-site", "traceparent"):
        assert header in answer.headers


def test_oversized_body_is_refused(scene: Scene, ada: dict[str, Any]) -> None:
    with scene.rest("paris", ada["access_token"]) as client:
        assert client.post("/v1/sync", content=b" " * 200_000).status_code == 413
        long = client.post("/v1/rooms", json={"title": "x" * 500})
        assert long.json()["faults"][0]["place"] == "$.title"


def test_tokens_that_are_not_good(scene: Scene, ada: dict[str, Any]) -> None:
    good = claims_of(ada["access_token"])
    stranger = Ed25519PrivateKey.generate()
    apac, apac_kid = region_key(scene, "apac")
    emea, emea_kid = region_key(scene, "emea")
    bad = {
        "nothing at all": "",
        "rubbish": "a.b.c",
        "unsigned": forge(good, stranger, emea_kid, "none"),
        "a stranger's key": forge(good, stranger, emea_kid),
        "another region's key, under our name": forge(good, apac, apac_kid),
        "another region's key, honest issuer, our person": forge(good | {"iss": "apac"}, apac, apac_kid),
        "another region's key, honest issuer, claims to be of here": forge(good | {"iss": "apac", "home": "emea"}, apac, apac_kid),
        "our key, another home": forge(good | {"home": "apac"}, emea, emea_kid),
        "ended": forge(good | {"exp": int(time.time()) - 60}, emea, emea_kid),
        "cut short": ada["access_token"][:-10],
    }  # fmt: skip
    for name, token in bad.items():
        with scene.rest("paris", token) as client:
            answer = client.get("/v1/me")
            assert answer.status_code == 401, (name, answer.status_code, answer.text)
            assert answer.json()["code"].startswith("token_"), (name, answer.text)
    with scene.rest("paris", ada["access_token"]) as client:
        assert client.get("/v1/me").status_code == 200


def test_spoofed_headers_do_not_choose_the_home(scene: Scene, ada: dict[str, Any]) -> None:
    with scene.rest("paris", ada["access_token"]) as client:
        answer = client.get("/v1/me", headers={"X-Moonbow-Home": "apac", "x-moonbow-user": "usr_x"})
        assert (answer.status_code, answer.headers["moonbow-region"]) == (200, "emea")


def test_gateway_insides_are_not_on_the_doors(scene: Scene, ada: dict[str, Any]) -> None:
    with scene.rest("paris", ada["access_token"]) as client:
        assert client.get("/metrics").status_code == 404
        assert client.get("/status").status_code == 404


def test_replay_and_reuse_of_a_client_id(scene: Scene, ada: dict[str, Any], room: str) -> None:
    with scene.rest("paris", ada["access_token"]) as client:
        first = client.post(f"/v1/rooms/{room}/entries", json={"client_id": (key := new_id()), "text": "once"})
        again = client.post(f"/v1/rooms/{room}/entries", json={"client_id": key, "text": "once"})
        other = client.post(f"/v1/rooms/{room}/entries", json={"client_id": key, "text": "other"})
        assert first.status_code == 201
        assert (again.json()["id"], again.json()["seq"]) == (first.json()["id"], first.json()["seq"])
        assert (other.status_code, other.json()["code"]) == (409, "client_id_reused")
        malformed = client.post(f"/v1/rooms/{room}/entries", json={"client_id": "x" * 36, "text": "a"})
        assert malformed.json()["code"] == "client_id_malformed"


def test_a_stranger_sees_and_does_nothing(scene: Scene, room: str) -> None:
    zofia = scene.sign_in("paris", scene.person("emea", 1))
    with scene.rest("frankfurt", zofia["access_token"]) as client:
        for method, path in (("GET", ""), ("GET", "/members"), ("GET", "/entries"), ("PUT", "/read")):
            answer = client.request(method, f"/v1/rooms/{room}{path}", json={"seq": 1} if method == "PUT" else None)
            assert (answer.status_code, answer.json()["code"]) == (404, "room_unknown"), path
        said = client.post(f"/v1/rooms/{room}/entries", json={"client_id": new_id(), "text": "hi"})
        assert (said.json()["state"], said.json()["code"]) == ("refused", "not_member")


BAD_FRAMES: list[tuple[bytes, str, str | None]] = [
    (b"{", "malformed_json", "$"),
    (b"[]", "invalid", "$"),
    (b'{"t":"sing"}', "invalid", "$.t"),
    (b'{"t":"post"}', "invalid", None),
    (b'{"t":"post","room":"rom_emea_x_________","client_id":"' + b"0" * 36 + b'","text":"a"}', "client_id_malformed", "$.client_id"),
    (b'{"t":"post","room":"rom_emea_x_________","client_id":"00000000-0000-4000-8000-000000000000","text":"a"}', "id_malformed", "$.room"),
    (b'{"t":"read","room":"rom_emea_01k00000000000000000000000","seq":-4}', "invalid", "$.seq"),
    (b'{"t":"read","room":"rom_emea_01k00000000000000000000000","seq":4}', "room_unknown", "$.room"),
    (b'{"t":"redact","room":"rom_emea_01k00000000000000000000000","entry":"usr_emea_01k00000000000000000000000"}', "id_malformed", "$.entry"),
    (b'{"t":"watch","people":["me"]}', "invalid", None),
    (b'{"t":"hello"}', "already_begun", "$.t"),
    (b'{"t":"renew","access_token":"x.y.z"}', "token_invalid", None),
    (b'{"t":"ping","n":"many"}', "invalid", "$.n"),
]  # fmt: skip


def test_bad_frames_are_answered_and_the_socket_stays(scene: Scene, ada: dict[str, Any]) -> None:
    async def go() -> None:
        raw, _ = await hello(scene, "paris", ada["access_token"])
        for frame, code, place in BAD_FRAMES:
            raw.send(frame)
            problem = await raw.wait("problem")
            assert problem["code"] == code, (frame, problem)
            assert place is None or problem["place"] == place, (frame, problem)
        raw.send({"t": "ping", "n": 7})
        assert (await raw.wait("pong"))["n"] == 7
        await raw.leave()

    asyncio.run(go())


def test_a_frame_of_a_mebibyte_closes_only_its_own_socket(scene: Scene, ada: dict[str, Any]) -> None:
    async def go() -> None:
        other, _ = await hello(scene, "paris", ada["access_token"])
        raw, _ = await hello(scene, "paris", ada["access_token"])
        raw.send(b'{"t":"ping","n":1,"x":"' + b"x" * 1_048_576 + b'"}')
        await asyncio.wait_for(raw.gone.wait(), 5)
        other.send({"t": "ping", "n": 1})
        await other.wait("pong")
        await other.leave()

    asyncio.run(go())


def test_a_million_cursors_in_one_resume(scene: Scene, ada: dict[str, Any]) -> None:
    async def go() -> None:
        raw = await dial(scene, "paris", ada["access_token"])
        raw.send({"t": "resume", "cursors": {f"rom_emea_{i:026d}": 1 for i in range(1001)}})
        problem = await raw.wait("problem")
        assert (problem["code"], problem["place"]) == ("invalid", "$.cursors")
        await raw.leave()

    asyncio.run(go())


def test_a_socket_that_says_nothing_is_closed(scene: Scene, ada: dict[str, Any]) -> None:
    async def go() -> None:
        raw = await dial(scene, "paris", ada["access_token"], browser=True)
        raw.send({"t": "ping", "n": 1})
        await raw.wait("pong")
        await asyncio.wait_for(raw.gone.wait(), 10)
        assert raw.closed is not None
        assert raw.closed[0] == 4002

    asyncio.run(go())


def test_no_token_no_socket(scene: Scene) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "bW9vbmJvdw==",
    }
    for token, code in ((None, "token_missing"), ("nonsense", "token_invalid")):
        with scene.rest("paris", token) as client:
            answer = client.get("/v1/stream", headers=upgrade)
            assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_a_flood_is_cut(scene: Scene, ada: dict[str, Any]) -> None:
    async def go() -> None:
        raw, _ = await hello(scene, "paris", ada["access_token"])
        for n in range(5_000):
            if raw.transport is None or raw.transport.is_disconnected:
                break
            raw.send(b'{"t":"ping","n":%d}' % n)
            if n % 100 == 0:
                await asyncio.sleep(0)
        await asyncio.wait_for(raw.gone.wait(), 5)
        assert raw.closed is not None
        assert raw.closed[0] == 4029

    asyncio.run(go())


def test_a_client_that_never_reads_is_cut_and_may_resume(scene: Scene, ada: dict[str, Any], room: str) -> None:
    zofia_person = scene.person("emea", 1)
    zofia = scene.sign_in("paris", zofia_person)
    with scene.rest("paris", ada["access_token"]) as client:
        big = client.post("/v1/rooms", json={"title": "Slow", "members": [zofia["person"]["id"]]}).json()["id"]

    async def go() -> None:
        slow, welcome = await hello(scene, "paris", zofia["access_token"])
        reader, _ = await hello(scene, "paris", zofia["access_token"])
        assert slow.transport is not None
        slow.transport.underlying_transport.pause_reading()
        head = next(r["head"] for r in welcome["rooms"] if r["id"] == big)
        writer, _ = await hello(scene, "paris", ada["access_token"])
        sent = 0
        for _ in range(40):  # up to 20 MB: more than all the buffers on the way
            for _ in range(32):
                writer.send({"t": "post", "room": big, "client_id": new_id(), "text": "x" * 16_000})
                sent += 1
            for _ in range(32):
                assert (await writer.wait("ack", within_s=20))["state"] == "placed"
            writer.frames.clear()
            await asyncio.sleep(0.05)  # no faster than anybody may
            if sent >= 1280:
                break
        await eventually_async(lambda: len([f for f in reader.frames if f["t"] == "row"]) == sent, within_s=20)
        slow.transport.underlying_transport.resume_reading()
        await asyncio.wait_for(slow.gone.wait(), 15)
        last = max([f["seq"] for f in slow.frames if f["t"] == "row"], default=head)
        assert last < head + sent
        again = await dial(scene, "frankfurt", zofia["access_token"])
        again.send({"t": "resume", "cursors": {big: last}})
        await again.wait("synced", within_s=20)
        got = [f["seq"] for f in again.frames if f["t"] == "row" and f["stream"] == big]
        assert got == list(range(last + 1, head + sent + 1))
        for raw in (reader, writer, again):
            await raw.leave()

    asyncio.run(go())
