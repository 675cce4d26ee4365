"""The few shapes that recur in Envoy's configuration (API v3)."""

from __future__ import annotations

from .model import Door, Json

_TYPES = "type.googleapis.com/envoy."


def typed(kind: str, **fields: object) -> Json:
    """A message with its type, as Envoy wants it inside an `Any`."""
    return {"@type": _TYPES + kind, **fields}


def extension(name: str, kind: str, **fields: object) -> Json:
    """An extension by name with its typed configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def resources(*found: Json) -> Json:
    """A discovery answer, as it lies in a file."""
    return {"resources": list(found)}


def source(door: Door, file: str) -> Json:
    """A watched file of the door's folder; Envoy notices when another file is renamed over it."""
    return {"resource_api_version": "V3", "path_config_source": {"path": str(door.folder / file)}}


def secret(door: Door, name: str) -> Json:
    """A reference to a secret of `tls.compile_secrets`."""
    return {"name": name, "sds_config": source(door, f"sds-{name}.json")}


def address(host: str, port: int) -> Json:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}


def set_header(name: str, value: str, *, keep: bool = False) -> Json:
    """Set a header; with `keep` only where it is absent."""
    action = "ADD_IF_ABSENT" if keep else "OVERWRITE_IF_EXISTS_OR_ADD"
    return {"header": {"key": name, "value": value}, "append_action": action}


def match_header(name: str, how: str, value: object) -> Json:
    """A header matcher, `how` one of Envoy's string matchers (`exact`, `prefix`, ...)."""
    return {"name": name, "string_match": {how: value}}


def match_methods(*methods: str) -> Json:
    """A matcher for any of `methods`."""
    return match_header(":method", "safe_regex", {"regex": "|".join(methods)})
