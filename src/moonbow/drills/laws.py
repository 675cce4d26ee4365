"""The laws that every drill checks, over a `History`.  Each gives a `Verdict` with its evidence; none measures itself.

`always_` holds at every moment seen, `eventually_` within a stated time, `finally_` once the faults are over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from itertools import pairwise

import msgspec

from .history import Answered, History, Line, Linked

EVIDENCE_MAX = 5


class Verdict(msgspec.Struct, frozen=True):
    """Whether a law held: what was looked at, how many faults, and the first few of them."""

    law: str
    held: bool
    said: str
    faults: int = 0
    evidence: list[str] = []


def judge(law: str, looked_at: str, faults: Iterator[str]) -> Verdict:
    """The verdict on a law from the sentences of its faults."""
    found = list(faults)
    said = f"{looked_at}: {'no fault' if not found else f'{len(found)} faults'}"
    return Verdict(law, not found, said, len(found), found[:EVIDENCE_MAX])


def finally_no_acked_message_is_lost(seen: History) -> Verdict:
    """Whatever was placed or kept, and not refused later, stands in its room at the end."""
    acked = [answer for answer in seen.last_answers().values() if answer.state != "refused"]
    where = {sent.client_id: sent for sent in seen.sent}
    texts = {room: {line.text for line in seen.final_of(room)} for room in seen.rooms()}
    ids = {room: {line.id for line in seen.final_of(room) if line.state == "erased"} for room in seen.rooms()}

    def faults() -> Iterator[str]:
        for answer in acked:
            sent = where[answer.client_id]
            if sent.text not in texts.get(sent.room, ()) and answer.id not in ids.get(sent.room, ()):
                yield f"{answer.state} {answer.id} of {sent.author} is not in {sent.room}: {sent.text!r}"

    return judge("finally_no_acked_message_is_lost", f"{len(acked)} acknowledged messages", faults())


def finally_no_message_stands_twice(seen: History) -> Verdict:
    """No text and no entry id stands twice in a room, though each was perhaps sent many times."""

    def faults() -> Iterator[str]:
        for room in seen.rooms():
            lines = [line for line in seen.final_of(room) if line.kind == "entry"]
            for what in (Counter(line.text for line in lines if line.text), Counter(line.id for line in lines)):
                yield from (f"{key!r} stands {count} times in {room}" for key, count in what.items() if count > 1)

    total = sum(len(seen.final_of(room)) for room in seen.rooms())
    return judge("finally_no_message_stands_twice", f"{total} rows of {len(seen.rooms())} rooms", faults())


def finally_refused_is_nowhere(seen: History) -> Verdict:
    """What was refused stands in no room."""
    refused = {answer.client_id for answer in seen.last_answers().values() if answer.state == "refused"}
    texts = {sent.text: sent for sent in seen.sent if sent.client_id in refused}

    def faults() -> Iterator[str]:
        for room in seen.rooms():
            for line in seen.final_of(room):
                if line.text in texts:
                    yield f"{line.text!r} was refused and stands in {room} at {line.seq}"

    return judge("finally_refused_is_nowhere", f"{len(refused)} refused messages", faults())


def always_answers_are_true(seen: History) -> Verdict:
    """A message said to be placed at a seq stands there; all answers to one message name the same entry."""
    rooms = {sent.client_id: sent.room for sent in seen.sent}
    at = {room: {line.seq: line.id for line in seen.final_of(room)} for room in seen.rooms()}
    named: dict[str, Answered] = {}

    def faults() -> Iterator[str]:
        for answer in seen.answered:
            first = named.setdefault(answer.client_id, answer)
            if first.id != answer.id:
                yield f"{answer.client_id} was {first.id}, then {answer.id}"
            room = rooms[answer.client_id]
            if (
                answer.state == "placed"
                and answer.seq is not None
                and room in at
                and at[room].get(answer.seq) != answer.id
            ):
                yield f"{answer.id} was said to be at {answer.seq} of {room}; there is {at[room].get(answer.seq)}"

    return judge("always_answers_are_true", f"{len(seen.answered)} answers", faults())


def always_rows_come_once_and_in_order(seen: History) -> Verdict:
    """Every reader is shown the rows of a room with growing seq, over all its connections."""
    last: dict[tuple[str, str], int] = {}

    def faults() -> Iterator[str]:
        for shown in seen.shown:
            key = shown.reader, shown.room
            if shown.line.seq <= last.get(key, 0):
                yield f"{shown.reader} was shown {shown.line.seq} of {shown.room} after {last[key]}"
            last[key] = max(last.get(key, 0), shown.line.seq)

    return judge("always_rows_come_once_and_in_order", f"{len(seen.shown)} rows shown", faults())


def finally_everyone_was_shown_everything(seen: History) -> Verdict:
    """Each reader was shown exactly the rows it reads back, in the same places, and with the same texts."""
    live = _live_lines(seen)
    looked = 0

    def faults() -> Iterator[str]:
        for began in seen.began:
            final = seen.final.get(began.reader, {}).get(began.room)
            if final is None:
                continue
            got = live[began.reader, began.room]
            want = {line.seq: line for line in final if line.seq > began.head}
            for seq in sorted(want.keys() | got.keys()):
                if (fault := _differs(want.get(seq), got.get(seq))) is not None:
                    yield f"{began.reader} in {began.room} at {seq}: {fault}"

    for began in seen.began:
        final = seen.final.get(began.reader, {}).get(began.room, [])
        looked += sum(line.seq > began.head for line in final)
    return judge("finally_everyone_was_shown_everything", f"{looked} rows owed to {len(seen.final)} readers", faults())


def finally_all_see_the_same_order(seen: History) -> Verdict:
    """At every place of a room all who see a row see the same row."""

    def faults() -> Iterator[str]:
        for room in seen.rooms():
            truth: dict[int, tuple[str, Line]] = {}
            for reader, rooms in seen.final.items():
                for line in rooms.get(room, ()):
                    other, first = truth.setdefault(line.seq, (reader, line))
                    if (line.kind, line.id, line.author, line.target) != (
                        first.kind,
                        first.id,
                        first.author,
                        first.target,
                    ):
                        yield f"{room} at {line.seq}: {other} sees {first.id}, {reader} sees {line.id}"

    return judge("finally_all_see_the_same_order", f"{len(seen.rooms())} rooms", faults())


def finally_order_is_dense(seen: History) -> Verdict:
    """No place of a room is empty, from the first row that its longest reading has to the last."""

    def faults() -> Iterator[str]:
        for room in seen.rooms():
            for before, line in pairwise(seen.final_of(room)):
                if line.seq != before.seq + 1:
                    yield f"{room}: {before.seq} is followed by {line.seq}"

    return judge("finally_order_is_dense", f"{len(seen.rooms())} rooms", faults())


def finally_authors_order_is_kept(seen: History) -> Verdict:
    """What was acknowledged before the same author's next message was sent is placed before it."""
    acked: dict[str, float] = {}
    for answer in seen.answered:
        if answer.state != "refused":
            acked.setdefault(answer.client_id, answer.at)
    seq_of = {(room, line.text): line.seq for room in seen.rooms() for line in seen.final_of(room) if line.text}
    by_author: dict[tuple[str, str], list[tuple[float, float, int]]] = defaultdict(list)
    for sent in seen.sent:
        if sent.client_id in acked and (sent.room, sent.text) in seq_of:
            by_author[sent.author, sent.room].append((sent.at, acked[sent.client_id], seq_of[sent.room, sent.text]))

    def faults() -> Iterator[str]:
        for (author, room), mine in by_author.items():
            mine.sort()
            answered = sorted((acked_at, seq) for _, acked_at, seq in mine)
            highest, no = 0, 0
            for sent_at, _, seq in mine:
                while no < len(answered) and answered[no][0] < sent_at:
                    highest, no = max(highest, answered[no][1]), no + 1
                if seq < highest:
                    yield f"{author} in {room}: {seq} was sent after {highest} had been acknowledged"

    return judge("finally_authors_order_is_kept", f"{sum(map(len, by_author.values()))} messages", faults())


