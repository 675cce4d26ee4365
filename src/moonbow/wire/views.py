"""What directors tell each other and their own sites: what each of them sees, and what follows from it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

VIEW_BYTES_MAX = 262_144
DOORS_MAX = 16  # of one site; a world file allows 8
CELLS_MAX = 2_048  # of which one view tells its questions
MOVED_MAX = 8_192

Count = Annotated[int, Meta(ge=0, le=2**53)]
Words = Annotated[str, Meta(max_length=200)]


class SeenDoor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One door as one director sees it.  `since_s` is the Unix time of the last change of `up`, `hold_s` how long the
    door is held down after it.
    """

    up: bool | None
    why: Words
    fails: Count
    passes: Count
    since_s: Annotated[float, Meta(ge=0)]
    hold_s: Annotated[float, Meta(ge=0)] = 0.0


class SiteLoad(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How busy the speaker's own site is: clients connected, share of its processors (0..1), share of 5xx (0..1)."""

    connections: Count
    cpu: Annotated[float, Meta(ge=0, le=1)]
    errors: Annotated[float, Meta(ge=0, le=1)]


class SiteView(msgspec.Struct, frozen=True, array_like=True):
    """All that one director sees.  `number` counts its views since it started; `trouble` is what the speaker's own site
    says of itself, empty if it is well.

    `asked` are the questions it answered lately, by cell of the address map whose digest is `map`; `moved` the cells
    that it answers otherwise than nearness says because of load, with their sites.
    """

    observer: Annotated[str, Meta(max_length=64)]
    number: Count
    doors: dict[str, Annotated[list[SeenDoor], Meta(max_length=DOORS_MAX)]]
    trouble: Words = ""
    load: SiteLoad | None = None
    map: Annotated[str, Meta(max_length=64)] = ""
    asked: Annotated[dict[int, Count], Meta(max_length=CELLS_MAX)] = {}
    moved: Annotated[dict[int, str], Meta(max_length=MOVED_MAX)] = {}


encode_view = msgspec.msgpack.Encoder().encode
decode_view = msgspec.msgpack.Decoder(SiteView).decode


class SiteVerdict(msgspec.Struct, frozen=True):
    """Whether answers may name a site.  `trouble`: 0 none, 1 drained but well, 2 not fit, 3 declared down."""

    trouble: Annotated[int, Meta(ge=0, le=3)]
    why: str


class Verdicts(msgspec.Struct, frozen=True):
    """What a site's director has decided, for the site's doors and gateways: `sites/<site>/director/verdicts.json`.

    `drain` and `down` are the operator's word with its orders, expired ones left out.  `number` is the snapshot's.
    """

    number: int
    at_s: float
    frozen: bool
    digest: str
    drain: tuple[str, ...]
    down: tuple[str, ...]
    sites: dict[str, SiteVerdict]


encode_verdicts = msgspec.json.Encoder().encode
decode_verdicts = msgspec.json.Decoder(Verdicts).decode
