"""Errors as RFC 9457 problems: one table from our errors to status, code and place."""

from __future__ import annotations

import re

import msgspec

from moonbow.base.errors import MoonbowError, Refused, Unavailable
from moonbow.wire.values import Fault, Problem

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "The request is not valid",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "The request came too slowly",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    416: "No such part of it",
    422: "The request cannot be done",
    429: "Too many requests",
    431: "The request's headers are too large",
    500: "Our mistake",
    503: "Not available now",
}
_PLACE = re.compile(r" - at `([^`]+)`$")


def problem_of(error: Exception, trace: str | None = None) -> Problem:
    """The problem document of an error.  What is not ours says nothing of its insides."""
    if isinstance(error, Refused):
        faults = [Fault(place=error.place, detail=error.detail)] if error.place else []
        return make(
            error.status, error.code, error.detail, faults=faults, retry_after_s=error.retry_after_s,
            retryable=error.status in (429, 503), trace=trace,
        )  # fmt: skip
    if isinstance(error, Unavailable):
        return make(503, error.code, error.detail, retryable=True, region=error.region, trace=trace)
    if isinstance(error, msgspec.ValidationError):
        fault = fault_of(error)
        return make(400, "invalid", fault.detail, faults=[fault], trace=trace)
    if isinstance(error, msgspec.DecodeError):
        return make(400, "malformed_json", str(error), faults=[Fault(place="$", detail=str(error))], trace=trace)
    if isinstance(error, MoonbowError):
        return make(500, "broken", "An invariant of ours does not hold; it has been logged.", trace=trace)
    return make(500, "internal", "Something of ours failed; it has been logged.", retryable=True, trace=trace)


def fault_of(error: msgspec.ValidationError) -> Fault:
    """The place and the reason of a validation error: msgspec writes both into one sentence."""
    text = str(error)
    found = _PLACE.search(text)
    return Fault(place=found.group(1) if found else "$", detail=_PLACE.sub("", text))


def make(
    status: int, code: str, detail: str, *, faults: list[Fault] | None = None, retryable: bool = False,
    retry_after_s: float | None = None, region: str | None = None, trace: str | None = None,
) -> Problem:  # fmt: skip
    """A problem document."""
    return Problem(
        type=f"https://moonbow.dev/problems/{code}", title=TITLES.get(status, "Error"), status=status, code=code,
        detail=detail, retryable=retryable, faults=faults or [], region=region, retry_after_s=retry_after_s,
        trace=trace,
    )  # fmt: skip
