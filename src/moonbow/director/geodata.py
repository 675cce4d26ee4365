"""From an operator's own country database to an address map: which field of a record names the country.

Known are GeoIP2 and GeoLite2 (`country.iso_code`, else `registered_country.iso_code`) and flat records
(`country_code`, else `country` where it is a code).  Codes are two letters or digits; `ZZ`, `--` and nothing at all
mean nobody.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from moonbow.base.errors import ConfigError

from .addresses import Ranges, make_ranges
from .mmdb import DATABASE_BYTES_MAX, Database, Progress, Section, Unreadable

NOBODYS = frozenset({b"", b"--", b"ZZ"})
FIELDS_SHOWN = 8
_CODE = re.compile(rb"[A-Z0-9]{2}")


def read_database(path: Path) -> bytes:
    """The bytes of a database; `ConfigError` if it is no plain file or too big.  A pipe is not waited for."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Unreadable("not_a_file", str(path), "is not a plain file")
            if found.st_size > DATABASE_BYTES_MAX:
                raise Unreadable("file_too_big", str(path), f"{found.st_size} bytes, {DATABASE_BYTES_MAX} are read")
            return file.read(DATABASE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def compile_database(data: bytes, progress: Progress = lambda done, of: None) -> Ranges:
    """The address map of a database; `Unreadable` with the place of the first fault."""
    database = Database(data)
    countries = Countries(database.section)
    nodes = 2 * database.metadata.nodes

    def rows(version: int, before: int) -> Iterator[tuple[int, str | None]]:
        for start, at in database.networks(version, lambda done, of: progress(before + done, nodes)):
            try:
                yield start, None if at is None else countries.at(at)
            except Unreadable as fault:
                first = IPv4Address(start) if version == 4 else IPv6Address(start << 64)
                raise Unreadable(fault.code, f"{fault.place} (record of {first})", fault.detail) from None

    ranges = make_ranges(name_source(database), rows(4, 0), rows(6, database.metadata.nodes))
    if len(ranges.countries) < 2:
        seen = ", ".join(countries.fields()) or "none"
        wanted = "country.iso_code, country_code or country"
        raise Unreadable("no_countries", "records", f"no country in any; fields found: {seen}; wanted: {wanted}")
    return ranges


def name_source(database: Database) -> str:
    """What a map made from a database says of where it came from: its kind and date."""
    built = database.metadata.built_s
    date = time.strftime("%Y-%m-%d", time.gmtime(built)) if 0 < built < 1 << 33 else "undated"
    return f"{database.metadata.kind[:21]} {date}"


class Countries:
    """The country in each record; every record is looked into once."""

    def __init__(self, section: Section) -> None:
        self._section = section
        self._known: dict[int, str | None] = {}
        self._first: int | None = None

    def at(self, record: int) -> str | None:
        """The country's code, None for nobody's."""
        try:
            return self._known[record]
        except KeyError:
            if self._first is None:
                self._first = record
            found = self._known[record] = self._read(record)
            return found

    def fields(self) -> list[str]:
        """Names of fields in the first record, for people who gave a database of something else."""
        if self._first is None:
            return []
        names = [name.decode("utf-8", "replace")[:32] for name, _ in self._section.fields(self._first)]
        return names[:FIELDS_SHOWN]

    def _read(self, record: int) -> str | None:
        section, fields = self._section, dict[bytes, int]()
        for name, at in section.fields(record):
            if name == b"country" and (inner := self._iso_code(at)) is not None:
                return self._code("country.iso_code", inner)  # what follows, of a whole city, is not looked at
            fields[name] = at
        registered = fields.get(b"registered_country")
        if registered is not None and (inner := self._iso_code(registered)) is not None:
            return self._code("registered_country.iso_code", inner)
        for name in (b"country_code", b"country"):
            if name in fields and section.text(fields[name]) is not None:
                return self._code(name.decode(), fields[name])
        return None

    def _iso_code(self, at: int) -> int | None:
        """Where the code of a nested country is."""
        return next((inner for name, inner in self._section.fields(at) if name == b"iso_code"), None)

    def _code(self, name: str, at: int) -> str | None:
        found = (self._section.text(at) or b"").upper()
        if found in NOBODYS:
            return None
        if not _CODE.fullmatch(found):
            shown = found[:24].decode("utf-8", "replace")
            raise Unreadable("country_malformed", self._section.place(at), f"{name} is {shown!r}, not a country's code")
        return found.decode("ascii")
