"""JSON lines to a site's folder.  Fields are ids, counts and times: never a body, a password or a token."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import msgspec

_encode = msgspec.json.Encoder().encode


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, room, event, and the fields given as `extra={"f": {...}}`."""

    def __init__(self, site: str, process: str) -> None:
        super().__init__()
        self.fixed = {"site": site, "process": process}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "room": record.name.removeprefix("moonbow."),
            **self.fixed,
            "event": record.getMessage(),
            **getattr(record, "f", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _encode(line).decode()


def start_log(site: str, process: str, stream: TextIO | None = None) -> None:
    """Send this process's log to standard error, which its supervisor appends to the site's folder, or to `stream`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(site, process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("nats", "uvicorn", "httpx", "litestar"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
