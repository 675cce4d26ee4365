"""The door's log: one JSON line a request, with nothing in it that names a person (residency law).

It holds the route's template, never the path or query; the client's network, never its address; no token, no user
agent.  The full access log is written by the home gateway.
"""

from __future__ import annotations

from ipaddress import ip_address

from moonbow.world import door_address

from .model import HOME_HEADER, Door, Json
from .xds import extension, match_header


def compile_log(door: Door, hop: str) -> list[Json]:
    """The access log of one listener; hop is `door` for clients and `mesh` for other sites.  Probes are left out."""
    version = ip_address(door_address(door.world, door.ref, door.number)).version
    cut = 24 if version == 4 else 48
    fields: Json = {
        "at": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "room": "balancer",
        "event": "request",
        "site": door.ref.site.name,
        "process": f"door{door.number}",
        "hop": hop,
        "route": "%ROUTE_NAME%",
        "method": "%REQUEST_HEADER(:METHOD):8%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "home": f"%REQUEST_HEADER({HOME_HEADER})%",
        "network": f"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT({cut})%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "duration_ms": "%DURATION%",
    }
    found = extension(
        "envoy.access_loggers.file",
        "extensions.access_loggers.file.v3.FileAccessLog",
        path=str(door.log),
        log_format={"json_format": fields, "omit_empty_values": True},
    )
    not_probe = {**match_header(":path", "exact", "/healthz"), "invert_match": True}
    return [{**found, "filter": {"header_filter": {"header": not_probe}}}]
