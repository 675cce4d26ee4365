"""How the answer to a request crosses the bus: one byte that says what it is, then the result or a problem."""

from __future__ import annotations

import msgspec

from moonbow.base.errors import Broken, Refused, Unavailable

OK = b"+"
PROBLEM = b"-"
DETAIL_CHARS_MAX = 500


class RpcProblem(msgspec.Struct, frozen=True, array_like=True):
    """A `Refused` (kind `refused`) or an `Unavailable` (kind `unavailable`) on its way back to the caller."""

    kind: str
    code: str
    detail: str
    status: int = 0
    place: str | None = None
    retry_after_s: float | None = None
    region: str | None = None


def encode_problem(error: Refused | Unavailable) -> bytes:
    """The frame that carries `error`."""
    detail = error.detail[:DETAIL_CHARS_MAX]
    if isinstance(error, Refused):
        problem = RpcProblem("refused", error.code, detail, error.status, error.place, error.retry_after_s)
    else:
        problem = RpcProblem("unavailable", error.code, detail, region=error.region)
    return PROBLEM + msgspec.msgpack.encode(problem)


def decode_answer(frame: bytes) -> bytes:
    """The result in `frame`; raises the problem it carries, or `Broken` if it is neither."""
    kind = frame[:1]
    if kind == OK:
        return frame[1:]
    if kind != PROBLEM:
        raise Broken("an answer on the bus is neither a result nor a problem")
    try:
        problem = msgspec.msgpack.decode(frame[1:], type=RpcProblem)
    except msgspec.MsgspecError as error:
        raise Broken("a problem on the bus cannot be read") from error
    if problem.kind == "refused":
        raise Refused(
            problem.code,
            problem.detail,
            status=problem.status,
            place=problem.place,
            retry_after_s=problem.retry_after_s,
        )
    raise Unavailable(problem.code, problem.detail, region=problem.region)