def always_signed_in(seen: History) -> Verdict:
    """Nobody's session ended."""
    faults = (f"{link.reader} at {link.at:.2f} s: {link.reason}" for link in seen.linked if link.what == "ended")
    return judge("always_signed_in", f"{len({link.reader for link in seen.linked})} people", faults)


def always_answered(seen: History) -> Verdict:
    """Every message had an answer, and none was a refusal."""
    last = seen.last_answers()

    def faults() -> Iterator[str]:
        for sent in seen.sent:
            answer = last.get(sent.client_id)
            if answer is None or answer.state == "refused":
                yield f"{sent.text!r} of {sent.author}: {answer.code if answer else 'no answer'}"

    return judge("always_answered", f"{len(seen.sent)} messages", faults())


def always_undisturbed(seen: History, readers: Collection[str], since: float) -> Verdict:
    """These readers' lines were never down."""
    faults = (
        f"{link.reader} lost {link.site} at {link.at:.2f} s: {link.reason}"
        for link in seen.linked
        if link.what == "down" and link.reader in readers and link.at >= since
    )
    return judge("always_undisturbed", f"{len(readers)} clients of other sites", faults)


def eventually_back(seen: History, readers: Collection[str], since: float, within_s: float) -> Verdict:
    """Each of these readers is up again, with everything missed, `within_s` after `since`."""
    took = back_times(seen, readers, since)

    def faults() -> Iterator[str]:
        for reader in sorted(readers):
            if reader not in took:
                yield f"{reader} never came back"
            elif took[reader] > within_s:
                yield f"{reader} came back after {took[reader]:.2f} s"

    slowest = max(took.values(), default=0.0)
    return judge(
        "eventually_back", f"{len(readers)} clients, slowest {slowest:.2f} s, {within_s:g} s allowed", faults()
    )


