"""What the director's HTTP says: `/status`, `/explain`, `/flows`, `/simulate`, `/history`, `/orders`, `/doors`.  Pure.

A refusal is a JSON object with a stable `code`, words, and the place of the fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from moonbow.base.errors import Refused
from moonbow.wire import traffic
from moonbow.wire.values import Door

from .addresses import Address, parse_address
from .flows import Sizes, trace_flows
from .model import SERVICES, Demand, Load
from .orders import Orders
from .snapshot import Snapshot, decide_address, explain_address, list_doors, spread_sites
from .standing import Standing
from .status import describe, describe_history, describe_orders
from .whatif import describe_outage, describe_outcome, foresee, refuse_harm, weigh_order

NOT_FOUND = (
    "pages: /status /explain?address=&name= /flows?name= /simulate?down= /history /orders /doors?address= /metrics"
)

Answer = tuple[int, str, bytes]  # status, content type, body
Query = dict[str, str]


class Facts(NamedTuple):
    """What pages are made of.  Without a `standing` the director knows of no other; `asked` are questions by cell;
    `past` are the snapshots that are kept, oldest first.
    """

    snapshot: Snapshot
    standing: Standing | None = None
    orders: Orders = Orders()
    now_s: float = 0.0
    asked: Mapping[int, float] = {}
    past: Sequence[Snapshot] = ()

    def at(self, query: Query) -> Facts:
        """The facts of the snapshot asked for by number, without what is only known of the present; else these."""
        number = query.get("snapshot")
        if number is None or number == str(self.snapshot.number):
            return self
        kept = [found.number for found in self.past]
        for found in self.past:
            if str(found.number) == number:
                return Facts(found)
        known = f"{kept[0]} to {kept[-1]}, where something changed" if kept else "only the present one"
        raise Refused("snapshot_unknown", f"no such snapshot is kept, but {known}", status=404, place="snapshot")

    @property
    def demand(self) -> Demand | None:
        """The clients to reckon with; None while there are none."""
        said = self.standing.loads if self.standing else {}
        loads = {name: Load(load.connections, load.cpu, load.capacity, load.errors) for name, load in said.items()}
        return foresee(self.snapshot, loads, self.asked)


class Pages:
    """Pages of one director; the sizes of countries are kept between them, because counting takes 25 ms."""

    def __init__(self) -> None:
        self._sizes = Sizes()

    def answer(self, facts: Facts, path: str, query: Query) -> Answer:
        """The page at `path`: 404 for one that is not there, 400 with the reason for a wrong question."""
        try:
            return _json(200, self._page(facts, path, query))
        except Refused as refused:
            return refusal(refused)

    def _page(self, facts: Facts, path: str, query: Query) -> msgspec.Struct | Sequence[msgspec.Struct]:
        if path in ("/status", "/flows", "/explain"):
            facts = facts.at(query)
        snapshot = facts.snapshot
        match path:
            case "/status":
                return describe(snapshot, facts.standing, facts.orders)
            case "/history":
                return describe_history(facts.standing)
            case "/orders":
                return describe_orders(facts.orders, facts.now_s)
            case "/flows":
                return self.flows(snapshot, read_service(query))
            case "/simulate":
                return self.simulate(facts, query)
            case "/explain":
                return explain_address(snapshot, read_address(query), query.get("region"), read_service(query))
            case "/doors":
                return order_doors(snapshot, query.get("address", ""), query.get("region"))
            case _:
                raise Refused("not_found", NOT_FOUND, status=404)

    def simulate(self, facts: Facts, query: Query) -> traffic.Simulation:
        """What would follow from an outage (`down=`), or from an order (`order=`)."""
        snapshot, demand, sizes = facts.snapshot, facts.demand, self._sizes.of(facts.snapshot.ranges)
        if "order" not in query:
            down = [name for name in query.get("down", "").split(",") if name]
            return describe_outage(snapshot, demand, down, sizes)
        wanted = read_wish(query)
        outcome = weigh_order(snapshot, demand, facts.orders, wanted, facts.now_s)
        return describe_outcome(snapshot, outcome, [query["order"]], sizes)

    def flows(self, snapshot: Snapshot, service: str) -> traffic.Flows:
        """Who goes where for a service."""
        sizes = self._sizes.of(snapshot.ranges)
        foreseen = snapshot.demand is not None and any(snapshot.demand.cells)
        flows = trace_flows(snapshot, sizes, service)
        return traffic.Flows(
            service=service, snapshot=snapshot.number, by="clients" if foreseen else "addresses", flows=flows
        )


def read_wish(query: Query) -> traffic.NewOrder:
    """An order not given, only asked about: `order=<kind>:<target>[:<value>]`."""
    kind, _, rest = query["order"].partition(":")
    target, _, value = rest.partition(":")
    found = {"kind": kind, "target": target, "value": value or None}
    try:
        return msgspec.convert(found, traffic.NewOrder, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("order_invalid", str(error), place="order") from error


def judge_order(facts: Facts, wanted: traffic.NewOrder) -> None:
    """`Refused` if an order makes no sense, or (409) would overload a site or leave clients without any."""
    outcome = weigh_order(facts.snapshot, facts.demand, facts.orders, wanted, facts.now_s)
    refuse_harm(facts.snapshot, outcome)


def answer_page(snapshot: Snapshot, path: str, query: Query) -> Answer:
    """A page that needs nothing but a snapshot."""
    return Pages().answer(Facts(snapshot), path, query)


def order_doors(snapshot: Snapshot, text: str, region: str | None) -> list[Door]:
    """Every usable door for a client, best first; `Refused` if `text` is no address."""
    address = read_address({"address": text})
    _, decision = decide_address(snapshot, address, region)
    return list_doors(snapshot, address, spread_sites(decision, address))


def read_address(query: Query) -> Address:
    """The address asked about."""
    try:
        return parse_address(query.get("address", ""))
    except ValueError:
        detail = f"{query.get('address', '')!r} is no IPv4 or IPv6 address"
        raise Refused("address_invalid", detail, place="address") from None


def read_service(query: Query) -> str:
    """The service asked about: `door` unless `name` says otherwise."""
    found = query.get("name", "door")
    if found not in SERVICES:
        raise Refused("service_unknown", f"there is no service {found!r}, but {', '.join(SERVICES)}", place="name")
    return found


def refusal(refused: Refused) -> Answer:
    """A refusal as a page."""
    return _json(refused.status, traffic.Refusal(code=refused.code, detail=refused.detail, place=refused.place))


def _json(status: int, value: msgspec.Struct | Sequence[msgspec.Struct]) -> Answer:
    return status, "application/json", msgspec.json.encode(value)
