"""Which request goes where: the route tables of the public and of the mesh listener.

Laws: the home header chooses the table, so a request goes to its token's home and nowhere else; what came by the mesh
goes to this site's own gateways, never further; gateways' metrics and status are behind no door; a route's name is its
path template, so that a log can name it without naming anybody.
"""

from __future__ import annotations

from moonbow.base.limits import FILE_PART_BYTES

from .clusters import LOCAL_REST, LOCAL_STREAM, OWN_REST, OWN_STREAM, region_cluster
from .model import (
    ANSWER_S,
    CONTENT_IDLE_S,
    DOOR_HEADER,
    ELSEWHERE_HEADER,
    HOME_HEADER,
    LOAD_HEADER,
    STREAM_PATH,
    TRY_S,
    Door,
    Json,
    SiteHealth,
)
from .policies import session_of
from .replies import since_metadata
from .xds import extension, match_methods, resources, set_header, typed

HIDDEN = ("/metrics", "/status")
REPEATABLE = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
CONTENT = "/v1/files/{file}/content"
TEMPLATES = (
    "/v1/files/{file}",
    "/v1/files",
    "/v1/avatars/{person}",
    "/v1/rooms/{room}/entries/{entry}",
    "/v1/rooms/{room}/entries",
    "/v1/rooms/{room}/members/{person}",
    "/v1/rooms/{room}/members",
    "/v1/rooms/{room}/title",
    "/v1/rooms/{room}/read",
    "/v1/rooms/{room}",
    "/v1/rooms",
    "/v1/sync",
    "/v1/me/avatar",
    "/v1/me/presence",
    "/v1/me",
    "/v1/presence",
    "/v1/people/{person}/erasure",
    "/v1/people/{person}",
    "/v1/people",
    "/v1/sessions/refresh",
    "/v1/sessions/current",
    "/v1/sessions",
    "/v1/bootstrap",
    "/v1/keys",
    "/v1/openapi.json",
)
_BUFFER = "envoy.filters.http.buffer"
_HEADERS = {
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def compile_routes(door: Door, health: SiteHealth) -> Json:
    """The RDS file of the public listener."""
    return resources(typed("config.route.v3.RouteConfiguration", **_door_table(door, health)))


def _door_table(door: Door, health: SiteHealth) -> Json:
    own = door.ref.region
    nowhere = region_cluster(own) if door.is_edge else LOCAL_REST
    anonymous = _table(door, "", health, nowhere, nowhere if door.is_edge else LOCAL_STREAM)
    by_home = {region: _home_table(door, region, health) for region in door.regions()}
    site, region = door.ref.site.name, door.ref.region
    host = {
        "name": "door",
        "domains": ["*"],
        "require_tls": "ALL",
        "matcher": _by_home(by_home, anonymous),
        "request_headers_to_add": [set_header(DOOR_HEADER, f"{site}.{door.number}")],
        "response_headers_to_add": [
            *(set_header(name, value) for name, value in _HEADERS.items()),
            set_header("moonbow-door", f"{site}.{door.number}"),
            set_header("moonbow-region", region, keep=True),
            set_header("moonbow-site", site, keep=True),
        ],
        "response_headers_to_remove": ["x-envoy-upstream-service-time", LOAD_HEADER, ELSEWHERE_HEADER],
    }
    return {"name": "door", "virtual_hosts": [host]}


def compile_mesh_routes(door: Door) -> Json:
    """The route table of the mesh listener, which depends on the world alone and lies in the listener."""
    served = _table(door, door.ref.region, SiteHealth(), OWN_REST, OWN_STREAM)
    astray = [{"name": "astray", "match": {"prefix": "/"}, "direct_response": {"status": 421}}]
    others = {region: astray for region in door.regions() if region != door.ref.region}
    host = {
        "name": "mesh",
        "domains": ["*"],
        "matcher": _by_home(others, served),
        "response_headers_to_remove": ["x-envoy-upstream-service-time"],
    }
    return {"name": "mesh", "virtual_hosts": [host]}


def _by_home(tables: dict[str, list[Json]], otherwise: list[Json]) -> Json:
    """A matcher tree: one look-up of the home header, then a short list of routes."""

    def listed(routes: list[Json]) -> Json:
        return {"action": extension("routes", "config.route.v3.RouteList", routes=routes)}

    home = extension("home", "type.matcher.v3.HttpRequestHeaderMatchInput", header_name=HOME_HEADER)
    matcher: Json = {"on_no_match": listed(otherwise)}
    if tables:
        found = {region: listed(routes) for region, routes in tables.items()}
        matcher["matcher_tree"] = {"input": home, "exact_match_map": {"map": found}}
    return matcher


def _home_table(door: Door, region: str, health: SiteHealth) -> list[Json]:
    if region == door.ref.region and not door.is_edge:
        return _table(door, region, health, LOCAL_REST, LOCAL_STREAM)
    return _table(door, region, health, region_cluster(region), region_cluster(region))


def _table(door: Door, home: str, health: SiteHealth, rest: str, stream: str) -> list[Json]:
    """The routes of one home: what is hidden, the stream, every known template, and the rest as `other`."""
    own_gateways = not rest.startswith(region_cluster(""))
    routes = [_hidden(path) for path in HIDDEN]
    if door.is_edge:
        routes.append(_edge_health(door, health))
    routes.append(_stream(stream, session_of(door.world.balancing.stream, "stream") if own_gateways else None))
    session = session_of(door.world.balancing.rest, "rest") if own_gateways else None
    routes.append(_content(rest, session))
    for template in TEMPLATES:
        routes += _both(template, _match(template), rest, session)
    routes += _both("other", {"prefix": "/"}, rest, session)
    for route in routes:
        route["metadata"] = since_metadata(home or door.ref.region, health)
    return routes


def _hidden(path: str) -> Json:
    regex = {"regex": f"(?i){path}([/;].*)?"}
    return {"name": path, "match": {"safe_regex": regex}, "direct_response": {"status": 404}}


def _edge_health(door: Door, health: SiteHealth) -> Json:
    drained = health.refuses(door.ref.site.name)
    answer = {"status": 503} if drained else {"status": 200, "body": {"inline_string": "ok\n"}}
    return {"name": "/healthz", "match": {"path": "/healthz"}, "direct_response": answer}


def _match(template: str) -> Json:
    if "{" not in template:
        return {"path": template}
    matcher = "extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
    return {"path_match_policy": extension("template", matcher, path_template=template)}


def _both(name: str, match: Json, cluster: str, session: Json | None) -> list[Json]:
    """Two routes: requests that may be repeated, and all others, which are tried again only if nothing was sent."""
    careful = {"cluster": cluster, "timeout": f"{ANSWER_S}s", "retry_policy": _retry()}
    eager = {**careful, "retry_policy": {**_retry("reset"), "per_try_timeout": f"{TRY_S}s"}}
    session_filter = {"typed_per_filter_config": session} if session else {}
    return [
        {"name": name, "match": {**match, "headers": [match_methods(*REPEATABLE)]}, "route": eager, **session_filter},
        {"name": name, "match": match, "route": careful, **session_filter},
    ]


def _content(cluster: str, session: Json | None) -> Json:
    """Parts of files in, whole files out: a larger body than elsewhere, no end but silence, and tried again only if
    nothing was sent, for a part is long and its sender knows how to go on."""
    kind = "extensions.filters.http.buffer.v3.BufferPerRoute"
    larger = typed(kind, buffer={"max_request_bytes": FILE_PART_BYTES})
    return {
        "name": CONTENT,
        "match": _match(CONTENT),
        "route": {"cluster": cluster, "timeout": "0s", "idle_timeout": f"{CONTENT_IDLE_S}s", "retry_policy": _retry()},
        "typed_per_filter_config": {_BUFFER: larger, **(session or {})},
    }


def _stream(cluster: str, session: Json | None) -> Json:
    unlimited = typed("extensions.filters.http.buffer.v3.BufferPerRoute", disabled=True)
    return {
        "name": STREAM_PATH,
        "match": {"path": STREAM_PATH},
        "route": {
            "cluster": cluster,
            "timeout": "0s",
            "idle_timeout": "3600s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "retry_policy": _retry(),
        },
        "typed_per_filter_config": {_BUFFER: unlimited, **(session or {})},
    }


def _retry(*more: str) -> Json:
    """Three more attempts, each at another host, in the next priority after two failed in one."""
    priorities = "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    return {
        "retry_on": ",".join(("connect-failure", "refused-stream", "reset-before-request", "retriable-headers", *more)),
        "retriable_headers": [{"name": ELSEWHERE_HEADER, "present_match": True}],
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [
            extension(
                "envoy.retry_host_predicates.previous_hosts",
                "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        "retry_priority": extension("envoy.retry_priorities.previous_priorities", priorities, update_frequency=2),
    }
