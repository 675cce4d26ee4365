"""What gateways tell each other about who is here: inside a region, and to regions that asked.  Never stored.

In the region every gateway incarnation is the single writer of its own table of devices, counted by a dense `no`.
Times named `version` are milliseconds of the epoch, made to grow by whoever writes them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moonbow.base.limits import STATUS_CHARS_MAX

from .values import PresenceState

ASK_PEOPLE_MAX = 500  # in one request of another region, and in one message to it
TABLE_DEVICES_MAX = 4_000  # in one part of a table
TABLE_PARTS_MAX = 5
WISHES_MAX = 1_000  # in one message
NAME_CHARS_MAX = 64  # of ids of people, sessions and gateways

DeviceState = Literal["online", "away"]
WishState = Literal["online", "away", "busy", "dnd", "invisible"]
Name = Annotated[str, Meta(max_length=NAME_CHARS_MAX)]
StatusText = Annotated[str, Meta(max_length=STATUS_CHARS_MAX)]


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of what presence says on the bus."""


class Device(Said, frozen=True):
    """One session of a person.  `lost`: its connection broke without a goodbye, a new one may follow."""

    person: Name
    session: Name
    state: DeviceState
    version: int
    lost: bool = False


class Wish(Said, frozen=True):
    """What a person chose to be shown as; `online` leaves it to the devices."""

    person: Name
    version: int
    state: WishState
    text: StatusText = ""


class Beat(Said, frozen=True, tag="beat"):
    """`gateway` lives, its table stands at `no`, and its wishes have these digests by bucket."""

    gateway: Name
    no: int
    digests: Annotated[tuple[int, ...], Meta(max_length=64)]


class Delta(Said, frozen=True, tag="delta"):
    """The change of a table from `no - 1` to `no`: devices set, and sessions that ended."""

    gateway: Name
    no: int
    devices: Annotated[tuple[Device, ...], Meta(max_length=TABLE_DEVICES_MAX)]
    ended: Annotated[tuple[Name, ...], Meta(max_length=TABLE_DEVICES_MAX)]


class Table(Said, frozen=True, tag="table"):
    """Part `part` (from 0) of `parts` of a whole table as it stood at `no`."""

    gateway: Name
    no: int
    part: Annotated[int, Meta(ge=0, lt=TABLE_PARTS_MAX)]
    parts: Annotated[int, Meta(ge=1, le=TABLE_PARTS_MAX)]
    devices: Annotated[tuple[Device, ...], Meta(max_length=TABLE_DEVICES_MAX)]


class Ask(Said, frozen=True, tag="ask"):
    """`gateway` wants the whole table of `of`; of everybody, and all wishes, if `of` is empty."""

    gateway: Name
    of: Name


class Wishes(Said, frozen=True, tag="wishes"):
    """Wishes that changed, or that somebody seems to lack."""

    wishes: Annotated[tuple[Wish, ...], Meta(max_length=WISHES_MAX)]


class Interest(Said, frozen=True, tag="interest"):
    """For the next `for_s` seconds `region` wants to hear of `people`."""

    region: Name
    people: Annotated[tuple[Name, ...], Meta(max_length=ASK_PEOPLE_MAX)]
    for_s: Annotated[float, Meta(ge=0, le=300)]


class Bye(Said, frozen=True, tag="bye"):
    """`gateway` stops; its people are expected at others within the grace time."""

    gateway: Name


Gossip = Beat | Delta | Table | Ask | Wishes | Interest | Bye


class AskStates(Said, frozen=True):
    """Request `presence.states` of another region."""

    people: Annotated[tuple[Name, ...], Meta(max_length=ASK_PEOPLE_MAX)]


class PersonState(Said, frozen=True):
    """A person as everybody may see them; `since` in milliseconds of the epoch."""

    person: Name
    state: PresenceState
    text: StatusText = ""
    since: int | None = None


class States(Said, frozen=True):
    """Answer to `presence.states`, and live changes to a region that asked."""

    states: Annotated[tuple[PersonState, ...], Meta(max_length=ASK_PEOPLE_MAX)]
