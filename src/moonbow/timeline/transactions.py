"""The write path: each public function is one transaction over a `Tx`, the same for every store.

Laws (tests/timeline/test_laws.py holds them under crashes, cuts, loss and reordering):
every stream is 1, 2, 3 … without holes; a copy is a prefix of its home; an acknowledged post is placed exactly once or
refused with its text still at its author's home; one (author, client_id) names one entry for ever; whoever wrote a
placed entry was a member at its seq; what crosses a border does so in the order of its outbox, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.base.ids import base32, home, inbox_of, new_id

from .model import (
    Answer,
    AnyEffect,
    Applied,
    ChangeMember,
    ErasePerson,
    Fresh,
    Known,
    Notice,
    PlaceEntry,
    Post,
    RedactEntry,
    Result,
    Row,
    Stream,
)
from .policy import is_direct, is_member, pair_of
from .ports import Reads, Tx


def post(tx: Tx, wanted: Post) -> Answer:
    """Place a post (room homed here) or keep it and send its request (room homed elsewhere).

    `Refused` with `client_id_reused` when the id was used for something else; every other refusal is an `Answer`
    and is remembered, so that a replay gives it again.
    """
    if tx.is_gone(wanted.author):
        return Answer("refused", code="person_erased")
    mark = tx.mark(wanted.author, wanted.room.encode() + b"\0" + wanted.body)
    if (known := tx.post(wanted.author, wanted.client_id)) is not None:
        return _replay(tx, wanted, mark, known)
    here = home(wanted.room) == tx.region
    room = tx.stream(wanted.room)
    if not _may_post(tx, room, wanted, here=here):
        entry = new_id("ent", tx.region)
        tx.add_post(wanted.author, wanted.client_id, mark, entry, wanted.room, "refused", None, "not_member", None)
        return Answer("refused", code="not_member")
    entry = new_id("ent", tx.region)
    if here and room is not None:
        row = _append(tx, room, "entry", entry, wanted.author, room.ident if wanted.card else None, body=wanted.body)
        tx.add_post(wanted.author, wanted.client_id, mark, entry, wanted.room, "placed", row.seq, None, wanted.body)
        return Answer("placed", entry, row.seq)
    tx.add_post(wanted.author, wanted.client_id, mark, entry, wanted.room, "kept", None, None, wanted.body)
    _append(tx, _inbox(tx, wanted.author), "kept", entry, wanted.author, wanted.room)
    tx.enqueue(home(wanted.room), wanted.room, PlaceEntry(entry, wanted.author, wanted.card))
    return Answer("kept", entry)


def _replay(tx: Tx, wanted: Post, mark: bytes, known: Known) -> Answer:
    if known.mark and known.mark != mark:  # an erased text leaves no mark
        raise Refused(
            "client_id_reused", "this client_id was used for another message", status=409, place="$.client_id"
        )
    if known.state == "refused":
        return Answer("refused", None if known.early else known.entry, code=known.code)
    if known.state == "placed" and home(wanted.room) == tx.region:
        row, room = tx.find_entry(known.entry), tx.stream(wanted.room)
        if row is not None and room is not None:
            tx.fresh.append(_fresh(tx, room, row, tx.bodies([known.entry])[known.entry].body))
    return Answer("placed" if known.state == "placed" else "kept", known.entry, known.seq)


def _may_post(tx: Tx, room: Stream | None, wanted: Post, *, here: bool) -> bool:
    """Home decides; from afar only somebody whom both the copy and the inbox call a stranger is refused early."""
    member = room is not None and is_member(tx.spans(room, wanted.author))
    return member if here or member else tx.seat(wanted.author, wanted.room)[1]


def create_room(tx: Tx, ident: str, creator: str, people: tuple[str, ...]) -> str:
    """A new room homed here, with its creator and `people` as members; a pair always gets the direct room it has."""
    pair = pair_of(creator, people[0]) if is_direct(ident) else None
    if pair is not None and (known := tx.direct_room(pair)) is not None:
        return known
    if tx.stream(ident) is not None:  # run again, after a commit of which nothing was heard
        return ident
    room = tx.create_stream(ident, creator, pair)
    for person in (creator, *(p for p in people if p != creator)):
        _join(tx, room, creator, person)
    return ident


def change_member(tx: Tx, room: str, actor: str, person: str, join: bool) -> Result:
    """Let a person join or leave; from afar the wish goes through the outbox and the room's home decides."""
    effect = ChangeMember(actor, person, join)
    if home(room) == tx.region:
        return _apply(tx, room, effect)
    tx.enqueue(home(room), room, effect)
    return Result("sent")


