"""The operations A to F: each makes what it needs, runs the load, and gives figures."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from .load import Sample, flood_hall, nothing, pace, pace_hall, saturate, settle
from .meter import Mark, Meter
from .model import Figure, Line, Subject, stamped
from .moonbow_client import WsLine
from .moonbow_subject import PAIRS, PEOPLE, MoonbowSubject

Say = Callable[[str], None]
IDLE = 1_000
IDLE_SETTLE_S = 5.0
ARCHIVE = 10_000
REACH = 0.95  # of the rate wanted: below it a paced cost is not one at that rate
FAR_RATE = 100.0
TRIES = 5


async def messages(subject: Subject, seconds: float, say: Say) -> list[Figure]:
    """A: 50 pairs."""
    pairs = await subject.pairs(PAIRS)
    found = []
    sustained = 0.0
    for window in (1, 8):
        sample = await saturate(subject.meter, pairs, window, seconds)
        found += [_us(f"A.{window}.us", sample), Figure(f"A.{window}.rate", sample.rate(), note=_lost(sample))]
        sustained = max(sustained, sample.rate())
        say(f"A, {window} outstanding: {sample.rate():,.0f}/s, {sample.us():.0f} µs")
    for rate in (200, 2_000):
        if sustained < rate:
            found.append(Figure(f"A.{rate}.us", 0.0, note=f"not reached: {sustained:,.0f}/s at most"))
            continue
        sample = await pace(subject.meter, pairs, rate, seconds)
        reached = sample.rate() / rate
        note = _lost(sample) or (f"only {sample.rate():,.0f}/s were reached" if reached < REACH else "")
        found.append(_us(f"A.{rate}.us", sample, note))
        found += [Figure(f"A.{rate}.p50", sample.percentile(0.5)), Figure(f"A.{rate}.p99", sample.percentile(0.99))]
        say(f"A at {rate}/s: {sample.us():.0f} µs, p50 {sample.percentile(0.5):.1f} ms")
    await _leave([line for pair in pairs for line in (pair.sender, pair.receiver)])
    return found


async def room(subject: Subject, seconds: float, say: Say) -> list[Figure]:
    """B: 300 members."""
    hall = await subject.hall(PEOPLE)
    slow = await pace_hall(subject.meter, hall, 5.0, seconds)
    say(f"B at 5/s: {slow.us():.1f} µs a delivery, p50 {slow.percentile(0.5):.1f} ms")
    fast = await flood_hall(subject.meter, hall, 8, seconds)
    say(f"B, 8 outstanding: {fast.us():.1f} µs a delivery, {fast.rate():,.0f}/s")
    await _leave(hall.members)
    return [
        _us("B.5.us", slow, _lost(slow)),
        Figure("B.5.p50", slow.percentile(0.5)),
        Figure("B.5.p99", slow.percentile(0.99)),
        _us("B.8.us", fast, _lost(fast)),
        Figure("B.8.rate", fast.rate()),
    ]


async def idle(subject: Subject, seconds: float, say: Say) -> list[Figure]:
    """C: connections that do nothing.  Comes first, while nothing else has grown the processes."""
    await _leave(await subject.idle(20))
    await asyncio.sleep(1.0)
    before, mark = subject.meter.memory_kib(), subject.meter.mark()
    lines = await subject.idle(IDLE)
    connecting = subject.meter.since(mark)
    await asyncio.sleep(max(seconds, IDLE_SETTLE_S))
    after = subject.meter.memory_kib()
    parts = {kind: (after[kind] - before[kind]) / IDLE for kind in after}
    await _leave(lines)
    kib, each_ms = sum(parts.values()), connecting.all_s / IDLE * 1e3
    say(f"C: {kib:.1f} KiB a connection, {each_ms:.1f} ms CPU to connect one")
    logging_in = {kind: used / IDLE * 1e3 for kind, used in connecting.by_kind.items()}
    return [Figure("C.kib", kib, parts), Figure("C.login", each_ms, logging_in)]


async def history(subject: Subject, seconds: float, say: Say) -> list[Figure]:
    """D: the newest page of a long room."""
    archive = await subject.archive(ARCHIVE, 4)
    alone = []
    for _ in range(60):
        began = time.perf_counter()
        assert await archive.page(0) >= 49, "a page was not whole"
        alone.append((time.perf_counter() - began) * 1e3)
    pages = short = 0
    until = time.perf_counter() + seconds
    mark = subject.meter.mark()

    async def read(client: int) -> None:
        nonlocal pages, short
        while time.perf_counter() < until:
            whole = await archive.page(client) >= 49
            pages += whole
            short += not whole

    await asyncio.gather(*map(read, range(4)))
    cost = subject.meter.since(mark)
    p50, rate = statistics.median(alone), pages / cost.wall_s
    each = {kind: used / pages * 1e3 for kind, used in cost.by_kind.items()}
    say(f"D: {p50:.1f} ms alone, {rate:.0f} pages/s, {sum(each.values()):.1f} ms CPU a page")
    refused = f"{short} pages were refused or not whole" if short else ""
    note = f"filled at {archive.size / archive.fill_s:,.0f} messages/s" if archive.size else ""
    return [
        Figure("D.alone", p50, note=note),
        Figure("D.rate", rate, note=refused),
        Figure("D.cpu", sum(each.values()), each),
    ]


async def missed(subject: Subject, seconds: float, say: Say) -> list[Figure]:
    """E: catching up."""
    catch_up = await subject.missed(20, 50)
    times, costs = [], []
    for _ in range(TRIES):
        mark = subject.meter.mark()
        times.append(await catch_up.again())
        costs.append(subject.meter.since(mark))
        await asyncio.sleep(0.3)
    total = statistics.median(t for t, _ in times) * 1e3
    signed_on = statistics.median(t for _, t in times) * 1e3
    each = {kind: sum(cost.by_kind[kind] for cost in costs) / TRIES * 1e3 for kind in costs[0].by_kind}
    say(f"E: {total:.0f} ms, {sum(each.values()):.0f} ms CPU")
    return [Figure("E.ms", total), Figure("E.on", signed_on), Figure("E.cpu", sum(each.values()), each)]


class Wire(msgspec.Struct):
    """What the cross-region operation reads of a frame."""

    t: str
    kind: str | None = None
    id: str | None = None
    text: str | None = None


class FarSender:
    """Takes the time from sending a message to its `placed` row; posts are answered in the order of their sending."""

    def __init__(self, line: WsLine, where: bytes) -> None:
        self.line, self.where = line, where
        self.sent_at: list[float] = []
        self.kept: dict[str, float] = {}
        self.placed_ms: list[float] = []
        self._answered = 0
        self._decode = msgspec.json.Decoder(Wire).decode
        line.frame = self._read

    def say(self, where: bytes, text: bytes) -> None:
        self.sent_at.append(time.perf_counter())
        self.line.say(where, text)

    def _read(self, payload: bytes) -> None:
        frame = self._decode(payload)
        if frame.t == "ack" and frame.id is not None:
            at = self.sent_at[self._answered]
            self._answered += 1
            if b'"state":"placed"' in payload:
                self.placed_ms.append((time.perf_counter() - at) * 1e3)
            else:
                self.kept[frame.id] = at
        elif frame.t == "row" and frame.kind == "placed" and frame.id in self.kept:
            self.placed_ms.append((time.perf_counter() - self.kept.pop(frame.id)) * 1e3)


async def far(subject: MoonbowSubject, seconds: float, say: Say) -> list[Figure]:
    """F: from one region to a room homed in another."""
    made = await subject.far_pairs()
    homed_far = [pair for pair in made if pair[2].split(b"_")[1] == subject.far.encode()]
    senders = [FarSender(sender, room) for sender, _, room in homed_far]
    heard: list[float] = []
    seen: set[bytes] = set()

    def hear(stamp: bytes) -> None:
        if stamp not in seen:
            seen.add(stamp)
            heard.append((time.time_ns() - int(stamp)) / 1e6)

    for _, receiver, _ in homed_far:
        receiver.heard = hear
    sent = 0

    def arrived() -> bool:
        return len(heard) >= sent and sum(len(sender.placed_ms) for sender in senders) >= sent

    for measured in (1.0, seconds):
        heard.clear()
        for sender in senders:
            sender.placed_ms.clear()
        mark = subject.meter.mark()
        sent = await _say_far(senders, measured)
        await settle(arrived)
    cost = subject.meter.since(mark)
    placed = [took for sender in senders for took in sender.placed_ms]
    far_sample, near_sample = Sample(len(heard), cost, heard, sent - len(heard)), Sample(len(placed), cost, placed)
    await _leave([line for sender, receiver, _ in made for line in (sender, receiver)])
    say(f"F: {far_sample.us():.0f} µs, delivered p50 {far_sample.percentile(0.5):.1f} ms")
    return [
        Figure("F.placed.p50", near_sample.percentile(0.5)),
        Figure("F.placed.p99", near_sample.percentile(0.99)),
        Figure("F.heard.p50", far_sample.percentile(0.5)),
        Figure("F.heard.p99", far_sample.percentile(0.99)),
        _us("F.us", far_sample, _lost(far_sample)),
    ]


async def _say_far(senders: Sequence[FarSender], seconds: float) -> int:
    began, sent = time.perf_counter(), 0
    while sent < FAR_RATE * seconds:
        wait = began + sent / FAR_RATE - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        sender = senders[sent % len(senders)]
        sender.say(sender.where, stamped())
        sent += 1
    return sent


async def background(meter: Meter, seconds: float) -> dict[str, float]:
    """What the system uses while nobody does anything: part of a core, by kind."""
    mark: Mark = meter.mark()
    await asyncio.sleep(seconds)
    cost = meter.since(mark)
    return {kind: used / cost.wall_s for kind, used in cost.by_kind.items()}


def _us(key: str, sample: Sample, note: str = "") -> Figure:
    return Figure(key, sample.us(), sample.parts(), note, sample.rate())


def _lost(sample: Sample) -> str:
    return f"{sample.lost} did not arrive in time" if sample.lost else ""


async def _leave(lines: Sequence[Line]) -> None:
    for line in lines:
        line.acked = line.heard = nothing
        line.close()
    await asyncio.sleep(1.0)


async def measure(subject: Subject, only: set[str], seconds: float, say: Say) -> list[Figure]:
    """All operations in `only`; one that fails is said, and the others go on."""
    found: list[Figure] = []
    for letter, operation in OPERATIONS.items():
        if letter in only:
            subject.meter.refresh()
            try:
                found += await operation(subject, seconds, say)
            except (OSError, RuntimeError, TimeoutError, AssertionError) as error:
                say(f"{letter} failed: {error!r}")
    if "F" in only and isinstance(subject, MoonbowSubject):
        found += await far(subject, seconds, say)
    return found


Operation = Callable[[Subject, float, Say], Awaitable[list[Figure]]]
# In this order: memory first, while nothing has grown the processes.
OPERATIONS: dict[str, Operation] = {"C": idle, "A": messages, "B": room, "D": history, "E": missed}
