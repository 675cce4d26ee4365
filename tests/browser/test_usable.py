"""Can everybody use it: keyboard, small screens, both colour schemes, long histories; axe-core finds nothing serious."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import expect

from browser_window import NARROW, Window

pytestmark = [pytest.mark.browser, pytest.mark.engines]

Windows = Callable[..., Window]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [None, NARROW], ids=["wide", "narrow"])
def test_nothing_serious_stands_in_anybodys_way(
    place: Any, window: Windows, dark: bool, size: dict[str, int] | None
) -> None:
    options: dict[str, Any] = {"dark": dark} | ({} if size is None else {"size": size})
    one = window("Europe", **options)
    faults = {"door": one.serious_faults()}
    one.sign_in(place.people["priya"])
    faults["rooms"] = one.serious_faults()
    one.page.keyboard.press("Control+k")
    expect(one.page.get_by_role("option").first).to_be_visible()
    faults["switcher"] = one.serious_faults()
    one.page.keyboard.press("Escape")
    one.page.locator(".me").click()
    expect(one.page.get_by_role("menuitem").first).to_be_visible()
    faults["menu"] = one.serious_faults()
    one.page.keyboard.press("Escape")
    name = f"Reach {uuid.uuid4().hex[:6]}"
    one.page.get_by_role("button", name="Create a room").first.click()
    expect(one.page.get_by_role("checkbox").first).to_be_visible()
    faults["dialog"] = one.serious_faults()
    one.page.keyboard.press("Escape")
    one.create_room(name, ["Ada Okafor"])
    one.write("**Bold**, `code`, a [link](https://example.org)\n\n> a quotation\n\n```\nlet there be = light\n```")
    expect(one.message("let there be")).to_be_visible()
    one.settled()
    faults["room"] = one.serious_faults()
    if size is not None:
        one.page.get_by_role("button", name="Members").click()
    expect(one.page.get_by_text("people in 2 regions")).to_be_visible()
    faults["members"] = one.serious_faults()
    assert {where: found for where, found in faults.items() if found} == {}
    assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"


def test_everything_is_within_reach_of_the_keyboard(window: Windows) -> None:
    ada = window("Europe", "ada")
    names = [f"Keys {uuid.uuid4().hex[:6]}" for _ in range(2)]
    for name in names:
        ada.create_room(name, [])
        ada.write(f"in {name}")
        ada.settled()
    heading = ada.page.get_by_role("heading", level=1)
    ada.page.keyboard.press("Alt+ArrowDown")
    expect(heading).to_have_text(names[0])
    ada.page.keyboard.press("Alt+ArrowUp")
    expect(heading).to_have_text(names[1])
    ada.page.keyboard.press("Control+k")
    expect(ada.page.get_by_role("combobox")).to_be_focused()
    ada.page.keyboard.type(names[0][-6:])
    expect(ada.page.get_by_role("option", selected=True)).to_contain_text(names[0])
    ada.page.keyboard.press("Enter")
    expect(heading).to_have_text(names[0])

    ada.page.reload()
    expect(heading).to_have_text(names[0])
    expect(ada.message(f"in {names[0]}")).to_be_visible()
    ada.page.keyboard.press("Tab")
    expect(ada.page.get_by_role("link", name="Skip to the messages")).to_be_focused()
    ada.page.keyboard.press("Tab")
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_role("textbox", name="Write to")).to_be_focused()
    ada.page.keyboard.type("one\n")
    ada.page.keyboard.type("two")
    ada.page.keyboard.press("Shift+Enter")
    ada.page.keyboard.type("three\n")
    expect(ada.page.locator(".message")).to_have_count(3)
    ada.settled()
    for _ in range(8):  # back out of the composer, to the one stop that all messages are together
        ada.page.keyboard.press("Shift+Tab")
        if ada.page.evaluate("document.activeElement.classList.contains('message')"):
            break
    expect(ada.page.locator(".message").last).to_be_focused()
    ada.page.keyboard.press("ArrowUp")
    expect(ada.message("one")).to_be_focused()
    ada.page.keyboard.press("Tab")
    expect(ada.page.get_by_role("button", name="What to do with this message")).to_be_focused()


def test_new_messages_are_read_out(window: Windows) -> None:
    name = f"Aloud {uuid.uuid4().hex[:6]}"
    ada, kenji = window("Europe", "ada"), window("Asia", "kenji")
    ada.create_room(name, ["Kenji Watanabe"])
    kenji.open_room(name)
    kenji.write("can you hear me?")
    log = ada.page.get_by_role("log", name="New messages")
    expect(log).to_have_text("Kenji Watanabe: can you hear me?")
    assert log.get_attribute("aria-live") == "polite"


def test_a_long_history_comes_as_one_scrolls_and_does_not_move(place: Any, window: Windows) -> None:
    name, count = f"Long {uuid.uuid4().hex[:6]}", 130
    with closing(place.rest("Europe", "zofia")) as zofia:
        room = zofia.post("/v1/rooms", json={"title": name}).raise_for_status().json()["id"]
        for i in range(count):
            body = {"client_id": str(uuid.uuid4()), "text": f"line {i:03} " + "and so on " * (i % 23)}
            zofia.post(f"/v1/rooms/{room}/entries", json=body).raise_for_status()
    one = window("Europe", "zofia")
    one.open_room(name)
    expect(one.message(f"line {count - 1:03}")).to_be_in_viewport()
    one.page.locator(".timeline").hover()
    seen: set[str] = set()
    for _ in range(200):
        lines = one.page.locator(".message .markdown").all_inner_texts()
        assert [line[:8] for line in lines] == sorted(line[:8] for line in lines), "always in order"
        seen |= {line[:8] for line in lines}
        if one.page.get_by_text("This is where the room begins.").is_visible():
            break
        one.page.mouse.wheel(0, -400)
        one.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert len(seen) == count
    one.page.get_by_role("button", name="Latest").click()
    expect(one.message(f"line {count - 1:03}")).to_be_in_viewport()
    assert one.page.locator(".message").count() < count, "only what is in view is in the page"