def redact(tx: Tx, actor: str, room: str, entry: str) -> Result:
    """Erase an entry: its body at once where it rests here, its place by a row of the order."""
    known = tx.bodies([entry]).get(entry)
    if home(entry) == tx.region and (known is None or known.room != room):
        return Result("noop", code="entry_unknown")
    if known is not None and known.author == actor:
        tx.erase_body(entry)
    effect = RedactEntry(entry, actor)
    if home(room) == tx.region:
        return _apply(tx, room, effect)
    tx.enqueue(home(room), room, effect)
    return Result("sent")


def erase_person(tx: Tx, person: str) -> int:
    """Erase everything a person of this region wrote; returns in how many rooms a row says so.  Safe to repeat."""
    again = tx.is_gone(person)
    tx.set_gone(person)
    rooms = tx.erase_author(person)
    for room in () if again else rooms:
        if home(room) == tx.region:
            _apply(tx, room, ErasePerson(person))
        else:
            tx.enqueue(home(room), room, ErasePerson(person))
    return len(rooms)


def recovery_notes(region: str) -> str:
    """Under this inbox, which is nobody's, it is noted whose copies are to be heard after a restore, and who was."""
    return f"inb_{region}_{base32(0)}"


def begin_epoch(tx: Tx, epoch: int, others: Sequence[str]) -> int:
    """For a region restored from a backup: its effects are numbered anew, others' are taken up where they stand, and
    before it serves it must take back what the copies of `others` hold of its rooms; the epoch that begins."""
    begun = max(epoch, tx.epoch() + 1)
    for waiting in tx.begin_epoch(begun):
        tx.enqueue(waiting.dest, waiting.stream, waiting.effect)
    for number, other in enumerate(others, 1):
        tx.set_applied(tx.region, begun, recovery_notes(tx.region), number, Result("noop", code=other))
    return begun


def unheard(tx: Reads) -> list[str]:
    """The regions from whose copies a restored region has not yet taken back what it lost."""
    epoch, under = tx.epoch(), recovery_notes(tx.region)
    last = tx.applied_last(tx.region, epoch, under) if epoch > 1 else 0
    notes = [tx.applied(tx.region, epoch, under, number) for number in range(1, last + 1)]
    done = {note.code for note in notes if note is not None and note.state == "done"}
    return [note.code for note in notes if note is not None and note.code and note.code not in done]


def heard(tx: Tx, region: str) -> None:
    """All that a region's copies hold has been taken back."""
    if region in unheard(tx):
        epoch, under = tx.epoch(), recovery_notes(tx.region)
        last = tx.applied_last(tx.region, epoch, under)
        tx.set_applied(tx.region, epoch, under, last + 1, Result("done", code=region))


def take_back(tx: Tx, rows: list[Row]) -> int:
    """Extend rooms homed here by what another region's copies still hold of them; returns how many rows were new."""
    added = 0
    for row in rows:
        stream = tx.stream(row.stream)
        if stream is None and row.seq == 1:
            stream = _made_again(tx, row, rows)
        if home(row.stream) != tx.region or stream is None or row.seq != stream.head + 1:
            continue
        _index(tx, stream, row, _own_body(tx, row))
        added += 1
    return added


def _made_again(tx: Tx, first: Row, rows: list[Row]) -> Stream | None:
    """A room that was made after the backup; a direct one needs both its people."""
    if not is_direct(first.stream):
        return tx.create_stream(first.stream, first.author or "", None)
    people = [row.target for row in rows if row.stream == first.stream and row.kind == "join" and row.target]
    pair = pair_of(*people) if len(people) == 2 else None
    return tx.create_stream(first.stream, first.author or "", pair) if pair and not tx.direct_room(pair) else None


def forget_author(tx: Tx, person: str) -> None:
    """Erase what somebody wrote without a word of it in any room: `erase_person` follows when the region serves."""
    tx.erase_author(person)


def mark_read(tx: Tx, person: str, room: str, seq: int) -> int:
    """Move a person's read cursor forward; returns where it stands."""
    stream = tx.stream(room)
    if stream is None or not is_member(tx.spans(stream, person)):
        raise Refused("room_unknown", "there is no such room among yours", status=404, place="$.room")
    before, _ = tx.seat(person, room)
    after = max(before, min(seq, stream.head))
    if after != before:
        tx.set_seat(person, room, read=after)
    return after


