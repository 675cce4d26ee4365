"""What Envoy reads at its start: who it is, where its files lie, how much memory it may take, how it logs."""

from __future__ import annotations

from moonbow.base.errors import ConfigError

from .listeners import connections_max
from .model import SOCKET_PATH_BYTES_MAX, Door, Json
from .xds import extension, source

BASE_BYTES = 256 * 1_048_576
CONNECTION_BYTES = 65_536  # measured: 55 to 64 KiB for one WebSocket over TLS
STATS_S = 15  # between two counts of histograms, as often as they are scraped; counters are always up to date
_WATCHDOG = {"miss_timeout": "4s", "megamiss_timeout": "8s"}  # it only counts; by default it wakes every thread at 10/s


def compile_bootstrap(door: Door) -> Json:
    """The bootstrap file; `ConfigError` if the state folder's path is too long for a unix socket."""
    socket = str(door.admin_socket)
    if len(socket.encode()) > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(f"{socket}: longer than {SOCKET_PATH_BYTES_MAX} bytes; choose a state folder higher up")
    pipe = {"pipe": {"path": socket}}
    admin = {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {
            "cluster_name": "admin",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe}}]}],
        },
    }
    line = {"at": "%Y-%m-%dT%T.%eZ", "level": "%l", "room": "balancer", "event": "%j"}
    return {
        "node": {
            "id": f"{door.ref.site.name}-door{door.number}",
            "cluster": "moonbow",
            "locality": {"region": door.ref.region, "zone": door.ref.site.name},
        },
        "admin": {"address": {"pipe": {"path": socket, "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": source(door, "lds.json"),
            "cds_config": source(door, "cds.json"),
        },
        "static_resources": {"clusters": [admin]},
        "application_log_config": {"log_format": {"json_format": line}},
        "overload_manager": _overload(connections_max(door)),
        "stats_flush_interval": f"{STATS_S}s",
        "watchdogs": {"main_thread_watchdog": _WATCHDOG, "worker_watchdog": _WATCHDOG},
    }


def _overload(connections: int) -> Json:
    heap = BASE_BYTES + connections * CONNECTION_BYTES
    monitors = "envoy.resource_monitors."
    fixed = extension(
        monitors + "fixed_heap",
        "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        max_heap_size_bytes=heap,
    )
    connected = extension(
        monitors + "global_downstream_max_connections",
        "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=connections + 1000,
    )

    def action(name: str, at: float) -> Json:
        trigger = {"name": monitors + "fixed_heap", "threshold": {"value": at}}
        return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}

    return {
        "refresh_interval": "1s",
        "resource_monitors": [fixed, connected],
        "actions": [
            action("shrink_heap", 0.9),
            action("disable_http_keepalive", 0.92),
            action("stop_accepting_requests", 0.95),
        ],
    }
