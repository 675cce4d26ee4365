"""A door's files in short, for people and for golden files: who is let in, where requests go, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from moonbow.balancer.policy import followed_files

Files = Mapping[str, Any]


def outline(files: Files) -> str:
    """One line for each listener, provider, cluster, endpoint and kind of route."""
    return "".join(f"{line}\n" for line in _lines(files))


def _lines(files: Files) -> Iterator[str]:
    for listener in files["lds.json"]["resources"]:
        yield f"listener {listener['name']} {_address(listener)}"
    for name in tokens(files)["providers"]:
        yield f"token {name} of {tokens(files)['providers'][name]['issuer']}"
    for cluster in files["cds.json"]["resources"]:
        policy = cluster["load_balancing_policy"]["policies"][0]["typed_extension_config"]["name"].rpartition(".")[2]
        yield f"cluster {cluster['name']} {policy}"
        assignment = cluster.get("load_assignment") or files[f"eds-{cluster['name']}.json"]["resources"][0]
        for locality in assignment["endpoints"]:
            for endpoint in locality["lb_endpoints"]:
                found = [f"p{locality['priority']}", locality["locality"]["zone"], _address(endpoint["endpoint"])]
                found += [endpoint["health_status"]] if "health_status" in endpoint else []
                yield f"  {' '.join(found)}"
    for table in ("door", "mesh"):
        for home, routes in tables(files, table).items():
            went: dict[str, int] = {}
            for route in routes:
                where = route["route"]["cluster"] if "route" in route else str(route["direct_response"]["status"])
                went[where] = went.get(where, 0) + 1
            yield f"routes {table} {home}: " + ", ".join(f"{where} {count}" for where, count in went.items())
    yield f"follows {len(followed_files(files))} files"


def tokens(files: Files) -> Any:
    """The configuration of the token filter."""
    return files["ecds-tokens.json"]["resources"][0]["typed_config"]


def tables(files: Files, name: str) -> dict[str, list[Any]]:
    """The lists of routes of listener `door` or `mesh` by home, `-` for requests without one; empty for no listener."""
    for listener in files["lds.json"]["resources"]:
        if listener["name"] == name:
            manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]
            table = manager.get("route_config") or files["rds-door.json"]["resources"][0]
            matcher = table["virtual_hosts"][0]["matcher"]
            by_home = matcher.get("matcher_tree", {}).get("exact_match_map", {}).get("map", {})
            found = {home: match["action"]["typed_config"]["routes"] for home, match in by_home.items()}
            return {**found, "-": matcher["on_no_match"]["action"]["typed_config"]["routes"]}
    return {}


def _address(found: Any) -> str:
    address = found["address"]["socket_address"]
    return f"{address['address']}:{address['port_value']}"
