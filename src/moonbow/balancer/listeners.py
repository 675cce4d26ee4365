"""What a door listens on: clients' HTTPS, other sites' mesh, and metrics on loopback.

Law: this file is written once.  Envoy cuts live WebSockets when a listener changes, so whatever may change lies in
routes, clusters, endpoints, secrets or the token filter.
"""

from __future__ import annotations

from ipaddress import ip_address

from moonbow.base.limits import REQUEST_BYTES_MAX
from moonbow.world import Ports, door_address

from .clusters import OWN_REST
from .log import compile_log
from .model import (
    BUFFER_BYTES,
    CLIENTS_COUNTED_MAX,
    CONNECTIONS_PER_CLIENT,
    HEADERS_COUNT_MAX,
    HEADERS_KIB_MAX,
    REQUESTS_BURST,
    REQUESTS_PER_S,
    SIGN_IN_BURST,
    SIGN_IN_PATH,
    SIGN_IN_PER_S,
    Door,
    Json,
)
from .policies import SESSION_FILTER
from .replies import compile_mesh_replies, compile_replies
from .routes import compile_mesh_routes
from .tls import for_clients, for_other_sites
from .tokens import FILTER as TOKEN_FILTER
from .tokens import TYPE as TOKEN_TYPE
from .xds import address, extension, match_header, resources, source, typed

_HTTP = "extensions.filters.http."
_MANAGER = "envoy.filters.network.http_connection_manager"
_MANAGER_TYPE = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def compile_listeners(door: Door) -> Json:
    """The LDS file; an edge has no mesh listener, since nobody needs to come in there from another site."""
    host = door_address(door.world, door.ref, door.number)
    found = [_listener("door", host, Ports.DOOR, [_connections(door), _clients(door)], for_clients(door))]
    if not door.is_edge:
        found.append(_listener("mesh", host, Ports.MESH, [_other_sites(door)], for_other_sites(door)))
    found.append(_metrics(door))
    return resources(*found)


def metrics_address(door: Door) -> tuple[str, int]:
    """Where this door's metrics are: its own address if that is loopback, else a loopback port of its own."""
    host = door_address(door.world, door.ref, door.number)
    if ip_address(host).is_loopback:
        return host, Ports.DOOR_METRICS
    return "127.0.0.1", Ports.DOOR_METRICS + door.number


def connections_max(door: Door) -> int:
    """Connections one door takes: those of the whole site, since the other doors may be gone."""
    return CONNECTIONS_PER_CLIENT * door.ref.site.capacity


def _listener(name: str, host: str, port: int, filters: list[Json], socket: Json) -> Json:
    chain = {"filters": filters, "transport_socket": socket, "transport_socket_connect_timeout": "5s"}
    return typed(
        "config.listener.v3.Listener",
        name=name,
        address=address(host, port),
        per_connection_buffer_limit_bytes=BUFFER_BYTES,
        listener_filters=[
            extension("tls_inspector", "extensions.filters.listener.tls_inspector.v3.TlsInspector"),
        ],
        listener_filters_timeout="5s",
        filter_chains=[chain],
    )


def _connections(door: Door) -> Json:
    kind = "extensions.filters.network.connection_limit.v3.ConnectionLimit"
    most = connections_max(door)
    return extension("connection_limit", kind, stat_prefix="door", max_connections=most, delay="0s")


def _clients(door: Door) -> Json:
    """HTTP for clients: foreign headers off, rates limited, the token checked, the body bounded, then the route."""
    limit = typed(_HTTP + "buffer.v3.Buffer", max_request_bytes=REQUEST_BYTES_MAX)
    tokens = {
        "name": TOKEN_FILTER,
        "config_discovery": {
            "config_source": source(door, "ecds-tokens.json"),
            "type_urls": ["type.googleapis.com/envoy." + TOKEN_TYPE],
        },
    }
    filters = [
        *_health(door),
        _rates(),
        tokens,
        {"name": "envoy.filters.http.buffer", "typed_config": limit},
        *_last(),
    ]
    return _manager(
        door,
        "door",
        filters,
        rds={"route_config_name": "door", "config_source": source(door, "rds-door.json")},
        use_remote_address=True,
        internal_address_config={"cidr_ranges": []},
        early_header_mutation_extensions=[_foreign_headers()],
        local_reply_config=compile_replies(),
        http2_protocol_options=_http2(100),
    )


