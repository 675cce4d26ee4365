"""The four kinds of error: the operator's, the caller's, "try elsewhere", and our own broken invariant."""

from __future__ import annotations


class MoonbowError(Exception):
    """Root of every error Moonbow raises on purpose."""


class ConfigError(MoonbowError):
    """The operator can mend it: a wrong world file, a busy port, a missing engine.

    `problems` holds one sentence per fault, each with its place.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Refused(MoonbowError):
    """The caller can mend it.  `code` is stable and documented in docs/API.md; `place` names the faulty field."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 400,
        place: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.place = place
        self.retry_after_s = retry_after_s


class Unavailable(MoonbowError):
    """Something needed does not answer; the same request may work elsewhere or later."""

    def __init__(self, code: str, detail: str, *, region: str | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.region = region


class Broken(MoonbowError):
    """An invariant of ours does not hold: stop, do not go on."""