def eventually_shown(
    seen: History,
    where: str,
    rooms: Collection[str],
    sent_between: tuple[float, float],
    within_s: float,
    counted_from: float = 0.0,
) -> Verdict:
    """Each message sent in these rooms in this time was on the screen of all who read it back `within_s` later.

    The time counts from its sending, or from `counted_from` if that is later.  `where` says which rooms these are.
    """
    sent = {
        one.text: max(one.at, counted_from)
        for one in seen.sent
        if one.room in rooms and sent_between[0] <= one.at <= sent_between[1]
    }
    when = _first_shown(seen)
    owed = [
        (reader, line.text)
        for reader, read in seen.final.items()
        for room, lines in read.items()
        if room in rooms
        for line in lines
        if line.text is not None and line.text in sent
    ]
    late = {key: when.get(key, float("inf")) - sent[key[1]] for key in owed}

    def faults() -> Iterator[str]:
        for (reader, text), took in late.items():
            if took > within_s:
                yield f"{reader} saw {text!r} {'never' if took == float('inf') else f'after {took:.2f} s'}"

    slowest = max(late.values(), default=0.0)
    looked_at = f"{len(owed)} showings of {len(sent)} messages, slowest {slowest:.2f} s, {within_s:g} s allowed"
    return judge(f"eventually_shown_{where}", looked_at, faults())


def finally_redacted_is_gone(seen: History, redacted: Collection[str]) -> Verdict:
    """These entries have no text anywhere any more."""

    def faults() -> Iterator[str]:
        for reader, rooms in seen.final.items():
            for room, lines in rooms.items():
                yield from (f"{reader} reads {l.id} in {room}" for l in lines if l.id in redacted and l.text)  # noqa: E741

    return judge("finally_redacted_is_gone", f"{len(redacted)} redacted entries", faults())


