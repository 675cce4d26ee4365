"""The operators' page in a real browser: what it shows, what may be tried and done there, by whom, and how."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import ViewportSize, expect

from browser_window import NARROW, Window
from support import eventually

pytestmark = [pytest.mark.browser, pytest.mark.engines]

Windows = Callable[..., Window]
Picture = Callable[[Window, str], None]
TALL: ViewportSize = {"width": 1280, "height": 1180}


def open_page(place: Any, window: Windows, **options: Any) -> Window:
    """The page as Ada, whom the world file names, opens it from her menu."""
    one = window("Europe", "ada", **options)
    one.page.locator(".me").click()
    one.page.get_by_role("menuitem", name="Where traffic goes").click()
    expect(one.page.get_by_role("heading", level=1, name="Where traffic goes")).to_be_visible()
    expect(one.page.get_by_role("img", name="World map: 5 sites")).to_be_visible()
    expect(one.page.locator(".world-flow").first).to_be_attached()
    return one


def row(one: Window, part: str, name: str) -> Any:
    """A row of the table of a part of the page."""
    return one.page.get_by_role("region", name=part, exact=True).get_by_role("row").filter(
        has=one.page.get_by_role("rowheader", name=name)
    )  # fmt: skip


def all_well(place: Any) -> None:
    with closing(place.rest("Europe", "ada")) as ada:
        eventually(lambda: ada.get("/v1/operator/director").json()["degraded"] == 0, within_s=30)


def test_the_map_and_its_tables_say_where_everybody_goes(place: Any, window: Windows, picture: Picture) -> None:
    all_well(place)
    one = open_page(place, window, size=TALL)
    expect(one.page.get_by_text("All 5 sites are offered")).to_be_visible()
    for site in ("paris", "frankfurt", "capetown", "singapore", "tokyo"):
        expect(row(one, "Sites", site)).to_contain_text("offered")
        expect(one.page.locator(".world-site").filter(has_text=site)).to_be_attached()
    expect(row(one, "Who goes where", "North America")).to_contain_text("paris")
    picture(one, "traffic-light")
    dark = open_page(place, window, size=TALL, dark=True)
    picture(dark, "traffic-dark")


def test_what_if_is_shown_and_not_applied(place: Any, window: Windows, picture: Picture) -> None:
    all_well(place)
    one = open_page(place, window, size=TALL)
    before = one.page.locator(".world-flow").count()
    one.page.get_by_role("button", name="paris", exact=True).press("Enter")
    expect(one.page.get_by_text("What if paris were down. Nothing of this is applied.")).to_be_visible()
    expect(row(one, "Who would go where", "North America")).to_contain_text("frankfurt")
    expect(one.page.locator('.world-site[data-state="out"]')).to_have_count(1)
    expect(row(one, "Sites", "paris")).to_contain_text("offered")
    picture(one, "traffic-what-if")
    one.page.get_by_role("button", name="frankfurt", exact=True).press("Space")
    expect(one.page.get_by_text("no site of emea would be left to serve the people")).to_be_visible()
    one.page.get_by_role("button", name="Back to what is").click()
    expect(row(one, "Who goes where", "North America")).to_contain_text("paris")
    expect(one.page.locator(".world-flow")).to_have_count(before)


def test_a_site_is_drained_for_a_while_and_taken_back(place: Any, window: Windows) -> None:
    all_well(place)
    one = open_page(place, window, size=TALL)
    one.page.get_by_role("button", name="Drain tokyo").click()
    dialog = one.page.get_by_role("dialog", name="Drain tokyo")
    dialog.get_by_label("For").select_option(label="15 minutes")
    dialog.get_by_label("Why").select_option(label="A trial")
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(row(one, "Sites", "tokyo")).to_contain_text("drained")
    orders = one.page.get_by_role("region", name="Orders")
    expect(orders).to_contain_text("by an operator in emea: trial; until ")
    expect(row(one, "Who goes where", "Asia, 7 countries")).to_contain_text("singaporenot their first choice")
    expect(one.page.get_by_role("region", name="History")).to_contain_text(
        "tokyo is out: drained by an operator in emea"
    )

    one.page.get_by_role("button", name="Drain singapore").click()
    dialog = one.page.get_by_role("dialog", name="Drain singapore")
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("no site of apac would be left")
    expect(dialog.get_by_label("Drain it all the same")).not_to_be_checked()
    assert one.serious_faults() == []
    one.page.keyboard.press("Escape")

    orders.get_by_role("button", name="Take back: Drain tokyo").click()
    expect(orders).to_contain_text("None is in force")
    expect(row(one, "Sites", "tokyo")).to_contain_text("offered", timeout=30_000)


def test_an_address_is_explained(place: Any, window: Windows) -> None:
    all_well(place)
    one = open_page(place, window, size=TALL)
    ask = one.page.get_by_role("region", name="Explain an address")
    ask.get_by_label("Address").fill("1.33.0.1")
    ask.get_by_label("Address").press("Enter")
    expect(ask).to_contain_text("in Japan; slice")
    expect(ask).to_contain_text("tokyo, for 30 s: tokyo is the nearest site of apac")
    ask.get_by_label("Address").fill("mars")
    ask.get_by_role("button", name="Explain").click()
    expect(ask).to_contain_text("'mars' is no IPv4 or IPv6 address")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [TALL, NARROW], ids=["wide", "narrow"])
def test_nothing_serious_stands_in_an_operators_way(
    place: Any, window: Windows, picture: Picture, dark: bool, size: ViewportSize
) -> None:
    one = open_page(place, window, dark=dark, size=size)
    one.page.get_by_role("button", name="paris", exact=True).click()
    expect(one.page.get_by_text("Nothing of this is applied")).to_be_visible()
    expect(one.page.get_by_text("would be sent elsewhere")).to_be_visible()
    assert one.serious_faults() == []
    assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
    body = "document.querySelector('.operator-body')"
    assert one.page.evaluate(f"{body}.scrollWidth <= {body}.clientWidth"), "nor than the page"
    if size is NARROW and not dark:
        picture(one, "phone-traffic")


def test_it_is_for_operators_only(place: Any, window: Windows) -> None:
    kenji = window("Asia", "kenji")
    kenji.page.locator(".me").click()
    expect(kenji.page.get_by_role("menuitem", name="Sign out", exact=True)).to_be_visible()
    expect(kenji.page.get_by_role("menuitem", name="Where traffic goes")).to_have_count(0)
    kenji.page.keyboard.press("Escape")
    loaded = kenji.page.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
    assert not [name for name in loaded if "Operator" in name], "others do not load it"
    kenji.page.goto(place.origin("Asia") + "/#/operator")
    expect(kenji.page.get_by_role("alert").filter(has_text="operators whom the world file names")).to_be_visible()
    with closing(place.rest("Asia", "kenji")) as rest:
        for path in ("", "/flows", "/orders", "/history", "/explain?address=1.1.1.1", "/simulate?down=tokyo"):
            answer = rest.get(f"/v1/operator/director{path}")
            assert (answer.status_code, answer.json()["code"]) == (403, "operator_only")
        wanted = {"site": "tokyo", "why": "trial", "for_s": 60}
        assert rest.post("/v1/operator/director/orders", json=wanted).status_code == 403
        assert rest.delete("/v1/operator/director/orders/o1").status_code == 403
