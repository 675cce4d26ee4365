"""What an audit writes down while it walks: findings, bounded; what was seen, for the data map; how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from .catalogue import File
from .model import Control, DataClass, Finding, Mapped, Progress

FINDINGS_MAX = 1_000
ALIKE_MAX = 20  # of one code in one table or file; the rest is counted


@dataclass
class _Line:
    retention: str
    records: int = 0
    size_bytes: int = 0


@dataclass
class Book:
    """`tell` hears of progress."""

    tell: Callable[[Progress], None] = lambda progress: None
    controls: list[Control] = field(default_factory=list[Control])
    walked: dict[str, str] = field(default_factory=dict[str, str])  # place -> region, empty for the world's
    files: int = 0
    rows: int = 0
    size_bytes: int = 0
    _findings: list[Finding] = field(default_factory=list[Finding])
    _alike: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    _last: dict[tuple[str, str, str], Finding] = field(default_factory=dict[tuple[str, str, str], Finding])
    _map: dict[tuple[DataClass, str, str, str, str, str], _Line] = field(
        default_factory=dict[tuple[DataClass, str, str, str, str, str], _Line]
    )

    def found(self, finding: Finding) -> None:
        """Note a finding, unless there are enough of its kind."""
        alike = (finding.code, finding.place, finding.table)
        self._alike[alike] += 1
        self._last[alike] = finding
        if self._alike[alike] <= ALIKE_MAX and len(self._findings) < FINDINGS_MAX:
            self._findings.append(finding)

    def findings(self) -> tuple[Finding, ...]:
        """All that were noted, and how many more there are, in order of their places."""
        more = [
            Finding(
                code=code, place=place, table=table, at=self._last[code, place, table].at,
                of=self._last[code, place, table].of, said=f"{count} of these in all",
            )
            for (code, place, table), count in self._alike.items()
            if count > ALIKE_MAX
        ]  # fmt: skip
        return tuple(sorted([*self._findings, *more]))

    def held(self, code: str, place: str, held: bool | None, said: str, at: str = "") -> None:
        """Note a control; one that does not hold is a finding as well."""
        self.controls.append(Control(code=code, place=place, held=held, said=said, at=at))

    def saw_file(self, file: File, region: str, site: str, size_bytes: int) -> None:
        """Count a file into the data map."""
        self.files += 1
        self.size_bytes += size_bytes
        where = file.pattern.replace("{region}", region)
        self._count((file.data, file.what, file.engine, region, site, where), file.retention, 1, size_bytes)

    def saw_table(
        self, data: DataClass, table: str, engine: str, region: str, site: str, where: str, retention: str, rows: int
    ) -> None:  # fmt: skip
        """Count a table into the data map."""
        self.rows += rows
        self._count((data, f"table {table}", engine, region, site, where), retention, rows, 0)

    def _count(
        self, key: tuple[DataClass, str, str, str, str, str], retention: str, records: int, size_bytes: int
    ) -> None:
        line = self._map.setdefault(key, _Line(retention))
        line.records += records
        line.size_bytes += size_bytes

    def map(self, checked_at: str) -> tuple[Mapped, ...]:
        """The data map as seen."""
        return tuple(
            Mapped(
                data=data, what=what, engine=engine, region=region, site=site, where=where, retention=line.retention,
                records=line.records, size_bytes=line.size_bytes, checked_at=checked_at,
            )
            for (data, what, engine, region, site, where), line in sorted(self._map.items())
        )  # fmt: skip
