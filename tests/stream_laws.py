"""The laws of streams as code, over a simulated world.  (c) = checked all the time, (q) = once everything is quiet.

DENSE (c) every stream is 1, 2, 3 …, every copy a prefix of its home.  ONCE (q) an acknowledged post is placed exactly
once or refused with its text kept; every `kept` is followed by one fate.  ANSWER (c) every answer to one client id names
the same entry.  MEMBER (c) who wrote a placed entry was a member at its seq.  AUTHOR (q) what was acknowledged before the
next was sent is placed before it.  SHOWN (c) a client is shown each row once, in order, without a hole, as home has it.
CONVERGE (q) every client shows exactly what its person may see.  RESIDENCY (c) no store holds another region's text.
BORDER (c) a text goes only to a region with a person who may see that very row.  ERASED (c, q) no erased text is served
later than its time, nor rests anywhere.  UNREAD (q) the cheap count equals a recount.  DRAIN (q) every outbox is empty.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any
from unittest import mock

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.federation.model import BodiesAnswer, unpack, unpack_live
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Answer, Fresh, Post, Row, text_body
from stream_simulation import REGIONS, Client, Net, Process, RegionStore, VirtualLoop


class Said:
    """One post of a person, with what was answered to it."""

    def __init__(self, author: str, room: str, client_id: str, text: str, sent: float) -> None:
        self.author, self.room, self.client_id, self.text, self.sent = author, room, client_id, text, sent
        self.acked: float | None = None
        self.entry: str | None = None
        self.refused = False


class World(Net):
    """People, devices, a random schedule, and the laws."""

    def __init__(self, loop: VirtualLoop, seed: int, steps: int = 150) -> None:
        super().__init__(loop, seed)
        self.steps = steps
        self.people = [f"usr_{region}_{number}" for region in REGIONS for number in (1, 2)]
        self.rooms = {"rom_a_1": "usr_a_1", "rom_b_1": "usr_b_1"}
        self.said: list[Said] = []
        self.erased_at: dict[str, float] = {}
        self.gone_at: dict[tuple[str, str], float] = {}
        self.gone: set[str] = set()
        self.clients: list[Client] = []

    # -- what really happened --------------------------------------------------------------------------------------

    def truth(self, room: str) -> RegionStore:
        return self.stores[home(room)]

    def may_see(self, person: str, row: Row) -> bool:
        reads = self.truth(row.stream).reads
        stream = reads.stream(row.stream)
        assert stream is not None
        return policy.sees(reads, stream, person, reads.spans(stream, person), row)

    def home_rows(self, room: str) -> list[Row]:
        reads = self.truth(room).reads
        stream = reads.stream(room)
        return reads.rows_after(stream, 0, 10_000) if stream is not None else []

    def committed(self, store: RegionStore, fresh: list[Fresh]) -> None:
        for (entry,) in store.connection.execute("SELECT entry FROM post WHERE body IS NULL AND NOT early"):
            self.erased_at.setdefault(entry, self.loop.time())
        for f in fresh:
            if f.row.kind in ("redaction", "erasure"):
                stream = store.reads.stream(f.row.stream)
                assert stream is not None
                of = [f.row.target] if f.row.kind == "redaction" else [
                    row.entry for row in store.reads.entries_of(stream, f.row.target or "")
                ]  # fmt: skip
                for entry in of:
                    self.gone_at.setdefault((store.region, str(entry)), self.loop.time())
            if f.row.kind == "entry" and home(f.row.stream) == store.region and f.row.author:
                stream = store.reads.stream(f.row.stream)
                assert stream is not None
                spans = store.reads.spans(stream, f.row.author)
                inside = any(s.joined < f.row.seq and (s.left is None or f.row.seq < s.left) for s in spans)
                self.law("MEMBER", inside, f.row)

    def viewers(self, entry: str) -> set[str]:
        for room in self.rooms:
            row = self.truth(room).reads.find_entry(entry)
            if row is not None and row.stream == room:
                return {home(person) for person in self.people if self.may_see(person, row)}
        return set()

    def crossing(self, source: str, dest: str, payload: bytes) -> None:
        for body in unpack_live(payload).bodies:
            self.law("BORDER", dest in self.viewers(body.entry), body.entry, "pushed to", dest)
        self.law("BORDER", all(row.body is None for row in unpack_live(payload).rows), "a body among rows")

    def crossing_bodies(self, owner: str, caller: str, payload: bytes) -> None:
        for answer in unpack(payload, BodiesAnswer).answers:
            self.law("BORDER", answer.body is None or caller in self.viewers(answer.entry), answer.entry, "to", caller)

    def check_shown(self, client: Client, frame: dict[str, Any]) -> None:
        stream, seq = frame["stream"], frame["seq"]
        cursor = client.cursors.get(stream, 0)
        self.law("SHOWN", seq > cursor, client.name, "twice or turned", frame, "after", cursor)
        if stream.startswith("inb_"):
            self.law("SHOWN", seq == cursor + 1, client.name, "hole before", frame)
            return
        rows = self.home_rows(stream)
        self.law("SHOWN", seq <= len(rows), client.name, "not at home", frame)
        row = rows[seq - 1]
        same = (row.kind, row.entry, row.author, row.target) == tuple(
            frame[k] for k in ("kind", "id", "author", "target")
        )
        self.law("SHOWN", same, client.name, "not so at home", frame)
        for skipped in rows[cursor : seq - 1]:
            self.law("SHOWN", not self.may_see(client.person, skipped), client.name, "hole", skipped, "before", seq)

    def check_served(self, region: str, entry: str) -> None:
        at = self.erased_at.get(entry)
        late = at is not None and self.loop.time() > at + limits.BODY_TTL_S + 1.0
        self.law("ERASED", not late, entry, "served", self.loop.time(), "erased", at)

    def check_sent(self, region: str, frame: dict[str, Any]) -> None:
        """What leaves a gateway: no text of an entry whose redaction the region's own copy has held for a second."""
        if frame.get("body") is not None:
            at = self.gone_at.get((region, frame["id"]), self.loop.time())
            self.law("ERASED", self.loop.time() <= at + 1.0, frame["id"], "sent after its redaction", at)

    # -- the story -------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        for name in self.names:
            self.start(name)
        for room, creator in self.rooms.items():
            people = tuple(p for p in self.people if p != creator and self.rng.random() < 0.8)
            await self.up(home(room))[0].store.write(transactions.create_room, room, creator, people)
        for person in self.people:
            for device in range(1 + (person[-1] == "1")):
                self.clients.append(Client(self, person, f"{person}/{device}", list(self.rooms)))
        if self.rng.random() < 0.8:
            await asyncio.sleep(5)
        for step in range(self.steps):
            await asyncio.sleep(
                self.rng.choice((0.001, 0.02, 0.3)) if self.rng.random() > 0.03 else self.rng.uniform(20, 90)
            )
            self.step()
            if step % 25 == 24:
                self.check_stores()
            self.check_alive()
        await self.settle()
        self.check_end()

    def step(self) -> None:
        rng, roll = self.rng, self.rng.random()
        client = rng.choice(self.clients)
        if roll < 0.35:
            self.say(client)
        elif roll < 0.50 and self.said:
            self.submit(rng.choice(self.said[-6:] if rng.random() < 0.6 else self.said), other=rng.random() < 0.1)
        elif roll < 0.65:
            if client.person not in self.gone:
                client.connect()
        elif roll < 0.72:
            self.read(client)
        elif roll < 0.80:
            self.change_member()
        elif roll < 0.88:
            self.redact(client)
        elif roll < 0.885:
            self.erase(client.person)
        else:
            self.fault()

    def say(self, client: Client) -> None:
        number = len(self.said)
        room = self.rng.choice(list(self.rooms))
        text = f"text@{home(client.person)}#{number}"
        said = Said(client.person, room, f"00000000-0000-4000-8000-{number:012d}", text, self.loop.time())
        self.said.append(said)
        self.submit(said)

    def submit(self, said: Said, *, other: bool = False) -> None:
        doors = self.up(home(said.author))
        if not doors or (other and said.entry is None):
            return
        text = "other" if other else said.text
        post = Post(said.author, said.room, said.client_id, text_body(text))

        def done(answer: Answer | None, error: BaseException | None) -> None:
            if isinstance(error, Refused):
                self.law("ANSWER", other, said.client_id, "called reused")
            elif answer is not None:
                self.answered(said, answer, other)
            else:
                self.law("ANSWER", isinstance(error, Unavailable), repr(error))

        self.rng.choice(doors).store.submit(transactions.post, (post,), done)

    def answered(self, said: Said, answer: Answer, other: bool) -> None:
        if answer.code == "person_erased":
            return
        if other:  # an erased text leaves nothing to compare with
            self.law("ANSWER", answer.entry in self.erased_at, said.client_id, "other text was taken", answer)
        if answer.state == "refused" and answer.entry is None:
            self.law("ANSWER", said.entry is None, "refused after", said.entry)
            said.refused = True
            return
        self.law("ANSWER", said.entry in (None, answer.entry) and not said.refused, said.client_id, said.entry, answer)
        if answer.state == "placed" and answer.seq is not None:
            self.law("ANSWER", self.home_rows(said.room)[answer.seq - 1].entry == answer.entry, answer)
        said.entry = answer.entry
        said.acked = self.loop.time() if said.acked is None else said.acked

    def read(self, client: Client) -> None:
        room = self.rng.choice(list(self.rooms))
        for process in self.up(home(client.person))[:1]:
            process.spawn(_quiet(process.flow.mark_read(client.person, room, client.cursors.get(room, 0))))

    def change_member(self) -> None:
        room = self.rng.choice(list(self.rooms))
        creator = self.rooms[room]
        reads = self.truth(room).reads
        stream = reads.stream(room)
        person = self.rng.choice([p for p in self.people if p != creator])
        if stream is None:
            return
        member = policy.is_member(reads.spans(stream, person))
        actor = creator if not member or self.rng.random() < 0.6 else person
        for process in self.up(home(actor))[:1]:
            process.spawn(_quiet(process.store.write(transactions.change_member, room, actor, person, not member)))

    def redact(self, client: Client) -> None:
        mine = [s for s in self.said if s.author == client.person and s.entry]
        room = self.rng.choice(list(self.rooms))
        seen = [r["id"] for r in client.rows.get(room, ()) if r["kind"] == "entry"]
        choices = [(s.room, s.entry) for s in mine]
        if client.person == self.rooms[room]:
            choices += [(room, entry) for entry in seen]
        doors = self.up(home(client.person))
        if choices and doors:
            room, entry = self.rng.choice(choices)
            process = self.rng.choice(doors)
            process.spawn(self._redact(process, client.person, room, entry))

    async def _redact(self, process: Process, person: str, room: str, entry: str) -> None:
        await _quiet(process.store.write(transactions.redact, person, room, entry))
        stored = self.stores[home(person)].reads.bodies([entry]).get(entry)
        own = stored is not None and stored.author == person
        self.law(
            "ERASED", not own or (stored is not None and stored.body is None), entry, "still rests after its redaction"
        )

    def erase(self, person: str) -> None:
        doors = self.up(home(person))
        if person[-1] == "2" and doors:
            self.gone.add(person)
            self.rng.choice(doors).store.submit(transactions.erase_person, (person,), lambda result, error: None)

    def fault(self) -> None:
        rng, roll = self.rng, self.rng.random()
        name = rng.choice(self.names)
        if roll < 0.35:
            self.crash(name)
        elif roll < 0.45:
            for number in ("1", "2"):
                self.crash(name[:2] + number)
        elif roll < 0.70:
            for other in self.names:
                if rng.random() < 0.6:
                    self.start(other)
        elif roll < 0.85:
            self.cuts.add(frozenset(rng.sample(REGIONS, 2)))
        elif self.cuts:
            self.cuts.discard(rng.choice(sorted(self.cuts, key=sorted)))

    async def settle(self) -> None:
        """The last fault is over; live events are still lost at the seed's rate."""
        self.cuts.clear()
        self.loss = 0.0
        for name in self.names:
            self.start(name)
        await asyncio.sleep(10)
        for said in self.said:
            if said.entry is None and not said.refused and said.author not in self.gone:
                self.submit(said)
        for person in sorted(self.gone):
            self.up(home(person))[0].store.submit(transactions.erase_person, (person,), lambda result, error: None)
        for client in self.clients:
            process = client.process
            if client.person not in self.gone and (process is None or not process.alive):
                client.connect()
        await asyncio.sleep(60)
        self.check_alive()

    # -- checks ----------------------------------------------------------------------------------------------------

    def check_alive(self) -> None:
        for failure in self.failures:
            raise failure or AssertionError("a loop failed")

    def check_stores(self) -> None:
        for store in self.stores.values():
            for ident, head in store.connection.execute("SELECT id, head FROM stream").fetchall():
                stream = store.reads.stream(ident)
                assert stream is not None
                rows = store.reads.rows_after(stream, 0, 10_000)
                no = 0
                for seq, row in enumerate(rows, 1):
                    no += row.kind == "entry" and row.target is None
                    self.law("DENSE", (row.seq, row.no) == (seq, no), store.region, row, "at", seq)
                self.law("DENSE", len(rows) == head, store.region, ident, head)
                if home(ident) != store.region:
                    ours = [(r.seq, r.kind, r.entry, r.author, r.target, r.at) for r in rows]
                    theirs = [(r.seq, r.kind, r.entry, r.author, r.target, r.at) for r in self.home_rows(ident)]
                    self.law("DENSE", ours == theirs[: len(ours)], store.region, "copy of", ident)
            everything = "\n".join(store.connection.iterdump())
            for region in set(REGIONS) - {store.region}:
                self.law("RESIDENCY", f"text@{region}" not in everything, "text of", region, "in", store.region)

    def check_end(self) -> None:
        self.check_stores()
        where: dict[str, Row] = {}
        for room in self.rooms:
            for row in self.home_rows(room):
                if row.kind == "entry" and row.entry:
                    self.law("ONCE", row.entry not in where, "placed twice", row)
                    where[row.entry] = row
        for store in self.stores.values():
            left = store.connection.execute("SELECT * FROM outbox").fetchall()
            self.law("DRAIN", not left, store.region, left)
            self._check_inboxes(store, where)
        self._check_said(where)
        for room in self.rooms:
            self._check_room(room)

    def _check_inboxes(self, store: RegionStore, where: dict[str, Row]) -> None:
        for (ident,) in store.connection.execute("SELECT id FROM stream WHERE id LIKE 'inb%'").fetchall():
            stream = store.reads.stream(ident)
            assert stream is not None
            rows = store.reads.rows_after(stream, 0, 10_000)
            kept = [r.entry for r in rows if r.kind == "kept"]
            fates = [r.entry for r in rows if r.kind in ("placed", "refused")]
            self.law("ONCE", sorted(map(str, kept)) == sorted(map(str, fates)), ident, kept, fates)
            for room in self.rooms:
                seqs = [where[e].seq for e in kept if e in where and where[e].stream == room]
                self.law("AUTHOR", seqs == sorted(seqs), ident, room, seqs)

    def _check_said(self, where: dict[str, Row]) -> None:
        for said in self.said:
            store = self.stores[home(said.author)]
            known = store.reads.post(said.author, said.client_id)
            if said.refused:
                self.law(
                    "ANSWER", known is not None and known.entry not in where, "refused, yet placed", said.client_id
                )
            if said.entry is None:
                continue
            row = where.get(said.entry)
            assert known is not None
            self.law("ONCE", known.state == ("placed" if row else "refused"), said.entry, known, row)
            body = store.reads.bodies([said.entry])[said.entry].body
            self.law("ONCE", body == (None if said.entry in self.erased_at else text_body(said.text)), said.entry, body)
        for one in self.said:
            for two in self.said:
                if (one.author, one.room) != (two.author, two.room) or not one.acked or one.acked >= two.sent:
                    continue
                if one.entry in where and two.entry in where:
                    self.law("AUTHOR", where[one.entry].seq < where[two.entry].seq, one.entry, two.entry)

    def _check_room(self, room: str) -> None:
        rows = self.home_rows(room)
        for person in self.people:
            store = self.stores[home(person)]
            if person not in self.gone and (view := policy.room_view(store.reads, person, room)) is not None:
                beyond = [r for r in rows if r.kind == "entry" and r.author != person and r.seq > view.read]
                want = sum(self.may_see(person, r) for r in beyond) if view.joined else 0
                self.law("UNREAD", view.unread == want, person, room, view.unread, want)
        for client in self.clients:
            if client.person in self.gone or client.process is None:
                continue
            want_rows = [r for r in rows if self.may_see(client.person, r)]
            got = [r["seq"] for r in client.rows.get(room, ())]
            self.law("CONVERGE", got == [r.seq for r in want_rows], client.name, room, got, [r.seq for r in want_rows])
            for row in want_rows:
                if row.kind == "entry" and row.entry:
                    stored = self.stores[home(row.entry)].reads.bodies([row.entry])[row.entry].body
                    text = client.bodies.get(row.entry)
                    same = text == "<erased>" if stored is None else text is not None and text_body(text) == stored
                    self.law("CONVERGE", same, client.name, row.entry, text, stored)


async def _quiet(work: Any) -> None:
    try:
        await work
    except (Refused, Unavailable):
        return


def play(seed: int, steps: int = 150) -> World:
    """Play one schedule to its end; `Broken` names the law that does not hold."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(loop, seed, steps)
    with mock.patch.object(os, "urandom", world.rng.randbytes), mock.patch.object(time, "time_ns", world.time_ns):
        try:
            loop.run_until_complete(world.play())
            return world
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            asyncio.set_event_loop(None)
            loop.close()
            for store in world.stores.values():
                store.connection.close()
