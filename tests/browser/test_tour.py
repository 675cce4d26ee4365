"""A newcomer's tour in a real browser: two windows in two regions, from signing in to losing a site."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from browser_window import NARROW, Window
from support import eventually

pytestmark = [pytest.mark.browser, pytest.mark.engines]

Windows = Callable[..., Window]
Picture = Callable[[Window, str], None]


def meet(window: Windows, name: str) -> tuple[Window, Window]:
    """Ada in Europe and Kenji in Asia, in one room that Ada created."""
    ada, kenji = window("Europe", "ada"), window("Asia", "kenji", dark=True)
    ada.create_room(name, ["Kenji Watanabe"])
    kenji.open_room(name)
    return ada, kenji


def served_by(window: Window) -> str:
    """The city that the place badge names."""
    words: str = window.page.locator(".place-words").inner_text()
    return words.rsplit("served by ", 1)[1].strip()


def test_a_newcomer_finds_her_way(window: Windows, picture: Picture) -> None:
    door = window("Europe")
    picture(door, "sign-in")
    ada, kenji = meet(window, "Night sky")
    zofia = window("Europe", "zofia", size=NARROW)
    expect(ada.page.locator(".place-words")).to_contain_text("rests in EMEA, served by ")
    expect(kenji.page.locator(".place-words")).to_contain_text("rests in APAC, served by ")
    assert served_by(ada) in ("Paris", "Frankfurt")
    assert served_by(kenji) in ("Singapore", "Tokyo")

    ada.write("Good evening! Do you see the **moonbow** from Tokyo?")
    expect(kenji.message("Good evening!")).to_be_visible()
    kenji.page.get_by_role("textbox", name="Write to").press_sequentially("Very pale")
    expect(ada.page.get_by_text("Kenji Watanabe is typing…")).to_be_visible()
    kenji.write("Very pale, but yes. See https://en.wikipedia.org/wiki/Moonbow")
    expect(ada.message("Very pale, but yes.")).to_be_visible()
    expect(ada.page.get_by_text("is typing…")).to_have_count(0)
    link = ada.page.get_by_role("link", name="https://en.wikipedia.org/wiki/Moonbow")
    assert link.get_attribute("rel") == "noopener noreferrer nofollow"

    ada.page.get_by_role("button", name="Invite people").click()
    ada.page.get_by_role("dialog").get_by_label("Zofia Kowalska").check()
    ada.page.get_by_role("dialog").get_by_role("button", name="Invite").click()
    expect(ada.page.get_by_role("complementary", name="Members").get_by_text("Zofia Kowalska")).to_be_visible()
    expect(ada.page.get_by_text("3 people in 2 regions")).to_be_visible()

    ada.write("Welcome, Zofia. What each of us writes stays at home:\n- mine in Europe\n- Kenji's in Asia")
    expect(zofia.page.get_by_role("link", name="Night sky, 1 unread message")).to_be_visible()
    picture(zofia, "phone-rooms")
    zofia.open_room("Night sky")
    expect(zofia.message("Welcome, Zofia.")).to_be_visible()
    expect(zofia.message("Good evening!")).to_have_count(0)  # she was not there yet
    expect(kenji.message("Kenji's in Asia")).to_be_visible()
    zofia.write("Thank you! I see it too.")
    expect(ada.message("I see it too.")).to_be_visible()
    for one in (ada, kenji, zofia):
        one.settled()
    picture(ada, "room-light")
    picture(kenji, "room-dark")
    picture(zofia, "phone-room")


def test_unread_is_counted_and_read_on_every_device(window: Windows) -> None:
    name = "Harbour watch"
    zofia, priya = window("Europe", "zofia"), window("Asia", "priya")
    phone = window("Asia", "priya", size=NARROW)
    zofia.create_room(name, ["Priya Raman"])
    priya.open_room(name)
    priya.page.keyboard.press("Control+k")
    expect(priya.page.get_by_role("combobox")).to_be_focused()
    priya.page.keyboard.type("Leilani")
    expect(priya.page.get_by_role("option", selected=True)).to_contain_text("Leilani Kahale")
    priya.page.keyboard.press("Enter")
    expect(priya.page.get_by_role("heading", level=1, name="Leilani Kahale")).to_be_visible()
    for text in ("one", "two"):
        zofia.write(text)
    for one in (priya, phone):
        expect(one.page.get_by_role("link", name=f"{name}, 2 unread messages")).to_be_visible()
    expect(priya.page).to_have_title("(2) Moonbow")
    phone.open_room(name)
    expect(phone.page.locator(".new-line")).to_be_visible()
    expect(priya.page.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(priya.page).to_have_title("Moonbow")


def test_nobody_loses_anything_when_a_site_dies(place: Any, window: Windows, picture: Picture) -> None:
    ada, kenji = meet(window, "Release night")
    said = ["Ready when you are.", "I switch one site off now."]
    for text in said:
        ada.write(text)
    ada.settled()
    city = served_by(ada)
    place.order("kill", site=city.lower())
    try:
        for i in range(1, 6):
            ada.write(f"Europe {i}")
            kenji.write(f"Asia {i}")
        expect(ada.page.get_by_text("Connected again, at ")).to_be_visible(timeout=15_000)
        picture(ada, "landed")
        assert eventually(lambda: served_by(ada) != city, 10)
        said += [f"{where} {i}" for where in ("Europe", "Asia") for i in range(1, 6)]
        for one in (ada, kenji):
            one.settled()
            for text in said:
                expect(one.page.locator(".message").get_by_text(text, exact=True)).to_have_count(1)
        assert order(ada) == order(kenji)
    finally:
        place.order("start", site=city.lower())


def test_a_hung_site_is_noticed_and_left(place: Any, window: Windows) -> None:
    ada, kenji = meet(window, "Silence")
    city = served_by(ada)
    with place.hung(city.lower()):
        began = time.monotonic()
        ada.write("is anybody there?")
        expect(kenji.message("is anybody there?")).to_be_visible(timeout=20_000)
        assert time.monotonic() - began < 20
        assert served_by(ada) != city
    ada.settled()


def test_a_region_dies_and_the_others_are_told(place: Any, window: Windows, picture: Picture) -> None:
    ada, kenji = meet(window, "Two shores")
    kenji.write("The sea is calm here.")
    ada.write("Here it is not.")
    expect(ada.message("The sea is calm here.")).to_be_visible()
    expect(kenji.message("Here it is not.")).to_be_visible()
    left = served_by(ada).lower()
    other = {"paris": "frankfurt", "frankfurt": "paris"}[left]
    for site in ("singapore", "tokyo"):
        place.order("kill", site=site)
    try:
        expect(kenji.page.get_by_text("Your region APAC cannot be reached")).to_be_visible(timeout=30_000)
        picture(kenji, "region-gone")
        place.order("kill", site=other)
        place.order("start", site=other)  # as a site that has no words of Asia in its memory
        place.order("kill", site=left)
        eventually(lambda: served_by(ada).lower() == other, 10)
        ada.page.reload()
        expect(ada.page.get_by_text("Held in APAC, which cannot be reached now.")).to_be_visible(timeout=15_000)
        ada.write("Europe goes on.")
        ada.settled()
        picture(ada, "held")
        kenji.write("Kept here until my region is back.")
    finally:
        for site in ("singapore", "tokyo", left):
            place.order("start", site=site)
    expect(ada.message("The sea is calm here.")).to_be_visible(timeout=30_000)
    expect(kenji.message("Europe goes on.")).to_be_visible(timeout=30_000)
    expect(ada.message("Kept here until my region is back.")).to_be_visible(timeout=30_000)
    kenji.settled()


def order(window: Window) -> list[str]:
    """The texts in view, from above."""
    found: list[str] = window.page.locator(".message .markdown").all_inner_texts()
    return found


def test_a_drained_site_is_left_without_a_word(place: Any, window: Windows) -> None:
    ada, kenji = meet(window, "Tides")
    city = served_by(kenji)
    place.order("drain", site=city.lower())
    try:
        assert eventually(lambda: served_by(kenji) != city, 10)
        ada.write("still there?")
        expect(kenji.message("still there?")).to_be_visible()
        expect(kenji.page.get_by_text("Reconnecting…")).to_have_count(0)
    finally:
        place.order("start", site=city.lower())


def test_what_cannot_cross_is_kept_at_home_and_placed_later(place: Any, window: Windows, picture: Picture) -> None:
    ada, kenji = meet(window, "Beyond the cut")
    ada.write("All is well here.")
    expect(kenji.message("All is well here.")).to_be_visible()
    place.order("cut", a="emea", b="apac")
    try:
        kenji.write("Written while the sea cable is cut.")
        expect(kenji.page.get_by_text("kept in APAC, waiting to be placed")).to_be_visible(timeout=15_000)
        picture(kenji, "kept")
        expect(ada.message("Written while the sea cable is cut.")).to_have_count(0)
    finally:
        place.order("heal", a="emea", b="apac")
    expect(ada.message("Written while the sea cable is cut.")).to_have_count(1, timeout=20_000)
    expect(kenji.page.get_by_text("waiting to be placed")).to_have_count(0, timeout=20_000)
    kenji.settled()


def test_a_message_is_erased_for_everyone(window: Windows) -> None:
    ada, kenji = meet(window, "Slips of the pen")
    kenji.write("a slip of the pen")
    message = ada.message("a slip of the pen")
    expect(message).to_be_visible()
    kenji.message("a slip of the pen").hover()
    kenji.page.get_by_role("button", name="What to do with this message").click()
    kenji.page.get_by_role("menuitem", name="Erase it for everyone").click()
    for one in (ada, kenji):
        expect(one.page.get_by_text("This message was erased.")).to_be_visible()
        expect(one.message("a slip of the pen")).to_have_count(0)


def test_what_was_written_offline_survives_the_page(window: Windows) -> None:
    ada, kenji = meet(window, "Tunnels")
    kenji.context.set_offline(True)
    kenji.write("written in a tunnel")
    expect(kenji.message("written in a tunnel")).to_be_visible()
    kenji.context.set_offline(False)
    kenji.page.reload()
    expect(ada.message("written in a tunnel")).to_have_count(1, timeout=20_000)
    expect(kenji.message("written in a tunnel")).to_have_count(1)
    kenji.settled()


def test_signing_out_everywhere_ends_the_other_window(window: Windows) -> None:
    one, other = window("Europe", "mehmet"), window("Europe", "mehmet")
    one.page.locator(".me").click()
    one.page.get_by_role("menuitem", name="Sign out everywhere").click()
    expect(one.page.get_by_text("You are signed out.")).to_be_visible()
    expect(other.page.get_by_text("Please sign in again.")).to_be_visible(timeout=10_000)


def test_a_wrong_password_is_told_plainly(window: Windows) -> None:
    door = window("Africa")
    door.page.get_by_label("Login").fill("ada@lunar.example")
    door.page.get_by_label("Password", exact=True).fill("wrong")
    door.page.get_by_role("button", name="Sign in").click()
    expect(door.page.get_by_role("alert")).to_contain_text("do not belong together")
