"""A kept connection against a real server, and the beats that loops share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.clock import to_next_beat
from moonbow.base.line import ANSWER_BYTES_MAX, BadAnswer, Line
from support import eventually_async

HOST = "127.30.1.1"
ASK = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server(asyncio.Protocol):
    """Gives each question the next of some answers, and hangs up after the last."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.answers = list(answers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.answers:
            self.transport.write(self.answers.pop(0))
        else:
            self.transport.close()


def with_line(check: Callable[[Line], Awaitable[None]], *answers: bytes) -> None:
    """Run `check` with a line to a server that gives these answers."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Server(answers), HOST, 0)
        _, line = await loop.create_connection(Line, *server.sockets[0].getsockname())
        try:
            await asyncio.wait_for(check(line), 5)
        finally:
            line.abort()
            server.close()

    asyncio.run(main())


def test_one_connection_answers_many_questions() -> None:
    async def check(line: Line) -> None:
        assert [await line.ask(ASK) for _ in range(4)] == [(200, b"ok"), (503, b"ok")] * 2
        assert not line.lost.is_set()

    with_line(check, *[OK, OK.replace(b"200 OK", b"503 No")] * 2)


def test_its_end_is_noticed_before_the_next_question() -> None:
    async def check(line: Line) -> None:
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await line.ask(ASK)
            assert line.lost.is_set()

    with_line(check)


def test_a_server_that_says_goodbye_is_not_asked_again() -> None:
    async def check(line: Line) -> None:
        assert await line.ask(ASK) == (200, b"ok")
        await eventually_async(line.lost.is_set)

    with_line(check, OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))


@pytest.mark.parametrize("answer", [b"hello\r\n\r\n", OK.replace(b" 2\r", b" 999999\r") + b"x" * ANSWER_BYTES_MAX])
def test_what_is_not_http_or_too_long_ends_it(answer: bytes) -> None:
    async def check(line: Line) -> None:
        with pytest.raises(BadAnswer):
            await line.ask(ASK)
        assert line.lost.is_set()

    with_line(check, answer)


def test_an_answer_that_does_not_come_is_the_askers_to_give_up() -> None:
    async def check(line: Line) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await line.ask(ASK)
        assert not line.lost.is_set()

    with_line(check, b"")


@given(st.floats(0.05, 10.0), st.floats(0.0, 1e6))
def test_a_beat_is_never_further_than_its_interval(interval_s: float, now: float) -> None:
    assert 0.0 < to_next_beat(interval_s, now) <= interval_s
