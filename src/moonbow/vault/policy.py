"""Decisions about keys.

Laws: a destroyed key is never made again; while a company's key is revoked nothing of its people is opened or sealed;
a region key goes only when it has been out of use for longer than any backup of keys is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from .model import CompanyKey, PersonKey, RegionKeyInfo

Verdict = Literal["usable", "unknown", "destroyed", "revoked"]


def decide_use(found: tuple[PersonKey, CompanyKey] | None) -> Verdict:
    """Whether a person's key may be used now."""
    if found is None:
        return "unknown"
    person, company = found
    if person.wrapped is None:
        return "destroyed"
    return "revoked" if company.revoked else "usable"


def plan_rewrap(companies: Iterable[CompanyKey], current: str) -> list[CompanyKey]:
    """The company keys that another region key than `current` wraps."""
    return [company for company in companies if company.region_key != current]


def plan_retire(keys: Sequence[RegionKeyInfo], companies: Iterable[CompanyKey], now: float, keep_s: float) -> list[str]:
    """The region keys that may be deleted: retired for longer than `keep_s`, and no company key needs them."""
    used = {company.region_key for company in companies}
    return [
        key.key for key in keys if key.retired_at is not None and key.retired_at + keep_s < now and key.key not in used
    ]
