"""A region's timeline in plain Python: what the transactions should do, said again without a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

Answer = tuple[object, ...]


class Line(NamedTuple):
    """One row of a room: its seq is its place in the list."""

    kind: str
    entry: str | None
    author: str
    target: str | None


@dataclass
class RoomModel:
    """A room's rows, and when each person joined and left."""

    creator: str
    lines: list[Line] = field(default_factory=list)
    spans: dict[str, list[list[int | None]]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)

    def add(self, line: Line) -> int:
        self.lines.append(line)
        seq = len(self.lines)
        if line.kind == "join":
            self.spans.setdefault(line.target or "", []).append([seq, None])
        elif line.kind == "leave":
            self.spans[line.target or ""][-1][1] = seq
        elif line.kind == "redaction":
            self.gone |= {no for no, other in enumerate(self.lines, 1) if other.entry == line.target}
        elif line.kind == "erasure":
            self.gone |= {no for no, other in enumerate(self.lines, 1) if other.entry and other.author == line.target}
        return seq

    def is_member(self, person: str) -> bool:
        return any(left is None for _, left in self.spans.get(person, []))

    def covers(self, person: str, seq: int) -> bool:
        return any((joined or 0) <= seq <= (left or seq) for joined, left in self.spans.get(person, []))

    def members(self) -> set[str]:
        return {person for person in self.spans if self.is_member(person)}

    def visible(self, person: str) -> list[int]:
        return [seq for seq, line in enumerate(self.lines, 1) if self._sees(person, seq, line)]

    def _sees(self, person: str, seq: int, line: Line) -> bool:
        if line.kind == "redaction":
            return any(self.covers(person, no) for no, o in enumerate(self.lines, 1) if o.entry == line.target)
        if line.kind == "erasure":
            earlier = enumerate(self.lines[: seq - 1], 1)
            return any(self.covers(person, no) for no, o in earlier if o.entry and o.author == line.target)
        return self.covers(person, seq)

    def unread(self, person: str, read: int) -> int:
        return sum(line.kind == "entry" and line.author != person for line in self.lines[read:])


class Model:
    """What a region with these rooms knows.  Methods answer what the transaction should answer."""

    def __init__(self) -> None:
        self.rooms: dict[str, RoomModel] = {}
        self.posts: dict[tuple[str, str], tuple[tuple[str, str] | None, Answer]] = {}
        self.texts: dict[str, str | None] = {}
        self.authors: dict[str, str] = {}
        self.read: dict[tuple[str, str], int] = {}
        self.gone: set[str] = set()
        self.told: list[tuple[str, bool]] = []
        self.applied: dict[str, list[Answer]] = {}
        self.settled: dict[str, int] = {}
        self.far = ""

    def create(self, room: str, people: list[str]) -> Answer:
        made = self.rooms[room] = RoomModel(people[0])
        for person in dict.fromkeys(people):
            self._join(room, made, people[0], person)
        return (room,)

    def post(self, author: str, room: str, key: str, text: str, entry: str | None) -> Answer:
        """`entry` is the id that the store gave, if it gave one."""
        if author in self.gone:
            return ("refused", "person_erased")
        if (known := self.posts.get((author, key))) is not None:
            mark, answer = known
            return answer if mark is None or mark == (room, text) else ("raised", "client_id_reused")
        if room not in self.rooms or not self.rooms[room].is_member(author):
            answer = ("refused", "not_member")
        else:
            self.texts[entry or ""], self.authors[entry or ""] = text, author
            answer = ("placed", entry, self.rooms[room].add(Line("entry", entry, author, None)))
        self.posts[author, key] = ((room, text), answer)
        return answer

    def redact(self, actor: str, room: str, entry: str) -> Answer:
        here = any(line.entry == entry for line in self.rooms[room].lines)
        if entry in self.texts and not here:
            return ("noop", "entry_unknown")
        if self.authors.get(entry) == actor:
            self._erase_text(entry)
        return self._redact(actor, room, entry)

    def _redact(self, actor: str, room: str, entry: str) -> Answer:
        place = self.rooms[room]
        found = [(no, line) for no, line in enumerate(place.lines, 1) if line.entry == entry]
        if not found or found[0][0] in place.gone or actor not in (found[0][1].author, place.creator):
            return ("noop", None)
        place.add(Line("redaction", None, actor, entry))
        self._erase_text(entry)
        return ("done", None)

    def member(self, room: str, actor: str, person: str, join: bool) -> Answer:
        place = self.rooms[room]
        if place.is_member(person) == join:
            return ("noop", None)
        if actor != person and not place.is_member(actor):
            return ("refused", "not_member")
        if join and actor == person:
            return ("refused", "not_invited")
        if not join and actor not in (person, place.creator):
            return ("refused", "not_creator")
        if join:
            self._join(room, place, actor, person)
        else:
            place.add(Line("leave", None, actor, person))
            self._tell(room, person, False)
        return ("done", None)

    def erase(self, person: str) -> Answer:
        rooms = self._rooms_of(person)
        for entry, author in self.authors.items():
            if author == person:
                self.texts[entry] = None
        if person not in self.gone:
            for room in sorted(rooms):
                self.rooms[room].add(Line("erasure", None, person, person))
        self.gone.add(person)
        return (len(rooms),)

    def mark_read(self, person: str, room: str, seq: int) -> Answer:
        place = self.rooms[room]
        if not place.is_member(person):
            return ("raised", "room_unknown")
        before = self.read.get((person, room), 0)
        self.read[person, room] = max(before, min(seq, len(place.lines)))
        return (self.read[person, room],)

    def from_afar(self, room: str, out_no: int, entry: str) -> Answer:
        """A far person's entry with a number of its region's queue.  What comes before a number that is sent has been
        settled there, and its result is forgotten here."""
        done = self.applied.setdefault(room, [])
        self.settled[room] = max(self.settled.get(room, 0), min(out_no, len(done)))
        if out_no > len(done) + 1:
            return ("expected", len(done) + 1)
        if out_no <= len(done):
            return done[out_no - 1] if out_no >= self.settled[room] else ("done", None, None)
        place = self.rooms[room]
        if place.is_member(self.far):
            answer: Answer = ("placed", place.add(Line("entry", entry, self.far, None)), None)
        else:
            answer = ("refused", None, "not_member")
        done.append(answer)
        return answer

    def _rooms_of(self, person: str) -> list[str]:
        return [r for r, place in self.rooms.items() if any(o.entry and o.author == person for o in place.lines)]

    def _join(self, room: str, place: RoomModel, actor: str, person: str) -> None:
        seq = place.add(Line("join", None, actor, person))
        if person != self.far:
            self.read[person, room] = max(self.read.get((person, room), 0), seq)
        self._tell(room, person, True)

    def _tell(self, room: str, person: str, added: bool) -> None:
        if person == self.far:
            self.told.append((room, added))

    def _erase_text(self, entry: str) -> None:
        if entry in self.texts:
            self.texts[entry] = None
            for post, (_, answer) in self.posts.items():
                if entry in answer:
                    self.posts[post] = (None, answer)
