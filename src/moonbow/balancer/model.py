"""What the doors are compiled from besides the world, and the names and bounds that their files share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from moonbow.world import SiteRef, World

Json = dict[str, Any]  # one object of Envoy's configuration, checked by Envoy itself

HOME_HEADER = "x-moonbow-home"  # the region that a verified token names; only a door may set it
DOOR_HEADER = "x-moonbow-door"  # the door through which a request entered the world
ELSEWHERE_HEADER = "moonbow-try-elsewhere"  # on an answer: nothing was done, another host may be asked
LOAD_HEADER = "endpoint-load-metrics"  # on an answer: the gateway's load (ORCA)
STREAM_PATH = "/v1/stream"
SIGN_IN_PATH = "/v1/sessions"

BUFFER_BYTES = 32_768  # of one connection, in each direction
HEADERS_KIB_MAX = 32
HEADERS_COUNT_MAX = 100
SIGN_IN_BURST, SIGN_IN_PER_S = 100, 5  # of one client address
REQUESTS_BURST, REQUESTS_PER_S = 8_000, 4_000  # of one client address
CLIENTS_COUNTED_MAX = 10_000  # addresses with a counter of their own; the least used is forgotten
CONNECTIONS_PER_CLIENT = 2  # a browser opens one for pages and one for its stream
ANSWER_S = 15.0  # to answer a request that is not a stream
CONTENT_IDLE_S = 45.0  # without a byte of a file, in either direction: longer than its store may take
TRY_S = 2.0  # for one of the attempts at a request that may be repeated
DRAIN_S = 600
SOCKET_PATH_BYTES_MAX = 107  # of a unix socket on Linux


class Key(msgspec.Struct, frozen=True):
    """One public Ed25519 key of a region's token issuer: its name, and the point in base64url (RFC 8037)."""

    kid: Annotated[str, Meta(min_length=1, max_length=64)]
    x: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]


Keys = Mapping[str, Sequence[Key]]  # by region


@dataclass(frozen=True)
class SiteHealth:
    """What is known beyond the files: the operator's word about sites, and regions that do not answer.

    `unfit` are sites that the director does not name, for what it sees of them.  `silent_since` maps a region to the
    moment it was last found unreachable, RFC 3339 in UTC.
    """

    drained: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()
    silent_since: Mapping[str, str] = field(default_factory=dict[str, str])

    def refuses(self, site: str) -> bool:
        """Whether the operator wants nothing new to be sent to this site."""
        return site in self.drained or site in self.down


@dataclass(frozen=True)
class Door:
    """One door of one site, with everything that its files need to know of where it stands."""

    world: World
    ref: SiteRef
    number: int
    state: Path

    @property
    def folder(self) -> Path:
        """Where this door's files lie."""
        return self.state / "sites" / self.ref.site.name / f"door{self.number}"

    @property
    def admin_socket(self) -> Path:
        """Envoy's administration, for the owner of the state only."""
        return self.folder / "admin.sock"

    @property
    def log(self) -> Path:
        """The door's own log."""
        return self.state / "sites" / self.ref.site.name / "logs" / f"door{self.number}.jsonl"

    @property
    def is_edge(self) -> bool:
        """Whether this site has doors only."""
        return self.ref.site.kind == "edge"

    def regions(self) -> tuple[str, ...]:
        """The regions whose people may enter here: all that are not sealed, or only its own if it is."""
        own = self.ref.region
        if self.world.regions[own].sealed:
            return (own,)
        return tuple(name for name, region in self.world.regions.items() if not region.sealed)

    def sisters(self) -> tuple[SiteRef, ...]:
        """The other primary sites of the same region, in file order."""
        return tuple(ref for ref in self.world.primaries(self.ref.region) if ref.site.name != self.ref.site.name)
