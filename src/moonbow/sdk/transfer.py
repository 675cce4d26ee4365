"""Files over REST: sent in parts that go on wherever a door or a site was lost, read in pieces that do the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import msgspec

from moonbow.base.errors import Refused, Unavailable
from moonbow.wire.files import FileInfo
from moonbow.wire.rest import NewFile

from . import paths
from .rest import Rest

PART_S = 40.0  # for one part to be answered: its region may be choosing another leader of its store
PATIENCE_S = 60.0  # without any progress, then we give up
PAUSE_S = (0.2, 2.0)
CHECK_S = 180.0  # for a whole file to be looked at
PIECE_BYTES = 4 * 1_048_576

Progress = Callable[[int, int], None]  # bytes done, bytes in all


class Source:
    """What is to be sent: a file of this machine, or bytes."""

    def __init__(self, content: Path | bytes) -> None:
        self.content = content
        self.size = len(content) if isinstance(content, bytes) else content.stat().st_size

    async def read(self, start: int, size: int) -> bytes:
        """Bytes from `start` on."""
        if isinstance(self.content, bytes):
            return self.content[start : start + size]
        return await asyncio.to_thread(_read, self.content, start, size)


async def upload(
    rest: Rest, source: Source, name: str, *, expires_in_s: int | None, resume: str | None, on_progress: Progress | None
) -> FileInfo:
    """Send a file, or go on with one, and wait until it was looked at.

    `Refused`: also `file_changed` when what is sent is not as long as what was announced, and with the reason when
    the file was refused.  `Unavailable` after a minute without progress.
    """
    if resume is None:
        file = await _announce(rest, NewFile(name, source.size, expires_in_s, str(uuid.uuid4())))
    else:
        file = await rest.get(paths.file(resume), FileInfo)
    if file.size != source.size:
        raise Refused("file_changed", f"{file.size} bytes were announced, here are {source.size}", place="$.content")
    file = await _send_parts(rest, source, file, on_progress)
    return await _checked(rest, file)


async def _announce(rest: Rest, wanted: NewFile) -> FileInfo:
    """Say it until it is heard; its `client_id` keeps it one file."""
    ends, pause = asyncio.get_running_loop().time() + PATIENCE_S, PAUSE_S[0]
    while True:
        try:
            return await rest.put("POST", paths.FILES, wanted, FileInfo)
        except Unavailable:
            if asyncio.get_running_loop().time() > ends:
                raise
            await asyncio.sleep(pause)
            pause = min(PAUSE_S[1], pause * 2)


async def _send_parts(rest: Rest, source: Source, file: FileInfo, on_progress: Progress | None) -> FileInfo:
    loop = asyncio.get_running_loop()
    moved_at, pause = loop.time(), PAUSE_S[0]
    while file.state == "uploading":
        before = file.received
        try:
            file = await _send_part(rest, source, file)
        except Unavailable:
            if loop.time() > moved_at + PATIENCE_S:
                raise
            await asyncio.sleep(pause)
            pause = min(PAUSE_S[1], pause * 2)
        if file.received > before:
            moved_at, pause = loop.time(), PAUSE_S[0]
            if on_progress is not None:
                on_progress(file.received, file.size)
    return file


async def _send_part(rest: Rest, source: Source, file: FileInfo) -> FileInfo:
    part = await source.read(file.received, file.part_bytes)
    if not part:
        raise Refused("file_changed", "the file has become shorter", place="$.content")
    headers = {"Content-Range": f"bytes {file.received}-{file.received + len(part) - 1}/{file.size}"}
    try:
        answer = await rest.ask("PUT", paths.content(file.id), content=part, headers=headers, within_s=PART_S)
    except Refused as error:
        if error.code != "part_out_of_order":
            raise
        return await rest.get(paths.file(file.id), FileInfo)
    return msgspec.json.decode(answer.content, type=FileInfo)


async def _checked(rest: Rest, file: FileInfo) -> FileInfo:
    """The file when it was looked at; after `CHECK_S` as it is then."""
    loop = asyncio.get_running_loop()
    ends, pause = loop.time() + CHECK_S, PAUSE_S[0]
    while file.state == "checking" and loop.time() < ends:
        await asyncio.sleep(pause)
        pause = min(PAUSE_S[1], pause * 2)
        file = await rest.get(paths.file(file.id), FileInfo)
    if file.state == "refused":
        raise Refused(file.reason or "refused", "the file was looked at and refused", status=422)
    return file


async def pieces(rest: Rest, ident: str) -> AsyncGenerator[tuple[bytes, int]]:
    """A file from its beginning to its end, each piece with the size of the whole."""
    start, total = 0, 1
    while start < total:
        headers = {"Range": f"bytes={start}-{start + PIECE_BYTES - 1}"}
        answer = await rest.ask("GET", paths.content(ident), headers=headers, within_s=PART_S)
        if answer.status_code == 206:
            total = int(answer.headers["content-range"].rpartition("/")[2])
        else:
            total = len(answer.content)
        start += len(answer.content)
        yield answer.content, total


async def download(rest: Rest, ident: str, to: Path | None, on_progress: Progress | None) -> bytes:
    """All of a file: as bytes, or written to `to`, which then stands whole or not at all."""
    kept: list[bytes] = []
    done = 0
    beside = to.with_name(f".{to.name}.part") if to is not None else None
    if beside is not None:
        await asyncio.to_thread(beside.write_bytes, b"")
    async with aclosing(pieces(rest, ident)) as found:
        async for piece, total in found:
            if beside is not None:
                await asyncio.to_thread(_append, beside, piece)
            else:
                kept.append(piece)
            done += len(piece)
            if on_progress is not None:
                on_progress(done, total)
    if beside is not None and to is not None:
        await asyncio.to_thread(beside.replace, to)
    return b"".join(kept)


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
