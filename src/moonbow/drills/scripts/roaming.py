"""A person far from home enters at every site, edges included, and is served from home; nothing stays there."""

from __future__ import annotations

from collections.abc import Iterator

from moonbow.base.errors import MoonbowError
from moonbow.sdk import CaughtUp, Client, Connected
from moonbow.watch.canaries import SEALED
from moonbow.watch.search import search

from .. import laws
from ..crowd import PASSWORD
from ..drill import Drill


async def play(drill: Drill) -> None:
    """One person of the last region, at the doors of every site that is not of it."""
    home = drill.stage.regions()[-1]
    words = {what: f"{what}canary{drill.crowd.tag}" for what in ("text", "title", "person")}
    login = f"roamer-{drill.crowd.tag}@drill.test"
    async with drill.admin() as admin:
        await admin.add_person(login, PASSWORD, words["person"], region=home)
    faults: list[str] = []
    sites = [ref.site.name for ref in drill.stage.world.sites() if ref.region != home and ref.site.kind != "witness"]
    for site in sites:
        try:
            faults += [f"{site}: {fault}" for fault in await _visit(drill, site, login, home, words)]
        except (MoonbowError, TimeoutError) as trouble:
            faults.append(f"{site}: {trouble!r}")
        drill.recorder.done(f"entered at {site}")
    drill.verdicts.append(laws.judge("always_served_from_home", f"{len(sites)} sites entered", iter(faults)))
    drill.verdicts.append(
        laws.judge("always_at_rest_at_home_only", "every file elsewhere", _strays(drill, home, words))
    )
    drill.verdicts.append(laws.judge("finally_found_at_home", f"{len(words)} words", _absent(drill, home, words)))


async def _visit(drill: Drill, site: str, login: str, home: str, words: dict[str, str]) -> list[str]:
    """Sign in through one site's doors only, talk, read back; what was not as it should be."""
    faults: list[str] = []
    doors = drill.stage.doors_of(site)
    domain, ca = drill.stage.world.domain, drill.stage.ca
    async with await Client.sign_in(doors, login, PASSWORD, ca=ca, domain=domain) as me:
        served = (await me.me()).served_by
        if served.region != home:
            faults.append(f"REST was served by {served.site} of {served.region}")
        async for event in me.events():
            if isinstance(event, Connected) and event.site not in drill.stage.primaries(home):
                faults.append(f"the stream was served by {event.site}")
            if isinstance(event, CaughtUp):
                break
        room = await me.create_room(words["title"])
        text = f"{words['text']} at {site}"
        posted = await me.send(room.id, text)
        if posted.state != "placed":
            faults.append(f"a post in an own room is {posted.state}, code {posted.code}")
        pages = [page async for page in me.history(room.id)]
        if not any(row.body and row.body.get("text") == text for page in pages for row in page.rows):
            faults.append("the message was not read back")
    return faults


def _strays(drill: Drill, home: str, words: dict[str, str]) -> Iterator[str]:
    for name, paths in search(drill.stage.folders_without(home), words).items():
        yield from (f"the {name} of {home} stands in {path.relative_to(drill.stage.state)}" for path in paths)


def _absent(drill: Drill, home: str, words: dict[str, str]) -> Iterator[str]:
    sealed = SEALED if drill.stage.world.regions[home].data.encrypted else frozenset[str]()
    for name, paths in search(drill.stage.folders_of(home), words).items():
        if not paths and name not in sealed:
            yield f"the {name} is not even at home: the search proves nothing"
