"""Every operation of the API at a real door, with whatever fits its description and much that does not: never our
mistake (5xx), never a status, a type or a shape that the document does not name.

One thing is left out: a person erasing the very account that asks, which would end the trial.  Signing out, here and
everywhere, is tried by somebody else.  All requests come from an address of their own, so that the limits on signing in
are met by nobody else.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from requests.adapters import HTTPAdapter
from schemathesis.specs.openapi import checks as openapi

from conftest_gateway import Scene
from moonbow.gateway.app import make_api
from moonbow.gateway.document import describe
from moonbow.world.policy import Ports

pytestmark = pytest.mark.engines

DOCUMENT = describe(make_api(None))  # type: ignore[arg-type]  # no house is needed to describe it
REJECTED = [400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 431]
schema = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REJECTED}}}),
)
SOURCE = "127.9.9.9"
PASSWORD = "long enough for a trial"
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
]


class ThroughDoor(HTTPAdapter):
    """To a door's address, under the world's name, from an address of one's own."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        names = {"server_hostname": self.name, "assert_hostname": self.name, "source_address": (SOURCE, 0)}
        super().init_poolmanager(*args, **kwargs, **names)


class Trial:
    """Somebody signed in at a door, a colleague to be treated badly, and rooms to do it in."""

    def __init__(self, scene: Scene) -> None:
        self.url = f"https://{scene.address('paris')}:{Ports.DOOR}"
        self.name = scene.world.domain
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(scene.state / "pki" / "ca.crt")
        self.session.mount("https://", ThroughDoor(self.name))
        owner = self.sign_in(scene.person("emea", 0))
        self.people = [self.add(owner, f"trial{n}-{uuid.uuid4().hex[:8]}@moonbow.test", "admin") for n in range(3)]
        self.me, self.prey, self.leaver = self.people
        self.token = self.sign_in(self.me)
        self.rooms = [
            self.ask("POST", "/v1/rooms", self.token, {"title": "Trial", "members": [self.prey["id"]]})["id"],
            self.ask("POST", "/v1/rooms", owner, {"title": "Not mine"})["id"],
            "rom_apac_01k00000000000000000000000",
        ]
        said = self.ask(
            "POST", f"/v1/rooms/{self.rooms[0]}/entries", self.token, {"client_id": str(uuid.uuid4()), "text": "a"}
        )
        self.files = [self.file(name) for name in ("a.png", "b.txt")] + ["fil_apac_01k00000000000000000000000"]
        self.entries = [said["id"], "ent_apac_01k00000000000000000000000"]

    def ask(self, method: str, path: str, token: str | None, body: Any) -> Any:
        headers = {"Host": self.name} | ({"Authorization": f"Bearer {token}"} if token else {})
        answer = self.session.request(method, self.url + path, json=body, headers=headers, timeout=10)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def file(self, name: str) -> str:
        made = self.ask("POST", "/v1/files", self.token, {"name": name, "size": 4})
        headers = {"Host": self.name, "Authorization": f"Bearer {self.token}", "Content-Range": "bytes 0-3/4"}
        sent = self.session.put(f"{self.url}/v1/files/{made['id']}/content", data=b"text", headers=headers, timeout=10)
        assert sent.json()["state"] == "ready", sent.text
        return str(made["id"])

    def add(self, owner: str, login: str, role: str) -> dict[str, Any]:
        wanted = {"login": login, "password": PASSWORD, "name": login.split("@")[0], "role": role, "region": "emea"}
        return {**self.ask("POST", "/v1/people", owner, wanted), "login": login, "password": PASSWORD}

    def sign_in(self, somebody: dict[str, Any]) -> str:
        return str(
            self.ask("POST", "/v1/sessions", None, {k: somebody[k] for k in ("login", "password")})["access_token"]
        )

    def aim(self, case: schemathesis.Case) -> bool:
        """Let about half of the requests meet something that exists; says whether this one does now."""
        aimed = False
        chance = random.Random(repr((case.path_parameters, case.body)))
        known = {
            "room": self.rooms,
            "person": [self.prey["id"], self.leaver["id"]],
            "entry": self.entries,
            "file": self.files,
        }
        for name in case.path_parameters or {}:
            if name in known and chance.random() < 0.6:
                case.path_parameters[name] = chance.choice(known[name])
                aimed = True
        if isinstance(case.body, dict) and isinstance(case.body.get("files"), list) and chance.random() < 0.5:
            case.body["files"] = self.files[: chance.randint(0, 2)]
            aimed = True
        if isinstance(case.body, dict) and isinstance(case.body.get("members"), list) and chance.random() < 0.5:
            case.body["members"] = [self.prey["id"]] * chance.randint(0, 2)
            aimed = True
        return aimed

    def try_case(self, case: schemathesis.Case) -> None:
        aimed = self.aim(
            case
        )  # and perhaps made good what was wrong on purpose; an unknown query is ignored on purpose
        checks = CHECKS if aimed or case.query else [*CHECKS, openapi.negative_data_rejection]
        token = self.token
        if case.method == "DELETE" and case.path.startswith("/v1/sessions"):
            token = self.leaving
        headers = {"Host": self.name, "Authorization": f"Bearer {token}"}
        case.call_and_validate(
            base_url=self.url,
            session=self.session,
            headers=headers,
            checks=checks,
            timeout=10,
            verify=self.session.verify,
        )


@pytest.fixture(scope="module")
def trial(scene: Scene) -> Iterator[Trial]:
    made = Trial(scene)
    made.leaving = made.sign_in(made.leaver)
    yield made
    made.session.close()


def test_the_document_is_the_one_that_is_served(scene: Scene) -> None:
    with scene.rest("paris") as client:
        assert client.get("/v1/openapi.json").json() == DOCUMENT


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation(case: schemathesis.Case, trial: Trial) -> None:
    trial.try_case(case)


@pytest.mark.long
@schema.parametrize()
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_for_long(case: schemathesis.Case, trial: Trial) -> None:
    trial.try_case(case)
