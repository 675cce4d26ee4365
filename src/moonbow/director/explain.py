"""`moonbow explain ADDRESS`: why a client gets the doors it gets, asked of the running director or worked out here."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from moonbow.base.errors import ConfigError, Refused
from moonbow.wire.traffic import Explanation, RankedSite
from moonbow.world import World, plane_of

from . import addresses
from .asking import ask_one
from .shelf import Shelf
from .snapshot import explain_address, take_snapshot


def explain(
    world: World,
    address: str,
    region: str | None = None,
    console: Console | None = None,
    state: Path | None = None,
    service: str = "door",
    at: int | None = None,
) -> Explanation:
    """Print the explanation of `address` as a tree, and return it.  `ConfigError` if the question makes no sense.

    Without a running director the map in use in `state` counts, or the installation's own.
    """
    explanation = find_explanation(world, address, region, state, service, at)
    (console or Console()).print(draw(explanation))
    return explanation


def find_explanation(
    world: World,
    address: str,
    region: str | None = None,
    state: Path | None = None,
    service: str = "door",
    at: int | None = None,
) -> Explanation:
    """Asked of a running director, or worked out here; `at` the snapshot of a number, which only a director keeps."""
    found = ask_director(world, address, region, service, at)
    if found is None and at is not None:
        raise ConfigError("no director answers, and only a running one keeps its snapshots")
    return found or work_out(world, address, region, Shelf(state).current()[1] if state else None, service)


def ask_director(
    world: World, address: str, region: str | None = None, service: str = "door", at: int | None = None
) -> Explanation | None:
    """What the first living director says; None if none answers in time."""
    asked = {"address": address, "name": service, "region": region, "snapshot": at}
    answers = (ask_one(world, ref, "/explain", Explanation, **asked) for ref in plane_of(world))
    return next((found for found in answers if found is not None), None)


def work_out(
    world: World,
    address: str,
    region: str | None = None,
    ranges: addresses.Ranges | None = None,
    service: str = "door",
) -> Explanation:
    """The explanation from the world file and the address map alone, every site taken to be healthy."""
    try:
        client = addresses.parse_address(address)
    except ValueError as error:
        raise ConfigError(f"address: {error}") from error
    snapshot = take_snapshot(world, ranges or addresses.load())
    try:
        return msgspec.structs.replace(explain_address(snapshot, client, region, service), live=False)
    except Refused as refused:
        raise ConfigError(f"{refused.place}: {refused.detail}") from refused


def draw(explanation: Explanation) -> Tree:
    """The explanation as a tree for a terminal."""
    found = explanation
    where = f"{found.country}, {found.continent}" if found.continent else found.country or "no known country"
    tree = Tree(f"[bold]{escape(found.address)}[/] in {escape(where)}; all of {found.network} is answered alike")
    tree.add(f"rule: {escape(found.rule)} → region [bold]{escape(found.region)}[/]")
    if found.frozen:
        tree.add(f"[yellow]decisions stand still: {escape(found.frozen)}[/]")
    tree.add(f"slice {found.slice} of 16" + (f" of bucket {found.bucket}" if found.bucket >= 0 else ""))
    answer = tree.add(f"answer for {found.service}, for {found.ttl_s} s: {escape(found.reason)}")
    for door in found.answer:
        answer.add(f"[green]{escape(door.site)}[/] {door.address} port {door.port}")
    named = {door.site for door in found.answer}
    _branch(tree, "then, in this order", [site for site in found.sites if site.site not in named], "cyan")
    _branch(tree, "skipped", found.skipped, "red")
    said = f"said by a running director, snapshot {found.snapshot} ({found.digest})"
    tree.add(said if found.live else "no director is running: every site is taken to be healthy")
    return tree


def _branch(tree: Tree, title: str, sites: list[RankedSite], colour: str) -> None:
    if not sites:
        return
    branch = tree.add(title)
    for site in sites:
        edge = ", edge" if site.kind == "edge" else ""
        branch.add(f"[{colour}]{escape(site.site)}[/] ({escape(site.region)}{edge}): {escape(site.why)}")
