"""MariaDB's own `mariadb-dump` and `mariadb` as processes: tables as text, a row a line, and back again.

Both enter as every client does, by a certificate and after a look at the node's own, so there is no password that a
command line or a file could show.  A dump is one snapshot (`--single-transaction`): nobody waits for it.  Its lines
are escaped by the tool, so a line that begins with INSERT is one row, and none is anything else.
"""

from __future__ import annotations

import hashlib
import os
import selectors
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

from moonbow.base.errors import Broken, Unavailable
from moonbow.base.programs import find_program
from moonbow.world import SqlWay

PACKAGES = "mariadb-client"
PROGRAMS = ("mariadb-dump", "mariadb")
SILENT_S = 60.0  # without a byte given or taken, after which the tool is ended; a node that dies answers sooner
PIECE_BYTES = 262_144
STATEMENT_BYTES = 1_048_576  # rows sent together; the server takes 16 MiB
SAID_BYTES = 500
WHOLE = b"-- Dump completed"
_ROW, _VALUES = b"INSERT INTO `", b" VALUES "
_TABLE = b"CREATE TABLE `"
WORDS = (
    *("--single-transaction", "--skip-lock-tables", "--quick", "--hex-blob", "--skip-extended-insert"),
    *("--skip-add-drop-table", "--skip-add-locks", "--skip-disable-keys", "--skip-triggers", "--no-tablespaces"),
    *("--skip-dump-date", "--comments", "--default-character-set=utf8mb4"),
)


def find_tools() -> None:
    """`ConfigError` naming the first program that is missing and the line that brings both."""
    for name in PROGRAMS:
        find_program(name, PACKAGES)


def dump(way: SqlWay, tables: Sequence[str], into: Path) -> None:
    """Write tables of the first host of `way`, as one snapshot, into a new private file.

    `Unavailable` if the node does not give them all; what was written is removed then.
    """
    argv = (*_argv("mariadb-dump", way), *WORDS, way.database, *tables)
    try:
        descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, closing(_given_by(argv)) as pieces:
            file.writelines(pieces)
    except BaseException:
        into.unlink(missing_ok=True)
        raise


def load(way: SqlWay, dumped: Path) -> None:
    """Make the tables of a dump, with their rows, in the empty database of `way`; `Unavailable` if it does not take
    them all."""
    with dumped.open("rb") as lines:
        _give((*_argv("mariadb", way), "--batch", "--binary-mode", way.database), _in_pieces(_together(lines)))


def count(dumped: Path) -> dict[str, int]:
    """The tables of a dump, and how many rows each has; `Broken` if it is not whole."""
    rows: dict[str, int] = {}
    last = b""
    with dumped.open("rb") as lines:
        for line in lines:
            if line.startswith(_ROW):
                rows[_name(line, _ROW)] += 1
            elif line.startswith(_TABLE):
                rows[_name(line, _TABLE)] = 0
            last = line if line.strip() else last
    if not last.startswith(WHOLE):
        raise Broken(f"{dumped.name} ends too early: it is no whole dump")
    return rows


def row(dumped: Path, table: str) -> str | None:
    """The first row of a table as the dump says it: `1,'emea',1,1`."""
    start = _ROW + table.encode() + b"`" + _VALUES + b"("
    with dumped.open("rb") as lines:
        for line in lines:
            if line.startswith(start):
                return line[len(start) : -len(b");\n")].decode()
    return None


def differ(here: Path, there: Path) -> dict[str, tuple[int, int]]:
    """Per table that differs between two dumps: how many rows are only in the first, and how many only in the second.

    Takes memory for the tables that differ only: 16 bytes and Python's share for each of their rows.
    """
    first, second = _sums(here), _sums(there)
    differing = {table for table in first | second if first.get(table) != second.get(table)}
    ours, theirs = _marks(here, differing), _marks(there, differing)
    return {table: (len(ours[table] - theirs[table]), len(theirs[table] - ours[table])) for table in sorted(differing)}


def _sums(dumped: Path) -> dict[str, int]:
    """By table the sum of its rows' marks: the same rows in any order give the same one."""
    found = dict.fromkeys(count(dumped), 0)
    for table, mark in _rows(dumped):
        found[table] += int.from_bytes(mark)
    return found


def _marks(dumped: Path, tables: set[str]) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {table: set() for table in tables}
    for table, mark in _rows(dumped) if tables else ():
        if table in tables:
            found[table].add(mark)
    return found


def _rows(dumped: Path) -> Iterator[tuple[str, bytes]]:
    """Of every row its table, and what tells it from others."""
    with dumped.open("rb") as lines:
        for line in lines:
            if line.startswith(_ROW):
                yield _name(line, _ROW), hashlib.blake2b(line, digest_size=16).digest()


def _name(line: bytes, start: bytes) -> str:
    return line[len(start) : line.index(b"`", len(start))].decode()


def _together(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same dump with many rows a statement: each is a transaction of its own, and a thousand are slow."""
    current, size = b"", 0
    for line in lines:
        head, _, values = line.partition(_VALUES) if line.startswith(_ROW) else (b"", b"", b"")
        values = values.removesuffix(b";\n")
        if head and head == current and size + len(values) < STATEMENT_BYTES:
            size += len(values)
            yield b"," + values
            continue
        if current:
            yield b";\n"
        current, size = head, len(values)
        yield head + _VALUES + values if head else line
    if current:
        yield b";\n"


def _in_pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _argv(program: str, way: SqlWay) -> tuple[str, ...]:
    return (
        *(find_program(program, PACKAGES), "--no-defaults", f"--host={way.hosts[0]}", f"--port={way.port}"),
        *("--protocol=TCP", f"--user={way.user}", f"--ssl-ca={way.ca}", f"--ssl-cert={way.cert}"),
        *(f"--ssl-key={way.key}", "--ssl-verify-server-cert", "--tls-version=TLSv1.2,TLSv1.3"),
    )


def _given_by(argv: Sequence[str]) -> Generator[bytes]:
    """What a program says, until it has ended well.  If we die, its pipe breaks and it ends."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdout is not None
        try:
            while _ready(process.stdout, selectors.EVENT_READ) and (
                piece := os.read(process.stdout.fileno(), PIECE_BYTES)
            ):
                yield piece
            _end(process, said)
        finally:
            process.kill()


def _give(argv: Sequence[str], pieces: Iterable[bytes]) -> None:
    """Say everything to a program, and wait until it has ended well."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as process,
    ):
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        try:
            for piece in pieces:
                left = memoryview(piece)
                while left and _ready(process.stdin, selectors.EVENT_WRITE):
                    left = left[os.write(process.stdin.fileno(), left) :]
            process.stdin.close()
            _end(process, said)
        except BrokenPipeError:
            _end(process, said)  # it says why it went
            raise Unavailable("store_unavailable", "the region's database did not take all of it") from None
        finally:
            process.kill()


def _ready(pipe: IO[bytes], event: int) -> bool:
    """Wait for the other side; `Unavailable` if nothing moves for too long."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        if not selector.select(SILENT_S):
            raise Unavailable("store_unavailable", f"the region's database was silent for {SILENT_S:.0f} s")
    return True


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    try:
        code = process.wait(SILENT_S)
    except subprocess.TimeoutExpired:
        code = None
    if code != 0:
        said.seek(0)
        words = said.read()[-SAID_BYTES:].decode(errors="replace").strip() or f"it ended with {code}"
        raise Unavailable("store_unavailable", f"the region's database does not do it: {words}")
