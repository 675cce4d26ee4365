"""The web client's files, read once at the start and served from memory with strict headers."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import Any, NamedTuple

FILES_MAX = 500
BYTES_MAX = 16 * 1_048_576
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' wss:;"
    " font-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
NO_CLIENT = b"<!doctype html><title>Moonbow</title><p>The web client has not been built: run ./moonbow up once.</p>"


class Page(NamedTuple):
    """One file, plain and packed."""

    body: bytes
    packed: bytes | None
    headers: list[tuple[bytes, bytes]]
    tag: bytes


def load_pages(folder: Path) -> dict[str, Page]:
    """Every file under `folder` by its path; `/` is index.html.  Without a built client, a page that says so."""
    pages: dict[str, Page] = {}
    total = 0
    for file in sorted(folder.rglob("*"))[:FILES_MAX] if folder.is_dir() else ():
        if file.is_file() and (total := total + file.stat().st_size) <= BYTES_MAX:
            pages[f"/{file.relative_to(folder).as_posix()}"] = _page(
                file.name, file.read_bytes(), "/assets/" in str(file)
            )
    pages["/"] = pages.get("/index.html") or _page("index.html", NO_CLIENT, False)
    return pages


def _page(name: str, body: bytes, for_ever: bool) -> Page:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    text = kind.startswith("text/") or kind in ("application/javascript", "image/svg+xml", "application/json")
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'.encode()
    headers = [
        (b"content-type", f"{kind}; charset=utf-8".encode() if text else kind.encode()),
        (b"cache-control", b"public, max-age=31536000, immutable" if for_ever else b"no-cache"),
        (b"content-security-policy", POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"vary", b"accept-encoding"),
        (b"etag", tag),
    ]
    return Page(body, gzip.compress(body, 9) if text and len(body) > 512 else None, headers, tag)


async def serve_page(page: Page, scope: Any, send: Any) -> None:
    """Answer GET or HEAD with a file."""
    asked = dict(scope["headers"])
    headers, body, status = list(page.headers), page.body, 200
    if asked.get(b"if-none-match") == page.tag:
        status, body = 304, b""
    elif page.packed is not None and b"gzip" in asked.get(b"accept-encoding", b""):
        body = page.packed
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
