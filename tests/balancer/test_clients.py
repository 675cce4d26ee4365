"""What a door does for clients and against them, asked of a real Envoy."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from contextlib import closing

import pytest

from balancer.stage import CLIENT, PERSON, Answer, Signer, Stage, problem
from moonbow.world import Ports, door_address
from support import eventually

pytestmark = pytest.mark.engines


def test_only_tls_1_2_or_later_is_spoken(stage: Stage) -> None:
    address = f"{door_address(stage.world, stage.ref('paris'), 0)}:{Ports.DOOR}"

    def spoken(version: str) -> bool:
        argv = ["openssl", "s_client", "-connect", address, version, "-cipher", "ALL:@SECLEVEL=0", "-brief"]
        return subprocess.run(argv, input=b"", capture_output=True, timeout=10).returncode == 0

    assert [spoken(version) for version in ("-tls1", "-tls1_1", "-tls1_2")] == [False, False, True]


def test_http_2_is_offered_and_a_stream_is_not_offered_in_it(stage: Stage) -> None:
    context = ssl.create_default_context(cafile=str(stage.state / "pki" / "ca.crt"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with closing(stage.dial("paris", context)) as sock:
        assert sock.selected_alpn_protocol() == "h2"
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)[:3] + b"\x04" + bytes(5))
        settings = sock.recv(4096)
    entries = settings[9 : 9 + int.from_bytes(settings[:3], "big")]
    number = int.from_bytes
    found = {
        number(entries[at : at + 2], "big"): number(entries[at + 2 : at + 6], "big") for at in range(0, len(entries), 6)
    }
    assert found[3] == 100  # SETTINGS_MAX_CONCURRENT_STREAMS: these are the settings
    assert not found.get(8)  # SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441)


def test_every_answer_is_hardened_and_says_where_it_came_from(stage: Stage) -> None:
    for answer in (stage.ask("paris", "/"), stage.ask("paris", "/v1/me")):
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["moonbow-door"] == "paris.0"
        assert answer.headers["moonbow-region"] == "emea"
        assert answer.headers["moonbow-site"].startswith("paris")
        assert answer.headers["server"] == "moonbow"


def test_what_only_doors_may_say_is_removed(stage: Stage) -> None:
    spoofed = {
        "X-Moonbow-Home": "apac",
        "x-moonbow-anything": "1",
        "x-moonbow-door": "other.9",
        "x-envoy-retry-on": "5xx",
        "x-forwarded-for": "9.9.9.9",
        "x-real-ip": "9.9.9.9",
        "forwarded": "for=9.9.9.9",
    }
    answer = stage.ask("paris", "/v1/bootstrap", headers=spoofed).json
    assert answer["name"].startswith("paris")
    seen = answer["headers"]
    assert seen["x-moonbow-door"] == ["paris.0"]
    assert seen["x-forwarded-for"] == [CLIENT]
    assert not seen.keys() & {"x-moonbow-home", "x-moonbow-anything", "x-envoy-retry-on", "x-real-ip", "forwarded"}


def test_a_token_is_needed_except_to_come_in(stage: Stage) -> None:
    for path in ("/", "/assets/a.js", "/v1/bootstrap", "/v1/openapi.json"):
        assert stage.ask("paris", path).status == 200
    for path in ("/v1/sessions", "/v1/sessions/refresh"):
        assert stage.ask("paris", path, method="POST", body=b"{}").status == 200
    for path in ("/v1", "/v1/me", "/v1/stream", "/v1/sessions", "/v1/sessions/current", "/%76%31/me", "//v1/me"):
        assert problem(stage.ask("paris", path)) == (401, "token_missing", False), path
    assert stage.ask("paris", "/v1/sessions/current", method="DELETE").status == 401


def test_a_token_counts_only_if_its_own_region_signed_it(stage: Stage) -> None:
    emea, apac = stage.signers["emea"], stage.signers["apac"]
    assert stage.ask("paris", "/v1/me", token=emea.token()).status == 200
    wrong = {
        "expired": (emea.token(ttl_s=-60), "token_expired"),
        "expired, of another region": (apac.token(ttl_s=-60), "token_expired"),
        "of emea by a key of apac": (apac.token(iss="emea"), "token_invalid"),
        "of apac by a key of emea": (emea.token(iss="apac"), "token_invalid"),
        "of a sealed region": (stage.signers["cn"].token(), "token_invalid"),
        "by a key nobody published": (Signer("emea").token(), "token_invalid"),
        "not a token": ("abc", "token_invalid"),
    }
    for what, (token, code) in wrong.items():
        assert problem(stage.ask("paris", "/v1/me", token=token)) == (401, code, False), what


def test_a_stream_takes_its_token_from_either_source_and_other_paths_from_one(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    with closing(stage.stream("paris", token)) as browser:
        assert browser.status == 101
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in browser.head
        seen = json.loads(browser.receive())
        assert seen["headers"]["x-moonbow-home"] == ["emea"]
        assert seen["headers"]["sec-websocket-protocol"] == [f"moonbow.v1, moonbow.jwt.{token}"]
        browser.send(b"hello")
        assert browser.receive() == seen["name"].encode() + b":hello"
    with closing(stage.stream("paris", "none", authorization=f"Bearer {token}")) as program:
        assert program.status == 101
    with closing(stage.stream("paris", token, authorization="Bearer none")) as confused:
        assert confused.status == 401
    with closing(stage.stream("paris", "none")) as nobody:
        assert nobody.status == 401
    offered = {"sec-websocket-protocol": f"moonbow.jwt.{token}"}
    assert stage.ask("paris", "/v1/me", headers=offered).status == 401


def test_two_tokens_never_name_two_homes(stage: Stage) -> None:
    emea, apac = stage.signers["emea"].token(), stage.signers["apac"].token()
    for bearer, offered, home in ((emea, apac, "emea"), (apac, emea, "apac")):
        with closing(stage.stream("paris", offered, authorization=f"Bearer {bearer}")) as socket:
            seen = json.loads(socket.receive())
        assert seen["headers"]["x-moonbow-home"] == [home]
        assert seen["name"].startswith({"emea": "paris", "apac": "singapore"}[home])


def test_a_websocket_opens_on_the_stream_only(stage: Stage) -> None:
    upgrade = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13"}
    token = stage.signers["emea"].token()
    assert stage.ask("paris", "/v1/me", token=token, headers=upgrade).status == 403


def test_metrics_and_status_of_gateways_are_behind_no_door(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    hidden = ("/metrics", "/status", "//metrics", "/%6detrics", "/./status", "/metrics/", "/Metrics", "/status;a=1")
    for path in (*hidden, "/metrics?x=1", "/assets/../metrics"):
        assert problem(stage.ask("paris", path)) == (404, "not_found", False), path
        assert stage.ask("capetown", path, token=token).status == 404, path
    assert problem(stage.ask("paris", "/..%2fmetrics")) == (400, "refused", False)


def test_what_is_too_large_is_refused(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    fits = stage.ask("paris", "/v1/rooms", method="POST", body=b"x" * 65_536, token=token)
    assert (fits.status, fits.json["bytes"]) == (200, 65_536)
    large = stage.ask("paris", "/v1/rooms", method="POST", body=b"x" * 65_537, token=token)
    assert problem(large) == (413, "body_too_large", False)
    assert problem(stage.ask("paris", "/", headers={"x-big": "a" * 33_000})) == (431, "headers_too_large", False)
    many = {f"x-{number}": "1" for number in range(120)}
    assert problem(stage.ask("paris", "/", headers=many)) == (431, "headers_too_large", False)
    assert stage.ask("paris", "/", headers={"under_score": "1"}).status == 400


def test_signing_in_is_limited_by_address_and_the_limit_announced(stage: Stage) -> None:
    def sign_in() -> Answer:
        return stage.ask("frankfurt", "/v1/sessions", method="POST", body=b"{}")

    answers = [sign_in() for _ in range(130)]
    refused = [answer for answer in answers if answer.status == 429]
    assert answers[0].status == 200
    assert answers[0].headers["x-ratelimit-limit"].startswith("100")
    assert refused
    assert problem(refused[0]) == (429, "throttled", True)
    assert refused[0].headers["retry-after"] == "5"
    assert stage.ask("frankfurt", "/").status == 200


def test_a_door_logs_templates_and_networks_and_nobody(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    room, entry = "rom_emea_01kcanaryroom0000000000000", "ent_emea_01kcanaryentry000000000000"
    paths = [f"/v1/rooms/{room}/entries/{entry}", f"/v1/people/{PERSON}", f"/v1/rooms?q={room}", f"/nowhere/{room}"]
    agent = {"user-agent": "canary-agent", "x-request-id": "canary-request"}
    for path in paths:
        stage.ask("paris", path, token=token, headers=agent)
    stage.ask("paris", f"/v1/rooms/{room}/title", method="PUT", body=b'{"title": "canary-title"}', token=token)

    def lines() -> list[dict[str, object]]:
        found = [json.loads(line) for line in stage.log("paris").splitlines()]
        return [line for line in found if line.get("route") == "/v1/rooms/{room}/title"] and found

    log = eventually(lines)
    routes = {line.get("route") for line in log}
    assert {"/v1/rooms/{room}/entries/{entry}", "/v1/people/{person}", "/v1/rooms", "other"} <= routes
    title = next(line for line in log if line.get("route") == "/v1/rooms/{room}/title")
    assert title["network"] == re.sub(r"\d+$", "0/24", CLIENT)
    assert (title["home"], title["status"], title["site"], title["hop"]) == ("emea", 200, "paris", "door")
    for secret in (room, entry, PERSON, "canary", CLIENT, token[-20:], "?"):
        assert secret not in stage.log("paris"), secret
    assert not [line for line in log if line.get("route") == "/healthz"]


def test_metrics_and_readiness_are_on_loopback_alone(stage: Stage) -> None:
    host = door_address(stage.world, stage.ref("paris"), 0)
    metrics = stage.plain(f"http://{host}:{Ports.DOOR_METRICS}/metrics")
    assert metrics.status == 200
    assert b"envoy_cluster_upstream_rq" in metrics.body
    assert stage.plain(f"http://{host}:{Ports.DOOR_METRICS}/quitquitquit").status == 404
    assert (stage.state / "sites/paris/door0/admin.sock").stat().st_mode & 0o777 == 0o600
