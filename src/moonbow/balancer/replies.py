"""What a door answers by itself: problems as RFC 9457 describes them, each with a stable code.

An answer of a gateway is passed on untouched; this is for what Envoy refuses before, or cannot bring to a gateway.
"""

from __future__ import annotations

import json

import msgspec

from moonbow.wire.values import Problem

from .model import ELSEWHERE_HEADER, HOME_HEADER, SIGN_IN_PATH, Json, SiteHealth
from .xds import match_header, set_header, typed

_METADATA = "moonbow"
_TYPES = "https://moonbow.dev/problems/"
_ANY_STATUS = -1  # stands for the status that Envoy gave
_TITLES = {
    401: "A valid token is needed",
    404: "There is nothing here",
    408: "The request came too slowly",
    413: "The request is too large",
    429: "Too many requests",
    431: "The request's headers are too large",
    503: "Not reachable at the moment",
}


def since_metadata(region: str, health: SiteHealth) -> Json:
    """The part of a route that an answer about its region needs; `since` is JSON text, `null` if unknown."""
    since = json.dumps(health.silent_since.get(region))
    return {"filter_metadata": {_METADATA: {"region": region, "since": since}}}


def compile_replies() -> Json:
    """The `local_reply_config` of the public listener; the first mapper that matches decides."""
    sign_in = {"header_filter": {"header": match_header(":path", "prefix", SIGN_IN_PATH)}}
    mappers = [
        _mapper(401, "token_missing", "No token was given.", where=(_detail("Jwt_is_missing"),)),
        _mapper(401, "token_expired", "The token has expired; refresh it.", where=(_detail("Jwt_is_expired"),)),
        _mapper(401, "token_invalid", "The token is not one that this world gives."),
        _mapper(404, "not_found", "There is no such resource."),
        _mapper(408, "request_timeout", "The request was not complete in time.", retryable=True),
        _mapper(413, "body_too_large", "A request's body may have 65536 bytes."),
        _mapper(429, "throttled", "Wait before signing in again.", True, (sign_in,), headers={"retry-after": "5"}),
        _mapper(429, "throttled", "Wait before asking again.", retryable=True, headers={"retry-after": "1"}),
        _mapper(431, "headers_too_large", "A request may have 100 headers of 32 KiB together."),
        *_unreachable(_status("GE", 502)),
        _other(),
    ]
    return {"mappers": mappers}


def compile_mesh_replies() -> Json:
    """The mesh's own: an answer that never reached a gateway says so, and the asking door may try another site."""
    unsent = {"response_flag_filter": {"flags": ["UH", "UF", "UO", "NC"]}}
    return {"mappers": [*_unreachable(unsent, {ELSEWHERE_HEADER: "1"}), *compile_replies()["mappers"]]}


def _unreachable(where: Json, headers: dict[str, str] | None = None) -> list[Json]:
    """No gateway could be asked: of the person's home, or of the region that serves those without a token."""
    has_home = {"header_filter": {"header": {"name": HOME_HEADER, "present_match": True}}}
    home = _mapper(
        503, "home_unreachable", "Your home does not answer.", True, (where, has_home), headers, of_region=True
    )
    region = _mapper(503, "region_unreachable", "The region does not answer.", True, (where,), headers, of_region=True)
    return [home, region]


def _mapper(
    status: int,
    code: str,
    detail: str,
    retryable: bool = False,
    where: tuple[Json, ...] = (),
    headers: dict[str, str] | None = None,
    of_region: bool = False,
) -> Json:
    """Turn answers that pass every filter of `where`, or have this status if it names none, into a problem."""
    filters = [*where] if of_region else [_status("EQ", status), *where]
    retry_after = (headers or {}).get("retry-after")
    problem = Problem(
        type=_TYPES + code,
        title=_TITLES[status],
        status=status,
        code=code,
        detail=detail,
        retryable=retryable,
        retry_after_s=float(retry_after) if retry_after else None,
        region="%METADATA(ROUTE:moonbow:region)%" if of_region else None,
        since="%METADATA(ROUTE:moonbow:since)%" if of_region else None,
    )
    added = [set_header(name, value) for name, value in (headers or {}).items()]
    return {
        "filter": filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}},
        "status_code": status,
        **({"headers_to_add": added} if added else {}),
        "body_format_override": _text(problem),
    }


def _other() -> Json:
    """Anything else that is refused: the status is Envoy's."""
    problem = Problem(
        type=_TYPES + "refused",
        title="Refused",
        status=_ANY_STATUS,
        code="refused",
        detail="The door does not take this request.",
    )
    return {"filter": _status("GE", 400), "body_format_override": _text(problem)}


def _text(problem: Problem) -> Json:
    """A body with substitutions.  `since` is JSON already, so it loses its quotes."""
    text = msgspec.json.encode(problem).decode()
    text = text.replace('"%METADATA(ROUTE:moonbow:since)%"', "%METADATA(ROUTE:moonbow:since)%")
    text = text.replace(f'"status":{_ANY_STATUS}', '"status":%RESPONSE_CODE%')
    return {
        "text_format_source": {"inline_string": text + "\n"},
        "content_type": "application/problem+json",
    }


def _status(operator: str, value: int) -> Json:
    comparison = {"op": operator, "value": {"default_value": value, "runtime_key": f"moonbow.status.{value}"}}
    return {"status_code_filter": {"comparison": comparison}}


def _detail(part: str) -> Json:
    kind = "extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": typed(kind, expression=f"response.code_details.contains('{part}')"),
        }
    }
