"""What directors tell each other: how the doors that one of them asks are, and how busy its own site is."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

VIEW_BYTES_MAX = 262_144
DOORS_MAX = 16  # of one site; a world file allows 8
CELLS_MAX = 2_048  # of one view's demand

Count = Annotated[int, Meta(ge=0, le=2**53)]
Words = Annotated[str, Meta(max_length=200)]


class SeenDoor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One door as one director sees it.  `since_s` is the Unix time of the last change of `up`."""

    up: bool | None
    why: Words
    fails: Count
    passes: Count
    since_s: Annotated[float, Meta(ge=0)]


class SiteLoad(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How busy the speaker's own site is: clients connected, share of its processors (0..1), share of 5xx (0..1)."""

    connections: Count
    cpu: Annotated[float, Meta(ge=0, le=1)]
    errors: Annotated[float, Meta(ge=0, le=1)]


class SiteView(msgspec.Struct, frozen=True, array_like=True):
    """All that one director sees.  `number` counts its views since it started.

    `demand` are the questions it answered lately, by cell of the address map whose digest is `map`.
    """

    observer: Annotated[str, Meta(max_length=64)]
    number: Count
    doors: dict[str, Annotated[list[SeenDoor], Meta(max_length=DOORS_MAX)]]
    load: SiteLoad | None = None
    map: Annotated[str, Meta(max_length=64)] = ""
    demand: Annotated[dict[int, Count], Meta(max_length=CELLS_MAX)] = {}


encode_view = msgspec.msgpack.Encoder().encode
decode_view = msgspec.msgpack.Decoder(SiteView).decode
