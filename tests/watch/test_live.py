"""What runs is looked at, and a bus that is not as it should be is found: real servers, real connections."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
import pytest

from audited_world import Lived
from bus_servers import SERVER
from moonbow.bus.policy import Server, render_server
from moonbow.watch.book import Book
from moonbow.watch.live import look_at_sites
from moonbow.watch.locks import try_bus
from moonbow.world import Ports, load_world, site_address
from support import eventually, listens

pytestmark = pytest.mark.engines


@contextmanager
def server(state: Path, folder: Path, kind: Server, change: Callable[[str], str]) -> Iterator[None]:
    """A bus server of paris with a changed configuration, which lies in `folder`."""
    world = load_world(state / "world.toml")
    ref, path = world.site("paris"), folder / f"{kind}.conf"
    path.write_text(change(render_server(world, ref, state, kind)))
    port = Ports.BUS if kind == "bus" else Ports.BORDER
    with subprocess.Popen([SERVER, "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: listens(site_address(world, ref), port), within_s=10)
            yield
        finally:
            process.kill()


def found(book: Book) -> dict[tuple[str, str], bool | None]:
    return {(control.code, control.place): control.held for control in book.controls}


def test_a_bus_with_a_store_and_a_stranger_is_found(lived: Lived, tmp_path: Path) -> None:
    world = load_world(lived.state / "world.toml")
    ref, book = world.site("paris"), Book()

    def open_to_all(_: str) -> str:
        host = site_address(world, ref)
        return f'listen: "{host}:{Ports.BUS}"\nhttp: "{host}:{Ports.BUS_MONITOR}"\njetstream {{ store_dir: "{tmp_path}" }}\n'

    async def main() -> None:
        client = await nats.connect(f"nats://{site_address(world, ref)}:{Ports.BUS}")
        try:
            await look_at_sites(world, [ref], book)
        finally:
            await client.close()

    with server(lived.state, tmp_path, "bus", open_to_all):
        asyncio.run(main())
    assert found(book)["bus_store", "paris/bus"] is False
    assert found(book)["bus_user", "paris/bus"] is False
    assert found(book)["live_unseen", "paris/border"] is False
    assert found(book)["live_unseen", "paris/gateway0"] is False


def _any_region(text: str) -> str:
    return text.replace('{ user: "x.emea', '{ user: "x.apac.bus.moonbow" }, { user: "x.emea')


def _any_subject(text: str) -> str:
    return text.replace('"private.emea.to.*.>"', '"private.*.to.*.>"')


def _as_it_should(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (_as_it_should, {"bus_foreign_user": True, "bus_foreign_subject": True}),
        (_any_region, {"bus_foreign_user": False, "bus_foreign_subject": True}),
        (_any_subject, {"bus_foreign_user": True, "bus_foreign_subject": False}),
    ],
)
def test_an_open_border_is_found(
    lived: Lived, tmp_path: Path, change: Callable[[str], str], wanted: dict[str, bool]
) -> None:
    world, book = load_world(lived.state / "world.toml"), Book()
    with server(lived.state, tmp_path, "border", change):
        asyncio.run(try_bus(world, lived.state, [world.site("paris")], book))
    assert {code: held for (code, place), held in found(book).items() if place == "paris/border"} == wanted
    assert found(book)["bus_foreign_user", "paris/bus"] is False  # nobody is there: not the same as being refused