def _other_sites(door: Door) -> Json:
    """HTTP for other sites' doors, which have checked the token and set the home header; they are believed."""
    return _manager(
        door,
        "mesh",
        [*_health(door), *_last()],
        route_config=compile_mesh_routes(door),
        use_remote_address=False,
        skip_xff_append=True,
        upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}],
        local_reply_config=compile_mesh_replies(),
        http2_protocol_options={**_http2(1000), "allow_connect": True},
    )


def _manager(door: Door, name: str, filters: list[Json], **more: object) -> Json:
    fields: Json = {
        "stat_prefix": name,
        "codec_type": "AUTO",
        "http_filters": filters,
        "access_log": compile_log(door, name),
        "upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}],
        "server_name": "moonbow",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "max_headers_count": HEADERS_COUNT_MAX,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "max_request_headers_kb": HEADERS_KIB_MAX,
        "request_headers_timeout": "5s",
        "request_timeout": "30s",
        "stream_idle_timeout": "60s",
        "delayed_close_timeout": "0.05s",
        "drain_timeout": "5s",
    }
    return extension(_MANAGER, _MANAGER_TYPE, **{**fields, **more})


def _http2(streams_max: int) -> Json:
    return {
        "max_concurrent_streams": streams_max,
        "initial_stream_window_size": 65_536,
        "initial_connection_window_size": 1_048_576,
    }


def _health(door: Door) -> list[Json]:
    """`/healthz` speaks for this site's own gateways; an edge answers from its routes."""
    if door.is_edge:
        return []
    at_health = match_header(":path", "exact", "/healthz")
    check = typed(
        _HTTP + "health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[at_health],
        cluster_min_healthy_percentages={OWN_REST: {"value": 1}},
    )
    return [{"name": "envoy.filters.http.health_check", "typed_config": check}]


def _last() -> list[Json]:
    return [
        extension(SESSION_FILTER, _HTTP + "stateful_session.v3.StatefulSession"),
        extension("envoy.filters.http.router", _HTTP + "router.v3.Router", suppress_envoy_headers=True),
    ]


def _foreign_headers() -> Json:
    """Remove what only doors may say: homes, addresses and Envoy's own switches."""
    prefixes = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-moonbow-", "x-envoy-")]
    names = [{"remove": name} for name in ("x-forwarded-for", "forwarded", "x-real-ip")]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*prefixes, *names],
    )


def _rates() -> Json:
    """Requests of one client address (IPv6: of one /64), and stricter for signing in; announced in headers."""
    client = {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}
    at_sign_in = {"headers": [match_header(":path", "prefix", SIGN_IN_PATH)], "descriptor_value": "sign-in"}
    always = {"default_value": {"numerator": 100}}
    limit = typed(
        _HTTP + "local_ratelimit.v3.LocalRateLimit",
        stat_prefix="rates",
        token_bucket=_bucket(1_000_000, 1_000_000),
        filter_enabled=always,
        filter_enforced=always,
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        max_dynamic_descriptors=CLIENTS_COUNTED_MAX,
        rate_limits=[
            {"actions": [client]},
            {"actions": [{"header_value_match": at_sign_in}, client]},
        ],
        descriptors=[
            {"entries": [{"key": "masked_remote_address"}], "token_bucket": _bucket(REQUESTS_BURST, REQUESTS_PER_S)},
            {
                "entries": [{"key": "header_match", "value": "sign-in"}, {"key": "masked_remote_address"}],
                "token_bucket": _bucket(SIGN_IN_BURST, SIGN_IN_PER_S),
            },
        ],
    )
    return {"name": "envoy.filters.http.local_ratelimit", "typed_config": limit}


def _bucket(burst: int, per_s: int) -> Json:
    return {"max_tokens": burst, "tokens_per_fill": per_s, "fill_interval": "1s"}


def _metrics(door: Door) -> Json:
    host, port = metrics_address(door)
    routes = [
        {
            "match": {"path": "/metrics"},
            "route": {"cluster": "admin", "prefix_rewrite": "/stats/prometheus?usedonly"},
        },
        {"match": {"path": "/ready"}, "route": {"cluster": "admin"}},
    ]
    manager = extension(
        _MANAGER,
        _MANAGER_TYPE,
        stat_prefix="metrics",
        route_config={"virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": routes}]},
        http_filters=[extension("envoy.filters.http.router", _HTTP + "router.v3.Router")],
    )
    return typed(
        "config.listener.v3.Listener",
        name="metrics",
        address=address(host, port),
        filter_chains=[{"filters": [manager]}],
    )
