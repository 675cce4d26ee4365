"""What the director's HTTP says about a snapshot.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from moonbow.base.errors import Refused
from moonbow.wire.values import Door

from .addresses import parse_address
from .snapshot import Snapshot, decide_address, describe, explain_address, list_doors, spread_sites

NOT_FOUND = b"/status  /explain?address=  /doors?address=&region=  /metrics  /healthz\n"

Answer = tuple[int, str, bytes]  # status, content type, body


def answer_page(snapshot: Snapshot, path: str, query: dict[str, str]) -> Answer:
    """`/status`, `/explain?address=&region=` and `/doors?address=&region=`; 404 for the rest, 400 with the reason."""
    try:
        if path == "/status":
            return _json(describe(snapshot))
        if path == "/explain":
            return _json(explain_address(snapshot, parse_address(query.get("address", "")), query.get("region")))
        if path == "/doors":
            return _json(order_doors(snapshot, query.get("address", ""), query.get("region")))
    except ValueError:
        return 400, "text/plain", b"address: an IPv4 or IPv6 address is wanted\n"
    except Refused as refused:
        return 400, "text/plain", f"{refused.place}: {refused.detail}\n".encode()
    return 404, "text/plain", NOT_FOUND


def order_doors(snapshot: Snapshot, text: str, region: str | None) -> list[Door]:
    """Every usable door for a client, best first; `ValueError` if `text` is no address."""
    address = parse_address(text)
    _, decision = decide_address(snapshot, address, region)
    return list_doors(snapshot, address, spread_sites(decision, address))


def _json(value: msgspec.Struct | Sequence[msgspec.Struct]) -> Answer:
    return 200, "application/json", msgspec.json.encode(value)
