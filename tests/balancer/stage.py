"""A small world with real doors, for the tests of the balancer: Envoys, peers that play gateways, links, tokens."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moonbow.balancer.adapters.envoy import REJECTED, Admin
from moonbow.balancer.model import Door
from moonbow.balancer.process import Balancer, door_argv, ready_url
from moonbow.launch.links import plan_links
from moonbow.launch.pki import ensure_pki
from moonbow.launch.relay import Relay
from moonbow.wire.values import Problem
from moonbow.world import Ports, SiteRef, World, door_address, parse_world, site_address
from support import eventually

CLIENT = "127.70.200.77"  # an address of slot 3 that no site has
PERSON = "usr_emea_01k0000000000000000000secr"

TEXT = """
name = "doors"
domain = "moonbow.localhost"
slot = 3
[balancing]
rest = "{rest}"
stream = "{stream}"
[regions.emea]
title = "Europe"
sites = [{{ name = "paris", city = "P", at = [48.9, 2.4], gateways = 2 }},
         {{ name = "frankfurt", city = "F", at = [50.1, 8.7] }},
         {{ name = "capetown", city = "C", at = [-33.9, 18.4], kind = "edge" }}]
[regions.apac]
title = "Asia"
sites = [{{ name = "singapore", city = "S", at = [1.35, 103.8] }}]
[regions.cn]
title = "China"
sealed = true
sites = [{{ name = "shanghai", city = "S", at = [31.2, 121.5] }}]
[traffic]
default = "emea"
"""


def make_world(rest: str = "round_robin", stream: str = "round_robin") -> World:
    return parse_world(TEXT.format(rest=rest, stream=stream))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def problem(answer: Answer) -> tuple[int, str, bool]:
    """Status, code and `retryable` of an answer that must be an RFC 9457 problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(answer.body, type=Problem)
    assert found.status == answer.status
    return found.status, found.code, found.retryable


