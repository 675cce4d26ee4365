"""Asks one running director for a page, from a process that may wait."""

from __future__ import annotations

import http.client
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from moonbow.base.errors import ConfigError
from moonbow.wire.traffic import Refusal
from moonbow.world import Ports, SiteRef, World, site_address

ASK_S = 2.0
PAGE_BYTES_MAX = 8_388_608
T = TypeVar("T")


def ask_one(world: World, ref: SiteRef, path: str, kind: type[T], **query: object) -> T | None:
    """What the director of a site says; None if it does not answer in time.  `ConfigError` if it refuses.

    Of `query`, what is None or empty is not asked.
    """
    line = http.client.HTTPConnection(site_address(world, ref), Ports.DIRECTOR, timeout=ASK_S)
    given = urlencode({name: value for name, value in query.items() if value not in (None, "")})
    try:
        line.request("GET", f"{path}?{given}" if given else path)
        answer = line.getresponse()
        body = answer.read(PAGE_BYTES_MAX)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        line.close()
    try:
        if answer.status == 200:
            return msgspec.json.decode(body, type=kind)
        refused = msgspec.json.decode(body, type=Refusal)
    except msgspec.MsgspecError:
        return None
    raise ConfigError(f"{refused.place}: {refused.detail}" if refused.place else refused.detail)
