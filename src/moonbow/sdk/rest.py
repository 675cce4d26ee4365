"""REST through an ordered list of doors: the first that answers is used until it does not."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec

from moonbow.base.errors import Refused, Unavailable
from moonbow.wire.values import Door, Problem

ANSWER_S = 5.0
CONNECT_S = 1.5
TRIES_MAX = 6
PAUSE_S = (0.05, 1.0)
ELSEWHERE = frozenset({502, 503, 504})  # another door may do better

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_problem = msgspec.json.Decoder(Problem).decode


def read_problem(answer: httpx.Response) -> Problem:
    """The problem in an answer, or one made from its status: a door itself may answer with plain text."""
    try:
        return _problem(answer.content)
    except msgspec.DecodeError:
        code = {401: "token_invalid", 404: "not_found", 429: "throttled"}.get(answer.status_code, "unavailable")
        return Problem(type="about:blank", title=answer.reason_phrase, status=answer.status_code, code=code, detail="")


class Rest:
    """One person's (or nobody's yet) REST.  `domain` is the name that all doors' certificates carry.

    `source` is the address to dial from, on machines with several.
    """

    def __init__(
        self, doors: list[Door], domain: str, tls: ssl.SSLContext, agent: str, source: str | None = None
    ) -> None:
        self.doors, self.domain, self.tls, self.agent, self.source = doors, domain, tls, agent, source
        self.token = ""
        self._clients: dict[tuple[str, int], httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every kept connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def get(self, path: str, kind: type[T], **query: str | int | None) -> T:
        """`GET path`, read as `kind`."""
        wanted = {key: value for key, value in query.items() if value is not None}
        return msgspec.json.decode((await self.ask("GET", path, query=wanted)).content, type=kind)

    async def put(self, method: str, path: str, body: msgspec.Struct | None, kind: type[T], again: bool = True) -> T:
        """`method path` with a JSON body, read as `kind`.  `again`: doing it twice is the same as once."""
        return msgspec.json.decode((await self.ask(method, path, body, again=again)).content, type=kind)

    async def ask(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        query: dict[str, str | int] | None = None,
        again: bool = True,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        within_s: float = ANSWER_S,
    ) -> httpx.Response:
        """The answer of the first door that has one.  `content` goes as it is, instead of a JSON `body`.

        `Refused` is the caller's fault and carries the problem's code; `Unavailable` when no door could do it.  What
        must not be done twice (`again=False`) is tried elsewhere only if it certainly was not begun.
        """
        trouble: Unavailable | None = None
        for attempt in range(TRIES_MAX):
            door = self.doors[0]
            try:
                answer = await self._ask_door(door, method, path, body, query, content, headers or {}, within_s)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                trouble = Unavailable("door_unreachable", f"{door.site} at {door.address}:{door.port}: {error!r}")
            except httpx.TransportError as error:
                trouble = Unavailable("answer_lost", f"{method} {path} at {door.site}: {error!r}")
                if not again:
                    raise trouble from error
            else:
                if answer.status_code < 400:
                    return answer
                trouble = self._fault(answer)
            self._next_door(door)
            await asyncio.sleep(min(PAUSE_S[1], PAUSE_S[0] * 2.0**attempt))
        assert trouble is not None
        raise trouble

    def _fault(self, answer: httpx.Response) -> Unavailable:
        """Raise `Refused`, or give the `Unavailable` that another door may mend."""
        problem = read_problem(answer)
        if answer.status_code in ELSEWHERE:
            return Unavailable(problem.code, problem.detail, region=problem.region)
        place = problem.faults[0].place if problem.faults else None
        raise Refused(
            problem.code,
            problem.detail or problem.title,
            status=answer.status_code,
            place=place,
            retry_after_s=problem.retry_after_s,
        )

    def _next_door(self, failed: Door) -> None:
        if self.doors[0] is failed and len(self.doors) > 1:
            self.doors = [*self.doors[1:], failed]

    async def _ask_door(
        self, door: Door, method: str, path: str, body: msgspec.Struct | None, query: dict[str, str | int] | None,
        content: bytes | None, more: dict[str, str], within_s: float,
    ) -> httpx.Response:  # fmt: skip
        headers = {"Host": f"{self.domain}:{door.port}", "User-Agent": self.agent, **more}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await self._client(door).request(
            method,
            path,
            content=content if body is None else _encode(body),
            params=query,
            headers=headers,
            extensions={"sni_hostname": self.domain},
            timeout=httpx.Timeout(within_s, connect=CONNECT_S),
        )

    def _client(self, door: Door) -> httpx.AsyncClient:
        key = door.address, door.port
        if key not in self._clients:
            self._clients[key] = httpx.AsyncClient(
                base_url=f"https://{door.address}:{door.port}",
                transport=httpx.AsyncHTTPTransport(
                    verify=self.tls,
                    trust_env=False,
                    local_address=self.source,
                    limits=httpx.Limits(max_connections=8, max_keepalive_connections=2, keepalive_expiry=15.0),
                ),
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            )
        return self._clients[key]