def apply(tx: Tx, source: str, epoch: int, stream: str, sent: list[tuple[int, AnyEffect]]) -> list[Applied]:
    """Apply effects sent by region `source`, each once, in their order; one answer each.

    Results are kept until the sender, whose lowest unsettled number is the first one sent, has settled them.
    A number that is not the next one is answered with the number expected.
    """
    last = tx.applied_last(source, epoch, stream)
    if sent and last == 0 and tx.epoch() > 1:  # what was settled before this region was lost is not sent again
        last = sent[0][0] - 1
    if sent:
        tx.trim_applied(source, epoch, stream, min(sent[0][0], last))
    answers = []
    for out_no, effect in sent:
        if out_no > last + 1:
            answers.append(Applied(out_no, None, last + 1))
            break
        if out_no <= last:
            answers.append(Applied(out_no, tx.applied(source, epoch, stream, out_no) or Result("done")))
            continue
        genuine = _is_from(effect, stream, source, tx.region)
        result = _apply(tx, stream, effect) if genuine else Result("noop", code="forged")
        tx.set_applied(source, epoch, stream, out_no, result)
        answers.append(Applied(out_no, result))
        last = out_no
    return answers


def settle_all(tx: Tx, dest: str, stream: str, answers: list[Applied]) -> None:
    """Take the fates of a shipped batch."""
    for answer in answers:
        if answer.result is not None:
            settle(tx, dest, stream, answer.out_no, answer.result)


def settle(tx: Tx, dest: str, stream: str, out_no: int, result: Result) -> None:
    """Take the fate of a sent effect: its outbox row goes and the author's inbox learns of it, only once."""
    effect = tx.dequeue(dest, stream, out_no)
    if isinstance(effect, PlaceEntry):
        if result.state != "placed":
            result = Result("refused", code=result.code or "refused")
        tx.set_fate(effect.entry, result.state, result.seq, result.code)
        detail = str(result.seq) if result.state == "placed" else result.code
        _append(tx, _inbox(tx, effect.author), result.state, effect.entry, effect.author, stream, detail=detail)


def copy_rows(tx: Tx, rows: list[Row]) -> int:
    """Extend the copies of rooms homed elsewhere, only ever at head + 1; returns how many rows were new."""
    added = 0
    for row in rows:
        if home(row.stream) == tx.region:
            continue
        stream = tx.stream(row.stream)
        if stream is None and row.seq == 1:
            stream = tx.create_stream(row.stream, row.author or "", None)
        if stream is None or row.seq != stream.head + 1:
            continue
        if row.kind == "entry" and row.entry is not None and tx.find_entry(row.entry) is not None:
            continue  # an entry has one place: this home says otherwise
        _index(tx, stream, row, _own_body(tx, row))
        added += 1
    return added


# -- effects ---------------------------------------------------------------------------------------------------------


def _is_from(effect: AnyEffect, stream: str, source: str, region: str) -> bool:
    """Whether `source` may send this effect here: a region speaks only for its own people, entries and rooms."""
    if home(stream) != region:
        return False
    match effect:
        case PlaceEntry(entry, author):
            return home(entry) == source == home(author)
        case RedactEntry(_, actor) | ChangeMember(actor, _, _):
            return home(actor) == source
        case ErasePerson(person):
            return home(person) == source
        case Notice(room):
            return home(room) == source and stream.startswith("inb_")


def _apply(tx: Tx, ident: str, effect: AnyEffect) -> Result:
    if isinstance(effect, Notice):
        return _notice(tx, ident, effect)
    room = tx.stream(ident)
    if room is None:
        return Result("refused", code="room_unknown")
    match effect:
        case PlaceEntry(entry, author, card):
            if (known := tx.find_entry(entry)) is not None:  # sent again by a region restored from a backup
                own = known.stream == ident and known.author == author
                return Result("placed", known.seq) if own else Result("noop", code="forged")
            if not is_member(tx.spans(room, author)):
                return Result("refused", code="not_member")
            return Result("placed", _append(tx, room, "entry", entry, author, ident if card else None).seq)
        case RedactEntry(entry, actor):
            found = tx.find_entry(entry)
            if found is None or found.stream != ident or found.gone or actor not in (found.author, room.creator):
                return Result("noop")
            _append(tx, room, "redaction", None, actor, entry)
        case ErasePerson(person):
            _append(tx, room, "erasure", None, person, person)
        case ChangeMember(actor, person, join):
            return _change_member(tx, room, actor, person, join)
    return Result("done")


