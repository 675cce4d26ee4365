"""A private world of two regions in its own slot, and a Chromium that trusts it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from browser_window import Window, browser_trusting, missing_tools
from moonbow.launch.control import ask
from moonbow.world import load_world
from moonbow.world.policy import place_port

ROOT = Path(__file__).parents[2]
SLOT = 10
PICTURES = ROOT / "docs" / "pictures"


class Place:
    """The running world as these tests use it: where to knock, who lives there, and what can be broken."""

    def __init__(self, file: Path, state: Path) -> None:
        self.world, self.state = load_world(file), state
        demo = json.loads((state / "world" / "demo.json").read_text())
        self.people: dict[str, dict[str, Any]] = {
            person["name"].split()[0].lower(): person for company in demo["companies"] for person in company["people"]
        }
        self.authority = state / "pki" / "ca.crt"

    def origin(self, place: str) -> str:
        """Where somebody at this place on earth goes, as `https://…`."""
        port = next(place_port(self.world, one.port) for one in self.world.places if one.name == place)
        return f"https://{self.world.domain}:{port}"

    def order(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Kill, start, drain a site; cut and heal links."""
        return ask(self.state / "control.sock", {"op": op, **arguments})

    @contextmanager
    def hung(self, site: str) -> Iterator[None]:
        """Every gateway of a site stopped where it stands, as by a fault that no process sees; goes on afterwards."""
        marks = [b"moonbow.gateway", str(self.state).encode(), site.encode()]
        found = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and _says(one, marks)]
        assert found
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def rest(self, place: str, who: str) -> httpx.Client:
        """A signed-in client without a browser; its taker closes it."""
        port = self.origin(place).rsplit(":", 1)[1]
        client = httpx.Client(
            base_url=f"https://127.0.0.1:{port}",
            headers={"Host": self.world.domain},
            verify=ssl.create_default_context(cafile=str(self.authority)),
            timeout=10,
        )
        client.event_hooks["request"] = [lambda sent: sent.extensions.update(sni_hostname=self.world.domain)]
        person = self.people[who]
        answer = client.post("/v1/sessions", json={"login": person["login"], "password": person["password"]})
        client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        return client


def _says(process: Path, words: list[bytes]) -> bool:
    """Whether a process was started with all these words."""
    try:
        said = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return all(word in said for word in words)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if missing_tools():
        pytest.skip("needs a browser: apt-get install -y chromium libnss3-tools")
    if not (ROOT / "web" / "dist" / "index.html").is_file():
        pytest.skip("the web client is not built: (cd web && npm ci && npm run build)")
    folder = tmp_path_factory.mktemp("world")
    file, state = folder / "world.toml", folder / "state"
    file.write_text(f"slot = {SLOT}\n" + (ROOT / "worlds" / "laptop.toml").read_text())
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "moonbow.launch", "--world", str(file), "--state", str(state)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert launcher.stdout is not None
    try:
        said = [json.loads(line) for line in launcher.stdout]
        assert said[-1].get("ready"), said[-1]
        yield Place(file, state)
    finally:
        launcher.terminate()
        launcher.wait(30)
        launcher.stdout.close()


@pytest.fixture(scope="session")
def browser(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser_trusting(place.authority, tmp_path_factory.mktemp("home")) as chromium:
        yield chromium


@pytest.fixture
def window(place: Place, browser: Browser) -> Iterator[Callable[..., Window]]:
    """Opens windows: `window("Europe", "ada", dark=True)`; all are closed at the end, and none may have complained."""
    opened: list[Window] = []

    def at(where: str, who: str | None = None, **options: Any) -> Window:
        one = Window(browser, place.origin(where), **options)
        opened.append(one)
        if who is not None:
            one.sign_in(place.people[who])
        return one

    yield at
    faults = [fault for one in opened for fault in one.faults]
    for one in opened:
        one.close()
    assert faults == []


@pytest.fixture
def picture() -> Callable[[Window, str], None]:
    """Writes a picture for the README when MOONBOW_PICTURES=1."""

    def take(window: Window, name: str) -> None:
        if os.environ.get("MOONBOW_PICTURES") == "1":
            PICTURES.mkdir(parents=True, exist_ok=True)
            window.page.screenshot(path=str(PICTURES / f"{name}.png"))

    return take
