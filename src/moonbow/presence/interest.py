"""Which people of this region other regions want to hear of, and what this gateway's people want to hear of theirs.

Sans I/O.  Interest is asked for again before it runs out, and the answer to asking carries the present states: so
whatever live message was lost is repaired within REFRESH_S.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from moonbow.base.errors import Refused
from moonbow.base.ids import home
from moonbow.wire.presence import PersonState

REFRESH_S = 20.0
INTEREST_S = 50.0
INTEREST_MAX = 20_000  # people one other region may hear of
RECENT_S = 300.0  # how long people asked for once are followed, without a watch
RECENT_MAX = 5_000
FOLLOWED_MAX = 50_000  # foreign people one gateway follows


class Interest:
    """By region, until when it wants to hear of whom."""

    def __init__(self) -> None:
        self._until: dict[str, dict[str, float]] = {}

    def add(self, region: str, people: Iterable[str], until: float, now: float) -> list[str]:
        """Those of `people` that are new; `Refused("too_many_watched")` beyond INTEREST_MAX, nothing is added then."""
        known = self._until.setdefault(region, {})
        wanted = set(people)
        if len(known.keys() | wanted) > INTEREST_MAX:
            self.expire(now)
            known = self._until.setdefault(region, {})
            if len(known.keys() | wanted) > INTEREST_MAX:
                raise Refused(
                    "too_many_watched", f"a region may watch {INTEREST_MAX} people of another", status=429,
                    retry_after_s=REFRESH_S,
                )  # fmt: skip
        new = sorted(person for person in wanted if known.get(person, now) <= now)
        for person in wanted:
            known[person] = max(until, known.get(person, until))
        return new

    def expire(self, now: float) -> None:
        """Forget what ran out."""
        for region in list(self._until):
            self._until[region] = {person: until for person, until in self._until[region].items() if until > now}
            if not self._until[region]:
                del self._until[region]

    def of(self, people: Iterable[str], now: float) -> dict[str, list[str]]:
        """By region, those of `people` it wants to hear of."""
        found = list(people)
        wanted = {
            region: [person for person in found if known.get(person, now) > now]
            for region, known in self._until.items()
        }
        return {region: some for region, some in wanted.items() if some}

    def all(self, now: float) -> dict[str, list[str]]:
        """By region, everybody it wants to hear of."""
        return {region: self.of(known, now).get(region, []) for region, known in self._until.items()}


class Following:
    """The people of other regions that this gateway follows, why, and what was last heard of them."""

    def __init__(self) -> None:
        self._watches: dict[str, frozenset[str]] = {}
        self._watchers: dict[str, int] = {}
        self._recent: OrderedDict[str, float] = OrderedDict()
        self._known: dict[str, tuple[PersonState, float]] = {}

    def watch(self, session: str, people: Iterable[str]) -> None:
        """The session follows exactly these foreign people from now on; `Refused` beyond FOLLOWED_MAX."""
        wanted = frozenset(people)
        if len(self._watchers.keys() | wanted) > FOLLOWED_MAX:
            raise Refused("too_many_watched", f"this gateway follows {FOLLOWED_MAX} people already", status=503)
        for person in self._watches.pop(session, frozenset()):
            self._watchers[person] -= 1
            if not self._watchers[person]:
                del self._watchers[person]
        if wanted:
            self._watches[session] = wanted
        for person in wanted:
            self._watchers[person] = self._watchers.get(person, 0) + 1

    def asked(self, people: Iterable[str], now: float) -> None:
        """Somebody asked once: follow for RECENT_S."""
        for person in people:
            self._recent.pop(person, None)
            self._recent[person] = now + RECENT_S
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    def expire(self, now: float) -> None:
        """Forget whom nobody follows any more."""
        while self._recent and next(iter(self._recent.values())) <= now:
            self._recent.popitem(last=False)
        self._known = {person: found for person, found in self._known.items() if self.follows(person)}

    def follows(self, person: str) -> bool:
        """Whether anybody here wants to know."""
        return person in self._watchers or person in self._recent

    def by_region(self) -> dict[str, list[str]]:
        """Everybody followed, by home region."""
        found: dict[str, list[str]] = {}
        for person in sorted(self._watchers.keys() | self._recent.keys()):
            found.setdefault(home(person), []).append(person)
        return found

    def known(self, person: str) -> PersonState | None:
        """What was last heard of a person."""
        found = self._known.get(person)
        return found[0] if found else None

    def heard(self, region: str, states: Iterable[PersonState], now: float, asked_at: float) -> list[PersonState]:
        """Take in what `region` says of its people; those that changed.

        An answer does not replace what was heard live after it was asked for: `asked_at` is `now` for live messages.
        """
        changed = []
        for state in states:
            if not self.follows(state.person) or home(state.person) != region:
                continue
            known = self._known.get(state.person)
            if known is not None and known[1] > asked_at:
                continue
            self._known[state.person] = (state, now)
            if known is None or known[0] != state:
                changed.append(state)
        return changed

    def silent(self, region: str, now: float) -> list[PersonState]:
        """`region` is out of reach: nothing is known of its people; those for whom that is news."""
        people = self.by_region().get(region, [])
        return self.heard(region, [PersonState(person, "unknown") for person in people], now, now)