def _notice(tx: Tx, ident: str, notice: Notice) -> Result:
    person = "usr" + ident[3:]
    _append(tx, _inbox(tx, person), "added" if notice.added else "removed", None, None, notice.room)
    tx.set_seat(person, notice.room, invited=notice.added)
    return Result("done")


def _change_member(tx: Tx, room: Stream, actor: str, person: str, join: bool) -> Result:
    if is_direct(room.ident):
        return Result("refused", code="direct_room_is_fixed")
    if is_member(tx.spans(room, person)) == join:
        return Result("noop")
    if actor != person and not is_member(tx.spans(room, actor)):
        return Result("refused", code="not_member")
    if join and actor == person:
        return Result("refused", code="not_invited")
    if not join and actor not in (person, room.creator):
        return Result("refused", code="not_creator")
    if join and len(tx.members(room)) >= limits.MEMBERS_MAX:
        return Result("refused", code="room_full")
    if join:
        _join(tx, room, actor, person)
    else:
        _append(tx, room, "leave", None, actor, person)
        _tell(tx, person, Notice(room.ident, added=False))
    return Result("done")


def _join(tx: Tx, room: Stream, actor: str, person: str) -> None:
    _append(tx, room, "join", None, actor, person)
    _tell(tx, person, Notice(room.ident, added=True))


def _tell(tx: Tx, person: str, notice: Notice) -> None:
    inbox = inbox_of(person)
    if home(person) == tx.region:
        _notice(tx, inbox, notice)
    else:
        tx.enqueue(home(person), inbox, notice)


# -- rows ------------------------------------------------------------------------------------------------------------


def _inbox(tx: Tx, person: str) -> Stream:
    ident = inbox_of(person)
    return tx.stream(ident) or tx.create_stream(ident, person, None)


def _own_body(tx: Tx, row: Row) -> bytes | None:
    """The text of an own entry.  One that was lost with everything since a backup is as good as erased."""
    if row.kind != "entry" or row.entry is None or row.author is None or home(row.entry) != tx.region:
        return None
    stored = tx.bodies([row.entry]).get(row.entry)
    if stored is None:
        digest = hashlib.blake2b(row.entry.encode(), digest_size=16).hexdigest()
        client_id = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))
        tx.add_post(row.author, client_id, b"", row.entry, row.stream, "placed", row.seq, None, None)
    return stored.body if stored is not None else None


def _append(
    tx: Tx, stream: Stream, kind: str, entry: str | None, author: str | None, target: str | None,
    *, detail: str | None = None, body: bytes | None = None,
) -> Row:  # fmt: skip
    no = stream.no + (kind == "entry" and target is None)
    row = Row(stream.ident, stream.head + 1, kind, entry, author, target, no, tx.now_ms, detail=detail)
    _index(tx, stream, row, body)
    return row


def _index(tx: Tx, stream: Stream, row: Row, body: bytes | None) -> None:
    """Add a row and everything that follows from it; the order of these steps is the same at home and in a copy."""
    stream.head, stream.no, stream.changed = row.seq, row.no, True
    if row.kind == "join" and row.target is not None:
        stream.add_region(home(row.target))
    tx.add_row(stream, row)
    if row.kind == "entry" and row.target is not None:
        stream.card = row.entry
    elif row.kind == "join" and row.target is not None:
        tx.open_span(stream, row.target, row.seq)
        if home(row.target) == tx.region:
            read, _ = tx.seat(row.target, stream.ident)
            tx.set_seat(row.target, stream.ident, read=max(read, row.seq))
    elif row.kind == "leave" and row.target is not None:
        tx.close_span(stream, row.target, row.seq)
    elif row.kind in ("redaction", "erasure"):
        _forget(tx, stream, row)
    tx.fresh.append(_fresh(tx, stream, row, body))


def _forget(tx: Tx, stream: Stream, row: Row) -> None:
    target = row.target or ""
    found = tx.find_entry(target) if row.kind == "redaction" else None
    gone = tx.entries_of(stream, target) if row.kind == "erasure" else [found] if found else []
    for entry in gone:
        tx.mark_gone(stream, entry.seq)
        if entry.entry is not None and home(entry.entry) == tx.region:
            tx.erase_body(entry.entry)


def _fresh(tx: Tx, stream: Stream, row: Row, body: bytes | None) -> Fresh:
    others = tuple(region for region in stream.regions if region != tx.region)
    if not others:
        return Fresh(row, body)
    row_regions = others if home(stream.ident) == tx.region else ()
    if body is None:
        return Fresh(row, None, row_regions)
    return Fresh(row, body, row_regions, tuple(r for r in others if tx.region_sees(stream, r, row.seq)))
