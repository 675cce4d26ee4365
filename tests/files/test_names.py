"""The names of files are opened where waiting for a key holds up nobody."""

from __future__ import annotations

import threading
from pathlib import Path

from moonbow.vault.plain import Plain

from .room import Place, person, play

ADA = person(1)


class Slow(Plain):
    """Notes the threads in which it is asked."""

    def __init__(self) -> None:
        self.asked = set[int]()

    def open(self, owner: str, place: str, sealed: bytes) -> bytes | None:
        self.asked.add(threading.get_ident())
        return super().open(owner, place, sealed)


def test_keys_are_never_asked_for_in_the_loop(tmp_path: Path) -> None:
    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        file = await emea.upload(ADA, b"words", "Häuser.txt")
        emea.files.shelf.sealer = sealer = Slow()
        content = await emea.files.open(ADA, file.id)
        assert content.about.name == "Häuser.txt"
        assert await emea.files.shelf.names_of([file, file]) == ["Häuser.txt"] * 2
        await emea.say(ADA, await emea.room(ADA), file.id)
        assert sealer.asked
        assert threading.get_ident() not in sealer.asked

    play(tmp_path, scenario)
