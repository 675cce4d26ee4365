"""How a door spreads a service over gateways: Envoy's balancing policies, and the cookie of the sticky ones."""

from __future__ import annotations

from moonbow.world.model import Policy

from .model import Json
from .xds import extension, typed

SESSION_FILTER = "envoy.filters.http.stateful_session"
_WEIGHTED = {"blackout_period": "1s", "weight_update_period": "1s", "weight_expiration_period": "180s"}


def spread_of(policy: Policy) -> Json:
    """The load balancing policy of a cluster: in turn, or by the load that gateways report with their answers."""
    name = "client_side_weighted_round_robin" if policy.endswith("weighted") else "round_robin"
    fields = _WEIGHTED if policy.endswith("weighted") else {}
    message = "".join(word.capitalize() for word in name.split("_"))
    found = extension(
        f"envoy.load_balancing_policies.{name}", f"extensions.load_balancing_policies.{name}.v3.{message}", **fields
    )
    return {"policies": [{"typed_extension_config": found}]}


def session_of(policy: Policy, service: str) -> Json | None:
    """The per-route configuration that keeps a browser with the gateway it first met; None if the policy does not.

    A gateway that drains or fails is chosen anew by the underlying policy.
    """
    if not policy.startswith("sticky"):
        return None
    attributes = [{"name": "SameSite", "value": "Strict"}, {"name": "Secure"}]
    cookie = {"name": f"moonbow-{service}", "path": "/v1", "ttl": "3600s", "attributes": attributes}
    state = extension(
        "envoy.http.stateful_session.cookie",
        "extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
        cookie=cookie,
    )
    kind = "extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute"
    return {SESSION_FILTER: typed(kind, stateful_session={"session_state": state})}