def finally_removed_sees_nothing_more(seen: History, removed: dict[tuple[str, str], int]) -> Verdict:
    """Who was removed from a room (at a seq) was shown and reads back nothing placed later."""

    def faults() -> Iterator[str]:
        for (reader, room), seq in removed.items():
            lines = [shown.line for shown in seen.shown if (shown.reader, shown.room) == (reader, room)]
            for line in (*lines, *seen.final.get(reader, {}).get(room, ())):
                if line.seq > seq and line.kind == "entry":
                    yield f"{reader} sees {line.seq} of {room}, removed at {seq}"

    return judge("finally_removed_sees_nothing_more", f"{len(removed)} removals", faults())


def standard_laws(seen: History) -> list[Verdict]:
    """The laws that hold whatever was broken."""
    return [
        finally_no_acked_message_is_lost(seen),
        finally_no_message_stands_twice(seen),
        finally_refused_is_nowhere(seen),
        always_answers_are_true(seen),
        always_rows_come_once_and_in_order(seen),
        finally_everyone_was_shown_everything(seen),
        finally_all_see_the_same_order(seen),
        finally_order_is_dense(seen),
        finally_authors_order_is_kept(seen),
        always_signed_in(seen),
    ]


def back_times(seen: History, readers: Collection[str], since: float) -> dict[str, float]:
    """reader -> seconds from `since` to its last `up` that ends an outage; 0 for those who were never down."""
    took: dict[str, float] = {}
    by_reader: dict[str, list[Linked]] = defaultdict(list)
    for link in seen.linked:
        if link.reader in readers:
            by_reader[link.reader].append(link)
    for reader, links in by_reader.items():
        after = [link for link in links if link.at >= since]
        if not any(link.what == "down" for link in after):
            took[reader] = 0.0
        for before, link in pairwise(after):
            if before.what == "down" and link.what == "up":
                took[reader] = max(took.get(reader, 0.0), link.at - since)
        if after and after[-1].what != "up":
            took.pop(reader, None)
    return took


def _first_shown(seen: History) -> dict[tuple[str, str], float]:
    """(reader, text) -> when that text was first on the reader's screen."""
    when: dict[tuple[str, str], float] = {}
    for shown in seen.shown:
        if shown.line.text is not None:
            when.setdefault((shown.reader, shown.line.text), shown.at)
    for filled in seen.filled:
        if filled.text is not None:
            when.setdefault((filled.reader, filled.text), filled.at)
    return when


def _live_lines(seen: History) -> dict[tuple[str, str], dict[int, Line]]:
    """(reader, room) -> seq -> the row as that reader's screen has it in the end."""
    texts: dict[tuple[str, str], tuple[str | None, str]] = {}
    for filled in seen.filled:
        texts[filled.reader, filled.id] = filled.text, filled.state
    live: dict[tuple[str, str], dict[int, Line]] = defaultdict(dict)
    gone: set[tuple[str, str]] = set()
    for shown in seen.shown:
        line = shown.line
        if line.id is not None and (shown.reader, line.id) in texts:
            text, state = texts[shown.reader, line.id]
            line = msgspec.structs.replace(line, text=text, state=state)
        if line.kind == "redaction" and line.target is not None:
            gone.add((shown.reader, line.target))
        live[shown.reader, shown.room][line.seq] = line
    for (reader, _), lines in live.items():
        for seq, line in lines.items():
            if line.id is not None and (reader, line.id) in gone:
                lines[seq] = msgspec.structs.replace(line, text=None, state="erased")
    return live


def _differs(want: Line | None, got: Line | None) -> str | None:
    if want is None:
        return f"shown, but not read back: {got}"
    if got is None:
        return f"never shown: {want.kind} {want.id}"
    if (want.kind, want.id, want.target) != (got.kind, got.id, got.target):
        return f"shown as {got.kind} {got.id}, read back as {want.kind} {want.id}"
    if want.text != got.text:
        return f"text shown {got.text!r} ({got.state}), read back {want.text!r} ({want.state})"
    return None
