"""A real world of two regions, and raw clients that say what a well-behaved one never would."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from moonbow.directory.keys import KeyRing
from moonbow.world import World, load_world
from moonbow.world.policy import Ports, door_address
from support import eventually

WORLDS = Path(__file__).parents[1] / "worlds"
SLOT = int(os.environ.get("MOONBOW_SLOT", "1"))  # to run beside another run


class Scene:
    """A running world, its people, and ways to talk to its doors."""

    def __init__(self, world: World, state: Path) -> None:
        self.world, self.state = world, state
        self.tls = ssl.create_default_context(cafile=str(state / "pki" / "ca.crt"))
        demo = json.loads((state / "world" / "demo.json").read_text())
        self.people = [person for company in demo["companies"] for person in company["people"]]

    def address(self, site: str, door: int = 0) -> str:
        return door_address(self.world, self.world.site(site), door)

    def rest(self, site: str, token: str | None = None) -> httpx.Client:
        headers = {"Host": self.world.domain} | ({"Authorization": f"Bearer {token}"} if token else {})
        client = httpx.Client(
            base_url=f"https://{self.address(site)}:{Ports.DOOR}", verify=self.tls, headers=headers, timeout=10
        )
        client.event_hooks["request"] = [lambda r: r.extensions.update(sni_hostname=self.world.domain)]
        return client

    def person(self, region: str, number: int = 0) -> dict[str, Any]:
        return [p for p in self.people if p["region"] == region][number]

    def sign_in(self, site: str, person: dict[str, Any]) -> dict[str, Any]:
        with self.rest(site) as client:
            answer = client.post("/v1/sessions", json={"login": person["login"], "password": person["password"]})
            assert answer.status_code == 201, answer.text
            session: dict[str, Any] = answer.json()
            return session


class Raw(WSListener):
    """A socket without manners: keeps every frame, sends what it is told."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.closed: tuple[int, bytes] | None = None
        self.gone = asyncio.Event()
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self.frames.append(json.loads(frame.get_payload_as_bytes()))
        elif frame.msg_type is WSMsgType.CLOSE:
            code = frame.get_close_code()
            self.closed = (getattr(code, "value", code), frame.get_close_message())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone.set()

    def send(self, frame: Any) -> None:
        assert self.transport is not None
        data = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        self.transport.send(WSMsgType.TEXT, data)

    async def wait(self, t: str, /, within_s: float = 5.0, **fields: Any) -> dict[str, Any]:
        """The first frame of a kind with these fields, taken out of what came."""
        end = asyncio.get_running_loop().time() + within_s
        while True:
            for frame in self.frames:
                if frame["t"] == t and all(frame.get(key) == value for key, value in fields.items()):
                    self.frames.remove(frame)
                    return frame
            assert asyncio.get_running_loop().time() < end, f"no {t} {fields} among {self.frames}"
            await asyncio.sleep(0.01)

    async def leave(self) -> None:
        """Close without a word, and let the loop see it."""
        if self.transport is not None:
            self.transport.disconnect(False)
            await asyncio.wait_for(self.gone.wait(), 5)


async def dial(scene: Scene, site: str, token: str, *, browser: bool = False) -> Raw:
    """A socket through a site's door; as a browser sends its token, or in a header."""
    headers = {"Host": scene.world.domain}
    if browser:
        headers["Sec-WebSocket-Protocol"] = f"moonbow.v1, moonbow.jwt.{token}"
    else:
        headers["Authorization"] = f"Bearer {token}"
    url = f"wss://{scene.address(site)}:{Ports.DOOR}/v1/stream"
    _, raw = await ws_connect(
        Raw, url, ssl_context=scene.tls, server_hostname=scene.world.domain, extra_headers=headers, use_aiofastnet=False
    )
    return raw


async def hello(scene: Scene, site: str, token: str) -> tuple[Raw, dict[str, Any]]:
    """A socket that has been welcomed."""
    raw = await dial(scene, site, token)
    raw.send({"t": "hello"})
    return raw, await raw.wait("welcome")


def new_id() -> str:
    return str(uuid.uuid4())


def forge(claims: dict[str, Any], key: Ed25519PrivateKey, kid: str, alg: str = "EdDSA") -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{part({'alg': alg, 'kid': kid, 'typ': 'JWT'})}.{part(claims)}"
    proof = b"" if alg == "none" else key.sign(signed.encode())
    return f"{signed}.{base64.urlsafe_b64encode(proof).rstrip(b'=').decode()}"


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def region_key(scene: Scene, region: str) -> tuple[Ed25519PrivateKey, str]:
    """A region's real signing key, as a thief would have it, and its id."""
    ring = KeyRing(region, scene.state / "regions" / region / "keys")
    ring.open(time.time())
    kid, key = ring.signer(time.time())
    return key, kid


def region_door(scene: Scene, region: str) -> str:
    """A site of a region."""
    return scene.world.primaries(region)[0].site.name


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("gateway")
    file = folder / "world.toml"
    text = (WORLDS / "laptop.toml").read_text().replace("doors = 2", "doors = 1")
    file.write_text(f"slot = {SLOT}\n{text}")
    state = folder / "state"
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "moonbow.launch", "--world", str(file), "--state", str(state)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert launcher.stdout is not None
    try:
        said = [json.loads(line) for line in launcher.stdout]
        assert said[-1:] == [{"ready": True}], said[-1:]
        found = Scene(load_world(file), state)
        for ref in found.world.sites():
            with found.rest(ref.site.name) as client:
                eventually(lambda c=client: c.get("/healthz").status_code == 200, within_s=20)
        for region in found.world.regions:  # every door reaches every home
            token = found.sign_in(region_door(found, region), found.person(region, 2))["access_token"]
            for ref in found.world.sites():
                with found.rest(ref.site.name, token) as client:
                    eventually(lambda c=client: c.get("/v1/me").status_code == 200, within_s=20)
        yield found
    finally:
        launcher.terminate()
        launcher.wait(20)
        launcher.stdout.close()
