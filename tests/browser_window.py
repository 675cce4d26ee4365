"""A real Chromium that trusts a world's own authority, and the few things tests do in its windows."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
AXE = Path(__file__).parents[1] / "web" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-proxy-server", "--no-sandbox"]  # fmt: skip
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 360, "height": 740}


def missing_tools() -> list[str]:
    """What the machine lacks for these tests, as names of commands."""
    return [name for name in ("chromium", "certutil") if shutil.which(name) is None]


@contextmanager
def browser_trusting(authority: Path, home: Path) -> Iterator[Browser]:
    """Chromium with a private home folder, whose certificate store knows this authority; checks stay on."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for command in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "moonbow", "-i", str(authority)]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *command], check=True, timeout=20)
    environment: dict[str, str | float | bool] = {
        "HOME": str(home),
        "LANG": "en_GB.UTF-8",
        "XDG_CONFIG_HOME": str(home),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env=environment)
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One person's window, at one place on earth.  Everything the page complains about is kept in `faults`."""

    def __init__(self, browser: Browser, origin: str, *, dark: bool = False, size: ViewportSize = WIDE) -> None:
        self.context: BrowserContext = browser.new_context(
            color_scheme="dark" if dark else "light", viewport=size, locale="en-GB", reduced_motion="reduce",
            timezone_id="Europe/Paris",
        )  # fmt: skip
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda line: self.faults.append(line.text) if "Content Security" in line.text else None)
        self.page.goto(origin)
        scheme = "dark" if dark else "light"  # Chromium may say so to the page a moment after it has begun
        expect(self.page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)

    def sign_in(self, person: dict[str, Any]) -> None:
        self.page.get_by_label("Login").fill(person["login"])
        self.page.get_by_label("Password", exact=True).fill(person["password"])
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("navigation", name="Rooms")).to_be_visible()
        expect(self.page.get_by_text("served by")).to_be_visible(timeout=15_000)

    def create_room(self, title: str, invited: list[str]) -> None:
        self.page.get_by_role("button", name="Create a room").first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("Title").fill(title)
        for name in invited:
            dialog.get_by_label(name).check()
        dialog.get_by_role("button", name="Create").click()
        expect(self.page.get_by_role("heading", level=1, name=title)).to_be_visible()

    def open_room(self, title: str) -> None:
        self.page.get_by_role("navigation", name="Rooms").get_by_role("link", name=title).click()
        expect(self.page.get_by_role("heading", level=1, name=title)).to_be_visible()

    def write(self, text: str) -> None:
        area = self.page.get_by_role("textbox", name="Write to")
        area.fill(text)
        area.press("Enter")

    def message(self, text: str) -> Locator:
        return self.page.locator(".message").filter(has_text=text)

    def settled(self) -> None:
        """Nothing of one's own is on its way any more."""
        expect(self.page.locator('.message[data-kind="pending"]')).to_have_count(0)

    def serious_faults(self) -> list[str]:
        """What axe-core finds serious or critical on the page as it is now."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['impact']} {one['id']}: {one['nodes'][0]['target']} {one['nodes'][0]['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    def close(self) -> None:
        self.context.close()
