"""Names on the bus.  Account R_<region> exists only on that region's servers; account X may cross.

In X a region publishes only as itself and hears only what is sent to it or to everybody:
    private.<owner>.rpc.<caller>.<op>     a request of region <caller> to region <owner>, served by any of its gateways
    private.<from>.to.<dest>.<what>       live events, one message per destination region
    shared.<origin>.<what>                records of the closed list in `wire.shared`
"""

from __future__ import annotations

LIVE = "live"  # R: rows, bodies and ephemeral events of this region, to all its gateways
SESSIONS = "sessions"  # R: revocations
LEASES = "leases"  # R: heartbeats of gateway incarnations with presence changes


def rpc(owner: str, caller: str, op: str) -> str:
    """Subject of a request from `caller` to `owner`."""
    return f"private.{owner}.rpc.{caller}.{op}"


def rpc_served(owner: str) -> str:
    """What a gateway of `owner` listens to for requests, in a queue group."""
    return f"private.{owner}.rpc.*.>"


def live_to(source: str, dest: str, what: str) -> str:
    """Subject of live events from region `source` to region `dest`."""
    return f"private.{source}.to.{dest}.{what}"


def live_heard(dest: str, what: str) -> str:
    """What a gateway of `dest` listens to for live events of all other regions."""
    return f"private.*.to.{dest}.{what}"


def shared(origin: str, what: str) -> str:
    """Subject of shared records and heartbeats of `origin`."""
    return f"shared.{origin}.{what}"


def commit(site: str) -> str:
    """R: posts that gateways of other sites hand to a site, in a queue group of its gateways."""
    return f"commit.{site}"


def committed(gateway: str) -> str:
    """R: what became of the posts that an incarnation of a gateway handed over."""
    return f"committed.{gateway}"
