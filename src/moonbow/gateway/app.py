"""The REST side as one ASGI application: Litestar inside, and around it the headers that every answer carries."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from prometheus_client import CollectorRegistry, Counter, generate_latest

from moonbow.base.errors import MoonbowError
from moonbow.base.ids import home
from moonbow.wire.values import Fault, Problem

from . import files, operator, people, problems, rooms
from .document import describe
from .frames import encode
from .house import CALLS_BURST, CALLS_PER_S, House, provide_claims, provide_house
from .pages import Page, serve_page

log = logging.getLogger(__name__)
access = logging.getLogger("moonbow.gateway.access")
PERSON = re.compile(r"\busr_([a-z][a-z0-9]*)_[0-9a-z]{26}")
REQUESTS = Counter("moonbow_gateway_requests_total", "REST requests", ["method", "status"])
_TRACE = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type", 401: "token_missing"}


@get("/v1/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    """This API in OpenAPI 3.1, made once from the types that validate it."""
    if "document" not in state:
        state["document"] = encode(describe(request.app))
    return Response(state["document"], media_type="application/json")


def make_api(house: House) -> Litestar:
    """The API as Litestar serves it."""
    return Litestar(
        route_handlers=[*people.HANDLERS, *rooms.HANDLERS, *files.HANDLERS, *operator.HANDLERS, openapi],
        dependencies={"house": Provide(provide_house), "claims": Provide(provide_claims)},
        exception_handlers={Exception: _problem, HTTPException: _problem, 404: _problem, 405: _problem, 500: _problem},
        state=State({"house": house}),
        openapi_config=OpenAPIConfig(
            title="Moonbow",
            version="1",
            path="/v1/openapi",
            render_plugins=[JsonRenderPlugin(path="/schema.json")],
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"token": []}],
        ),
        logging_config=None,
        request_max_body_size=65_536,
    )


def _problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Any error as a problem document; what is not ours is logged and says nothing of its insides."""
    trace = request.scope.get("state", {}).get("trace")
    problem = _problem_of(error, trace)
    if problem.status >= 500 and not isinstance(error, MoonbowError):
        log.error("request failed", exc_info=error, extra={"f": {"trace": trace}})
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after_s)))
    return Response(encode(problem), status_code=problem.status, media_type=problems.MEDIA_TYPE, headers=headers)


def _problem_of(error: Exception, trace: str | None) -> Problem:
    cause = error.__cause__
    if isinstance(cause, msgspec.ValidationError):
        fault = problems.fault_of(cause)
        fault = Fault(place=fault.place.replace("$.data", "$", 1), detail=fault.detail)
        return problems.make(400, "invalid", fault.detail, faults=[fault], trace=trace)
    if isinstance(error, ValidationException):
        faults = [_fault(extra) for extra in error.extra] if isinstance(error.extra, list) else []
        detail = "; ".join(f"{fault.place}: {fault.detail}" for fault in faults) or error.detail
        return problems.make(400, "invalid", detail, faults=faults, trace=trace)
    if isinstance(error, SerializationException) or isinstance(cause, SerializationException):
        detail = str(cause.__cause__ or cause) if cause is not None else error.args[0] if error.args else "not JSON"
        return problems.make(
            400, "malformed_json", str(detail), faults=[Fault(place="$", detail=str(detail))], trace=trace
        )
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, "invalid" if error.status_code < 500 else "internal")
        return problems.make(error.status_code, code, error.detail, trace=trace)
    return problems.problem_of(error, trace)


def _fault(extra: Any) -> Fault:
    source = extra.get("source", "body") if isinstance(extra, dict) else "body"
    source = getattr(source, "value", source)
    key = extra.get("key", "") if isinstance(extra, dict) else ""
    root = "$" if source == "body" else f"${source}"
    if source == "body" and key.split(".", 1)[0] == "data":
        key = key[5:]
    return Fault(place=f"{root}.{key}" if key else root, detail=str(extra.get("message", extra)))


class Outer:
    """Around the API: pages and probes beside it, and the headers of DESIGN section 9 on every answer.

    `health()` is "ok" or the reason why this gateway should not be sent work; `load()` the ORCA line for the door.
    """

    def __init__(
        self, api: Litestar, pages: dict[str, Page], region: str, site: str, registry: CollectorRegistry,
        health: Callable[[], str], load: Callable[[], str], status: Callable[[], dict[str, Any]],
    ) -> None:  # fmt: skip
        self.api, self.pages, self.registry = api, pages, registry
        self.health, self.load, self.status = health, load, status
        self._fixed = [
            (b"moonbow-region", region.encode()),
            (b"moonbow-site", site.encode()),
            (b"ratelimit-policy", f'"person";q={CALLS_BURST:.0f};w={CALLS_BURST / CALLS_PER_S:.0f}'.encode()),
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            health = self.health()
            await _plain(send, 200 if health == "ok" else 503, health.encode(), b"text/plain")
        elif path == "/metrics":
            await _plain(send, 200, generate_latest(self.registry), b"text/plain; version=0.0.4")
        elif path == "/status":
            await _plain(send, 200, encode(self.status()), b"application/json")
        elif path in self.pages and method in ("GET", "HEAD"):
            await serve_page(self.pages[path], scope, self._with_headers(scope, send))
        else:
            await self.api(scope, receive, self._with_headers(scope, send))

    def _with_headers(self, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        found = _TRACE.fullmatch(dict(scope["headers"]).get(b"traceparent", b""))
        trace = found.group(1) if found else secrets.token_hex(16).encode()
        state = scope.setdefault("state", {})
        state["trace"] = trace.decode()
        parent = b"00-" + trace + b"-" + secrets.token_hex(8).encode() + b"-01"
        method = scope["method"]

        async def send_with(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                headers += [*self._fixed, (b"traceparent", parent), (b"endpoint-load-metrics", self.load().encode())]
                left = scope.get("state", {}).get("calls_left")
                if left is not None:
                    headers.append((b"ratelimit", f'"person";r={left};t=1'.encode()))
                message = {**message, "headers": headers}
                REQUESTS.labels(method, str(message["status"])).inc()
                _log_access(scope, message["status"])
            await send(message)

        return send_with


def _log_access(scope: Any, status: int) -> None:
    """The full access log rests at home: only requests of this region's own people name anybody."""
    state, asked = scope["state"], dict(scope["headers"])
    person = state.get("person")
    if person is None:
        return
    fields = {
        "person": person,
        "method": scope["method"],
        "path": cut_strangers(scope["path"], home(person)),
        "status": status,
        "address": asked.get(b"x-envoy-external-address", b"").decode("latin-1"),
        "agent": asked.get(b"user-agent", b"").decode("latin-1")[:200],
        "trace": state["trace"],
    }
    access.info("request", extra={"f": fields})


def cut_strangers(path: str, region: str) -> str:
    """A path without the ids of people who are at home elsewhere: they rest in no log of ours."""
    return PERSON.sub(lambda found: found[0] if found[1] == region else f"usr_{found[1]}_", path)


async def _plain(send: Any, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