class Signer:
    """A region's token key."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.kid = f"{region}-1"
        self.key = Ed25519PrivateKey.generate()

    def public(self) -> dict[str, str]:
        return {"kid": self.kid, "x": encode64(self.key.public_key().public_bytes_raw())}

    def token(self, *, iss: str | None = None, ttl_s: int = 600, sub: str = PERSON) -> str:
        now = int(time.time())
        region = iss or self.region
        claims = {"iss": region, "home": region, "sub": sub, "iat": now, "exp": now + ttl_s}
        header = {"alg": "EdDSA", "kid": self.kid, "typ": "JWT"}
        signed = ".".join(encode64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{encode64(self.key.sign(signed.encode()))}"


def encode64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Links:
    """The links between the sites, in a loop of their own."""

    def __init__(self, world: World) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.relays: dict[tuple[str, str], Relay] = {}
        for link in plan_links(world):
            if link.listen[1] == Ports.MESH:
                relay = Relay(link.listen, _always(link.targets), bind=link.bind, connections_max=100)
                self.relays[link.source, link.dest] = relay
        self.do(lambda relay: relay.open())

    def do(self, what: Any, *pairs: tuple[str, str]) -> None:
        async def all_of_them() -> None:
            for pair in pairs or tuple(self.relays):
                result = what(self.relays[pair])
                if result is not None:
                    await result

        asyncio.run_coroutine_threadsafe(all_of_them(), self.loop).result(5)

    def close(self) -> None:
        self.do(lambda relay: relay.cut())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


def _always(targets: Any) -> Any:
    async def found() -> Any:
        return targets

    return found


class Stage:
    """Everything of one world that tests start, stop and ask."""

    def __init__(self, world: World, state: Path) -> None:
        self.world, self.state = world, state
        pki = ensure_pki(world, state)
        self.context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.signers = {region: Signer(region) for region in world.regions}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.balancers: dict[str, Balancer] = {}
        self.links = Links(world)

    # processes

    def start_door(self, site: str, *, keys: bool = True) -> None:
        ref = self.world.site(site)
        folder = self.state / "sites" / site
        folder.mkdir(parents=True, exist_ok=True)
        if keys:
            self.publish(site, *self.signers.values())
        self.balancers[site] = Balancer(self.world, ref, self.state)
        self.balancers[site].write_all()
        with (folder / "envoy.err").open("wb") as err:
            self.processes[f"door-{site}"] = subprocess.Popen(door_argv(self.world, ref, 0, self.state), stderr=err)

    def door_ready(self, site: str) -> bool:
        ref = self.world.site(site)
        return self.plain(ready_url(self.world, ref, 0)).status == 200

    def start_gateway(self, site: str, number: int = 0) -> None:
        ref = self.world.site(site)
        name = f"{site}-{number}"
        argv = [sys.executable, str(Path(__file__).with_name("peer.py"))]
        argv += [site_address(self.world, ref), str(number), name]
        self.processes[name] = subprocess.Popen(argv)

    def kill(self, *names: str) -> None:
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes.pop(name).wait(5)

    def close(self) -> None:
        self.kill(*tuple(self.processes))
        self.links.close()

    # what changes

    def publish(self, site: str, *signers: Signer) -> None:
        self.write(f"sites/{site}/jwks.json", {signer.region: [signer.public()] for signer in signers})

    def write(self, name: str, content: object) -> None:
        beside = self.state / (name + ".new")
        beside.write_text(json.dumps(content))
        os.replace(beside, self.state / name)

    def control(self, site: str, number: int, what: str, value: str) -> None:
        host = site_address(self.world, self.world.site(site))
        self.plain(f"http://{host}:{7100 + number}/control/{what}/{value}")

    # asking

    def ref(self, site: str) -> SiteRef:
        return self.world.site(site)

    def plain(self, url: str) -> Answer:
        host, _, path = url.removeprefix("http://").partition("/")
        with closing(http.client.HTTPConnection(host, timeout=5)) as connection:
            return exchange(connection, "GET", "/" + path, None, {})

    def ask(
        self,
        site: str,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own, through the site's door."""
        with closing(self.connect(site)) as connection:
            return exchange(connection, method, path, body, _with_token(headers, token))

    def burst(self, site: str, path: str, count: int, *, token: str | None = None) -> list[Answer]:
        """`count` requests, one after the other, on one connection."""
        with closing(self.connect(site)) as connection:
            return [exchange(connection, "GET", path, None, _with_token(None, token)) for _ in range(count)]

    def connect(self, site: str) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self.world.domain, Ports.DOOR, timeout=10, context=self.context)
        connection.sock = self.dial(site)
        return connection

    def dial(self, site: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A TLS connection to the site's door, from the address of a client."""
        raw = socket.create_connection((door_address(self.world, self.ref(site), 0), Ports.DOOR), 5, (CLIENT, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return (context or self.context).wrap_socket(raw, server_hostname=self.world.domain)

    def stream(self, site: str, token: str, **headers: str) -> WebSocket:
        """The stream through the site's door, with the token where browsers put it."""
        return WebSocket(self.dial(site), token, headers)

    def mesh(self, site: str, stem: str | None, authority: str = "mesh-ca") -> ssl.SSLSocket:
        """A TLS connection to the mesh listener with the certificate `stem`, or without one."""
        context = ssl.create_default_context(cafile=str(self.state / "pki" / f"{authority}.crt"))
        context.check_hostname = False
        if stem:
            context.load_cert_chain(self.state / "pki" / f"{stem}.crt", self.state / "pki" / f"{stem}.key")
        raw = socket.create_connection((door_address(self.world, self.ref(site), 0), Ports.MESH), 5)
        return context.wrap_socket(raw)

    def stats(self, site: str, pattern: str) -> dict[str, int]:
        """Numbers of the site's first door, from its administration."""

        async def asked() -> dict[str, int]:
            admin = Admin(Door(self.world, self.ref(site), 0, self.state).admin_socket)
            try:
                return await admin.stats(pattern)
            finally:
                await admin.close()

        return asyncio.run(asked())

    def stat(self, site: str, name: str) -> int:
        return self.stats(site, f"^{re.escape(name)}$").get(name, 0)

    def rejected(self, site: str) -> dict[str, int]:
        return {name: count for name, count in self.stats(site, REJECTED).items() if count}

    def log(self, site: str) -> str:
        return (self.state / "sites" / site / "logs" / "door0.jsonl").read_text()


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> Answer:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    cookies = [value for name, value in response.getheaders() if name.lower() == "set-cookie"]
    return Answer(response.status, found, response.read(), cookies)


def _with_token(headers: dict[str, str] | None, token: str | None) -> dict[str, str]:
    return {**(headers or {}), **({"authorization": f"Bearer {token}"} if token else {})}


class WebSocket:
    """A client with the token in `Sec-WebSocket-Protocol`, as browsers send it.  `head` is the door's answer."""

    def __init__(self, sock: ssl.SSLSocket, token: str, headers: dict[str, str]) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            "GET /v1/stream HTTP/1.1\r\nHost: moonbow.localhost:8443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: moonbow.v1, moonbow.jwt.{token}\r\n{extra}\r\n"
        )
        sock.sendall(request.encode())
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            if not line:
                break
            self.head += line
        self.status = int(self.head.split(b" ", 2)[1])

    def receive(self) -> bytes:
        _, size = self.file.read(2)
        if size == 126:
            size = int.from_bytes(self.file.read(2), "big")
        return self.file.read(size)

    def send(self, text: bytes) -> None:
        self.sock.sendall(b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text)

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def start_all(stage: Stage) -> None:
    """Every gateway and door of the open regions, ready and healthy."""
    for site, number in (("paris", 0), ("paris", 1), ("frankfurt", 0), ("singapore", 0)):
        stage.start_gateway(site, number)
    for site in ("paris", "frankfurt", "singapore", "capetown"):
        stage.start_door(site)
    for site in ("paris", "frankfurt", "singapore", "capetown"):
        eventually(lambda site=site: stage.door_ready(site), within_s=10)
        eventually(lambda site=site: stage.ask(site, "/healthz").status == 200, within_s=10)
    token = stage.signers["apac"].token()
    for site in ("paris", "frankfurt", "capetown"):
        eventually(lambda site=site: stage.ask(site, "/v1/me", token=token).status == 200, within_s=10)
    token = stage.signers["emea"].token()
    both = {"paris-0", "paris-1"}
    eventually(lambda: {answer.json.get("name") for answer in stage.burst("paris", "/v1/me", 4, token=token)} == both)
