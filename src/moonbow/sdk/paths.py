"""The paths of the REST API, as the SDK asks for them."""

from __future__ import annotations

BOOTSTRAP = "/v1/bootstrap"
SESSIONS = "/v1/sessions"
REFRESH = "/v1/sessions/refresh"
SESSION = "/v1/sessions/current"
ME = "/v1/me"
MY_PRESENCE = "/v1/me/presence"
PEOPLE = "/v1/people"
PRESENCE = "/v1/presence"
ROOMS = "/v1/rooms"
FILES = "/v1/files"
MY_AVATAR = "/v1/me/avatar"


def file(ident: str) -> str:
    """One of one's own files."""
    return f"{FILES}/{ident}"


def content(ident: str) -> str:
    """The bytes of a file."""
    return f"{FILES}/{ident}/content"


def avatar(person: str) -> str:
    """A person's picture."""
    return f"/v1/avatars/{person}"


def entries(room: str) -> str:
    """The rows of a room."""
    return f"{ROOMS}/{room}/entries"


def entry(room: str, entry: str) -> str:
    """One entry of a room."""
    return f"{ROOMS}/{room}/entries/{entry}"


def members(room: str) -> str:
    """Who is in a room."""
    return f"{ROOMS}/{room}/members"


def member(room: str, person: str) -> str:
    """One membership."""
    return f"{ROOMS}/{room}/members/{person}"


def title(room: str) -> str:
    """A room's title."""
    return f"{ROOMS}/{room}/title"


def read(room: str) -> str:
    """One's own read cursor in a room."""
    return f"{ROOMS}/{room}/read"
