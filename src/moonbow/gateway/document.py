"""The OpenAPI 3.1 document of the API, made from the types that validate it, with every problem it may answer."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from moonbow.wire import files, rest, traffic, values

from .problems import MEDIA_TYPE, TITLES

ALWAYS = (400, 404, 408, 413, 429, 431, 503)  # by the gateway, or by the door before it
WITH_TOKEN = (401, 403)
WITH_BODY = (409,)
BYTES_IN = ("put_part",)
BYTES_OUT = {"get_content": (("*/*", 200), ("*/*", 206)), "avatar": (("image/webp", 200),)}
RANGES = ("get_content",)
_SCHEMA = "#/components/schemas/{name}"
_REST = "[0-7][0-9a-hjkmnp-tv-z]{25}"
_PATHS = {
    "room": rf"^(rom|dir)_[a-z][a-z0-9]{{0,15}}_{_REST}$",
    "person": rf"^usr_[a-z][a-z0-9]{{0,15}}_{_REST}$",
    "file": rf"^fil_[a-z][a-z0-9]{{0,15}}_{_REST}$",
    "entry": rf"^ent_[a-z][a-z0-9]{{0,15}}_{_REST}$",
    "order": "^[A-Za-z0-9.]+$",
}


def describe(app: Litestar) -> dict[str, Any]:
    """The whole document as JSON values."""
    document = app.openapi_schema.to_schema()
    document["components"]["schemas"] = _components()
    document["components"]["responses"] = {str(status): _problem(status) for status in sorted(TITLES)}
    for path, method, handler in _handlers(app):
        operation = document["paths"][path][method]
        parameters = inspect.signature(handler.fn).parameters
        operation["operationId"] = handler.fn.__name__
        signed_in = "claims" in parameters
        operation["security"] = [{"token": []}] if signed_in else []
        for parameter in operation.get("parameters", ()):
            _describe_parameter(parameter)
        extra = (WITH_TOKEN if signed_in or "data" in parameters else ()) + (WITH_BODY if "data" in parameters else ())
        _describe_bytes(operation)
        for status in (*ALWAYS, *extra):
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    return document


def _handlers(app: Litestar) -> list[tuple[str, str, HTTPRouteHandler]]:
    """Path, method and handler of every operation in the document."""
    return [
        (route.path_format, method.lower(), handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.resolve_include_in_schema()
        for method in handler.http_methods
        if method != "OPTIONS"
    ]


def _components() -> dict[str, Any]:
    """The schemas of everything that requests and answers carry, by the one library that also checks them."""
    kinds = [
        kind
        for module in (files, rest, traffic, values)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
    ]
    _, found = msgspec.json.schema_components(kinds, ref_template=_SCHEMA)
    for shape in found.values():
        if (client_id := shape.get("properties", {}).get("client_id")) is not None and "minLength" in client_id:
            client_id["format"] = "uuid"
    return found


def _describe_bytes(operation: dict[str, Any]) -> None:
    """What goes in or comes out as it is: types cannot say so."""
    name, answers = operation["operationId"], operation["responses"]
    whole = {"schema": {"type": "string", "format": "binary"}}
    if name in BYTES_IN:
        operation["requestBody"] = {"content": {"application/octet-stream": whole}, "required": True}
        answers["409"] = {"$ref": "#/components/responses/409"}
    for kind, status in BYTES_OUT.get(name, ()):
        answers[str(status)] = {"description": "The bytes", "content": {kind: whole}}
    if name in BYTES_OUT:
        answers["304"] = {"description": "What is known already is still so"}
    if name in RANGES:
        answers["416"] = {"$ref": "#/components/responses/416"}
        operation["parameters"].append({"name": "Range", "in": "header", "schema": {"type": "string"}})


def _describe_parameter(parameter: dict[str, Any]) -> None:
    pattern = _PATHS.get(parameter["name"])
    if parameter["in"] == "path" and pattern is not None:
        parameter["schema"] = {"type": "string", "pattern": pattern, "maxLength": 64}


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": TITLES[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": _SCHEMA.format(name="Problem")}}},
    }
