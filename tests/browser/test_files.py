"""Files in a real browser: offered in every way, sent, seen in another region, and kept going when a site dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from browser_offers import Offer, drop, hover, moonbow, paste
from browser_window import NARROW, Window
from support import eventually

pytestmark = [pytest.mark.browser, pytest.mark.engines]

Windows = Callable[..., Window]
Picture = Callable[[Window, str], None]
REPORT: Offer = ("moonbow sightings.pdf", "application/pdf", b"%PDF-1.4\n" + bytes(range(256)) * 900)
HELD = "Held in APAC, which cannot be reached now."


def views(count: int) -> list[Offer]:
    """Pictures of different shapes."""
    return [(f"bow-{i}.jpg", "image/jpeg", moonbow(900 + 90 * i, 700, i, "JPEG")) for i in range(1, count + 1)]


def room_of(window: Window) -> Locator:
    return window.page.locator(".room-main")


def composer(window: Window) -> Locator:
    return window.page.get_by_role("textbox", name="Write to")


def uploaded(window: Window, count: int) -> None:
    expect(window.page.get_by_role("list", name="Files to send").get_by_text("uploaded")).to_have_count(count)


def meet(window: Windows, title: str, **options: Any) -> tuple[Window, Window]:
    """Ada in Europe and Kenji in Asia, in one room that Ada created."""
    ada, kenji = window("Europe", "ada"), window("Asia", "kenji", **options)
    ada.create_room(title, ["Kenji Watanabe"])
    kenji.open_room(title)
    return ada, kenji


def fits(window: Window) -> bool:
    return bool(window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def served_by(window: Window) -> str:
    words: str = window.page.locator(".place-words").inner_text()
    return words.rsplit("served by ", 1)[1].strip().lower()


def test_pictures_and_files_reach_somebody_in_another_region(window: Windows, picture: Picture) -> None:
    ada, kenji = meet(window, "Falls at night", dark=True)
    held: list[Route] = []
    kenji.page.route("**/content**", lambda route: held.append(route))

    paste(composer(ada), ("image.png", "image/png", moonbow(1200, 800)))
    uploaded(ada, 1)
    ada.write("Last night, over the falls:")
    message = kenji.message("Last night, over the falls:")
    expect(message.get_by_role("button", name="Picture 20")).to_be_visible()
    waiting = message.bounding_box()
    eventually(lambda: len(held) == 1, 10)
    held[0].continue_()
    kenji.page.unroute("**/content**")
    expect(message.get_by_role("img")).to_be_visible()
    assert message.bounding_box() == waiting, "the room of a picture is kept before it has come"

    hover(room_of(ada), REPORT)
    expect(ada.page.get_by_text("Drop files to send them here")).to_be_visible()
    drop(room_of(ada), *views(3), REPORT)
    expect(ada.page.get_by_text("Drop files to send them here")).to_have_count(0)
    uploaded(ada, 4)
    expect(ada.page.get_by_role("status", name="Uploads")).to_have_text("4 files are uploaded.")
    assert ada.serious_faults() == []
    ada.page.get_by_role("button", name="Remove bow-3.jpg").press("Enter")
    expect(ada.page.get_by_role("button", name=f"Remove {REPORT[0]}")).to_be_focused()
    ada.write("Nearer, and what I wrote about it.")
    ada.settled()
    last = kenji.message("Nearer, and what I wrote about it.")
    expect(last.get_by_role("img")).to_have_count(2)
    assert [one.get_attribute("alt") for one in last.get_by_role("img").all()] == ["bow-1.jpg", "bow-2.jpg"]
    with kenji.page.expect_download() as download:
        last.get_by_role("button", name=f"Download {REPORT[0]}").click()
    assert download.value.suggested_filename == REPORT[0]
    assert Path(download.value.path()).read_bytes() == REPORT[2]
    for one in (ada, kenji):
        one.page.mouse.move(0, 0)
        expect(one.page.get_by_role("button", name=f"Download {REPORT[0]}")).to_be_in_viewport(ratio=1)
    picture(ada, "files-light")
    picture(kenji, "files-dark")
    assert ada.serious_faults() == kenji.serious_faults() == []


def test_pictures_are_looked_at_by_keyboard(window: Windows, picture: Picture) -> None:
    ada, kenji = meet(window, "Gallery", size=NARROW)
    drop(room_of(ada), *views(3))
    uploaded(ada, 3)
    ada.write("Three of them.")
    message = kenji.message("Three of them.")
    expect(message.get_by_role("img")).to_have_count(3)
    assert fits(kenji)
    assert kenji.serious_faults() == []
    picture(kenji, "phone-files")
    message.focus()
    kenji.page.keyboard.press("Tab")
    opener = kenji.page.get_by_role("button", name="bow-1.jpg")
    expect(opener).to_be_focused()
    kenji.page.keyboard.press("Enter")
    viewer = kenji.page.get_by_role("dialog", name="Picture")
    expect(viewer.get_by_role("img", name="bow-1.jpg")).to_be_visible()
    expect(viewer.get_by_role("status")).to_have_text("Picture 1 of 3, bow-1.jpg")
    expect(viewer.get_by_role("group", name="1 of 3")).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        kenji.page.keyboard.press(key)
    shown = viewer.locator('img[alt="bow-2.jpg"]:not([data-small])')
    expect(shown).to_be_visible()
    small = width(shown)
    kenji.page.keyboard.press("+")
    eventually(lambda: width(shown) > small * 1.4, 5)
    assert kenji.serious_faults() == []
    assert fits(kenji)
    for _ in range(12):
        kenji.page.keyboard.press("Tab")
        assert kenji.page.evaluate("document.activeElement.closest('[role=dialog]') !== null"), "the focus stays within"
    kenji.page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    expect(opener).to_be_focused()


def width(shown: Locator) -> float:
    box = shown.bounding_box()
    assert box is not None
    return box["width"]


def test_an_upload_goes_on_when_its_site_dies(place: Any, window: Windows) -> None:
    ada, kenji = meet(window, "Films")
    slow = {"offline": False, "latency": 5, "downloadThroughput": -1, "uploadThroughput": 2_000_000}
    ada.context.new_cdp_session(ada.page).send("Network.emulateNetworkConditions", slow)
    sent: list[str] = []
    ada.page.on("request", lambda one: sent.append(one.headers["content-range"]) if one.method == "PUT" else None)
    film = os.urandom(12_000_000)
    drop(room_of(ada), ("film.bin", "application/octet-stream", film))
    ada.write("A film for you.")
    bar = ada.page.get_by_role("progressbar", name="Uploading film.bin")
    eventually(lambda: int(bar.get_attribute("aria-valuenow") or 0) >= 25, 20)
    expect(ada.page.get_by_role("status", name="Uploads")).to_have_text("Uploading 1 file, 25 per cent.")
    expect(kenji.message("A film for you.")).to_have_count(0)
    site = served_by(ada)
    place.order("kill", site=site)
    try:
        ada.write("It takes a moment.")  # what has no files does not wait
        expect(kenji.message("It takes a moment.")).to_be_visible(timeout=20_000)
        expect(kenji.message("A film for you.")).to_be_visible(timeout=40_000)
    finally:
        place.order("start", site=site)
    ada.settled()
    assert served_by(ada) != site
    assert len(set(sent)) == 12, "each part"
    assert len(sent) <= 14, "and none from the beginning again"
    with kenji.page.expect_download() as download:
        kenji.page.get_by_role("button", name="Download film.bin").click()
    assert Path(download.value.path()).read_bytes() == film


def test_what_rests_in_a_silent_region_says_so_and_comes_later(place: Any, window: Windows) -> None:
    ada, kenji = meet(window, "Far shore")
    drop(room_of(kenji), *views(1), REPORT)
    uploaded(kenji, 2)
    kenji.write("From here.")
    expect(ada.message("From here.").get_by_role("img")).to_be_visible()
    card = ada.page.get_by_role("group", name=REPORT[0])
    place.order("cut", a="emea", b="apac")
    try:
        card.get_by_role("button", name="Download").click()
        expect(card.get_by_text(HELD)).to_be_visible(timeout=15_000)
        ada.page.get_by_role("button", name="bow-1.jpg").click()
        expect(ada.page.get_by_role("dialog", name="Picture").get_by_text(HELD)).to_be_visible(timeout=15_000)
        assert ada.serious_faults() == []
        ada.page.keyboard.press("Escape")
    finally:
        place.order("heal", a="emea", b="apac")
    with closing(place.rest("Europe", "ada")) as rest:
        eventually(lambda: rest.get("/v1/people").json()["missing"] == [], 20)
    with ada.page.expect_download() as download:
        card.get_by_role("button", name="Try again").click()
    assert Path(download.value.path()).read_bytes() == REPORT[2]


def test_what_is_erased_or_deleted_takes_its_files_along(window: Windows) -> None:
    ada, kenji = meet(window, "Second thoughts")
    for offer, words in zip(views(2), ("the first", "the second"), strict=True):
        drop(room_of(ada), offer)
        uploaded(ada, 1)
        ada.write(words)
        expect(kenji.message(words).get_by_role("img")).to_be_visible()
    ada.settled()
    ada.message("the first").hover()
    ada.page.get_by_role("button", name="What to do with this message").click()
    ada.page.get_by_role("menuitem", name="Erase it for everyone").click()
    for each in (ada, kenji):
        expect(each.page.get_by_text("This message was erased.")).to_be_visible()
        expect(each.page.get_by_role("img", name="bow-1.jpg")).to_have_count(0)

    ada.page.locator(".me").click()
    ada.page.get_by_role("menuitem", name="My files").click()
    files = ada.page.get_by_role("dialog", name="My files")
    expect(files.get_by_role("meter", name="Space used")).to_be_visible()
    expect(files.get_by_text("of 5 GB used")).to_be_visible()
    files.get_by_role("button", name="Delete bow-2.jpg").first.press("Enter")
    asked = files.get_by_role("group", name="Delete bow-2.jpg?")
    expect(asked).to_contain_text("Messages that carry it lose it, for everyone.")
    assert ada.serious_faults() == []
    asked.get_by_role("button", name="Delete").press("Enter")
    expect(asked).to_have_count(0)
    ada.page.keyboard.press("Escape")
    expect(ada.page.locator(".me")).to_be_focused()
    expect(ada.message("the second")).to_contain_text("This file was deleted.")
    kenji.page.reload()
    expect(kenji.message("the second")).to_contain_text("This file was deleted.")


def test_limits_are_told_before_anything_is_sent(window: Windows) -> None:
    zofia = window("Europe", "zofia", size=NARROW)
    zofia.create_room("Limits", [])
    asked: list[str] = []
    zofia.page.on("request", lambda one: asked.append(one.url) if "/v1/files" in one.url else None)
    drop(room_of(zofia), ("empty.txt", "text/plain", b""))
    expect(zofia.page.locator(".toast")).to_contain_text("empty.txt is empty, or a folder.")
    assert asked == []
    notes: list[Offer] = [(f"note-{i:02}.txt", "text/plain", b"moon") for i in range(12)]
    drop(room_of(zofia), *notes)
    expect(zofia.page.locator(".toast")).to_contain_text("One message carries up to 10 files; 2 were left out.")
    uploaded(zofia, 10)
    assert zofia.serious_faults() == []
    assert fits(zofia)
    zofia.page.get_by_role("button", name="Send").click()
    zofia.settled()
    expect(zofia.page.get_by_role("button", name="Download note-")).to_have_count(10)


def test_a_portrait_stands_for_its_person(window: Windows) -> None:
    kenji, ada = window("Asia", "kenji", dark=True), window("Europe", "ada", size=NARROW)
    kenji.page.locator(".me").click()
    kenji.page.get_by_role("menuitem", name="Your picture").click()
    dialog = kenji.page.get_by_role("dialog", name="Your picture")
    portrait: Any = {"name": "me.png", "mimeType": "image/png", "buffer": moonbow(900, 600, 3)}
    dialog.locator("input[type=file]").set_input_files(portrait)
    dialog.get_by_role("group", name="Cut-out").press("ArrowRight")
    dialog.get_by_role("slider", name="Nearer").press("ArrowRight")
    assert kenji.serious_faults() == []
    dialog.get_by_role("button", name="Use it").click()
    expect(kenji.page.locator(".me .avatar-picture")).to_be_visible()
    expect(dialog).to_have_count(0)

    ada.page.reload()
    expect(ada.page.get_by_text("served by")).to_be_visible(timeout=15_000)
    ada.page.keyboard.press("Control+k")
    ada.page.keyboard.type("Kenji")
    found = ada.page.get_by_role("option").filter(has_text="Kenji Watanabe")
    expect(found.locator(".avatar-picture")).to_be_visible(timeout=15_000)

    kenji.page.locator(".me").click()
    kenji.page.get_by_role("menuitem", name="Your picture").click()
    dialog.get_by_role("button", name="Remove").click()
    expect(kenji.page.locator(".me .avatar-picture")).to_have_count(0)
