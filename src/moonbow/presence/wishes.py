"""What people of the region want to be shown as, the same at every gateway: the latest wish stands.

Sans I/O.  Gateways compare digests at each beat; one that keeps seeing a difference says what it knows, so a wish
outlives the loss of messages and of every gateway but one.  Times are milliseconds of the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from moonbow.wire.presence import WISHES_MAX, Wish, Wishes, WishState

from .policy import BUCKETS, bucket, digest, standing_wish

KNOWN_MAX = 100_000  # people with a wish in one region; beyond it the oldest wish is forgotten
BACK_TO_NORMAL_KEPT_MS = 3_600_000  # how long it is remembered that somebody wishes nothing any more
PATIENCE_BEATS = 2  # differences in a row before the first gateway speaks; messages on their way need no repair
PATIENCE_BEATS_MAX = 6


class WishBook:
    """All wishes known, with their digests."""

    def __init__(self) -> None:
        self._wishes: dict[str, Wish] = {}
        self._digests = [0] * BUCKETS
        self._differing: dict[str, int] = {}

    def get(self, person: str) -> Wish | None:
        """The wish of a person."""
        return self._wishes.get(person)

    def digests(self) -> tuple[int, ...]:
        """One number for each bucket; equal numbers mean equal wishes."""
        return tuple(self._digests)

    def next_version(self, person: str, now_ms: int) -> int:
        """A version later than what is known of the person's wish."""
        known = self._wishes.get(person)
        return now_ms if known is None else max(now_ms, known.version + 1)

    def merge(self, wish: Wish, now_ms: int) -> bool:
        """Whether this wish changed what stands."""
        if _forgettable(wish, now_ms):
            return False
        known = self._wishes.get(wish.person)
        standing = wish if known is None else standing_wish(known, wish)
        if standing == known:
            return False
        self._remove(wish.person)
        if len(self._wishes) >= KNOWN_MAX:
            self._remove(min(self._wishes.values(), key=lambda one: (one.version, one.person)).person)
        self._wishes[wish.person] = standing
        self._digests[bucket(wish.person)] ^= digest(standing)
        return True

    def forget_normal(self, now_ms: int) -> None:
        """Forget who went back to normal long ago."""
        for wish in [wish for wish in self._wishes.values() if _forgettable(wish, now_ms)]:
            self._remove(wish.person)

    def compare(self, gateway: str, digests: tuple[int, ...], rank: int) -> list[Wishes]:
        """What to say after a beat of `gateway`: nothing, or all we know in the buckets that keep differing.

        `rank` is our place among the live gateways: the first one speaks first, the others if that did not help.
        """
        if digests == self.digests():
            self._differing.pop(gateway, None)
            return []
        beats = self._differing.get(gateway, 0) + 1
        if beats < min(PATIENCE_BEATS + rank, PATIENCE_BEATS_MAX):
            self._differing[gateway] = beats
            return []
        self._differing.pop(gateway, None)
        theirs = digests + (0,) * BUCKETS
        wanted = {number for number, mine in enumerate(self._digests) if mine != theirs[number]}
        return list(pages(wish for wish in self._wishes.values() if bucket(wish.person) in wanted))

    def everything(self) -> list[Wishes]:
        """All wishes, for a gateway that begins."""
        return list(pages(self._wishes.values()))

    def keep_only(self, gateways: Iterable[str]) -> None:
        """Forget the differences with gateways that are gone."""
        alive = set(gateways)
        self._differing = {name: beats for name, beats in self._differing.items() if name in alive}

    def _remove(self, person: str) -> None:
        known = self._wishes.pop(person, None)
        if known is not None:
            self._digests[bucket(person)] ^= digest(known)


def is_normal(state: WishState, text: str) -> bool:
    """Whether this is no wish at all."""
    return state == "online" and not text


def _forgettable(wish: Wish, now_ms: int) -> bool:
    return is_normal(wish.state, wish.text) and now_ms - wish.version > BACK_TO_NORMAL_KEPT_MS


def pages(wishes: Iterable[Wish]) -> Iterator[Wishes]:
    """Messages that carry `wishes`."""
    found = list(wishes)
    for at in range(0, len(found), WISHES_MAX):
        yield Wishes(tuple(found[at : at + WISHES_MAX]))
