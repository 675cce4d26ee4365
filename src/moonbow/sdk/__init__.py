"""The asyncio SDK: talk to a Moonbow world from Python.  Start with `Client.sign_in`; see docs/sdk.md."""

from moonbow.base.errors import ConfigError, MoonbowError, Refused, Unavailable
from moonbow.wire.files import FileInfo
from moonbow.wire.rest import Page, Posted
from moonbow.wire.stream import BodyEvent, ProblemEvent, ReadEvent, RoomEvent, TypingEvent
from moonbow.wire.values import Door, Member, Person, Presence, Room, Row

from .client import Client
from .model import CaughtUp, Connected, Ended, Event, Lapsed, Lost, Reset

__all__ = [
    "BodyEvent",
    "CaughtUp",
    "Client",
    "ConfigError",
    "Connected",
    "Door",
    "Ended",
    "Event",
    "FileInfo",
    "Lapsed",
    "Lost",
    "Member",
    "MoonbowError",
    "Page",
    "Person",
    "Posted",
    "Presence",
    "ProblemEvent",
    "ReadEvent",
    "Refused",
    "Reset",
    "Room",
    "RoomEvent",
    "Row",
    "TypingEvent",
    "Unavailable",
]
