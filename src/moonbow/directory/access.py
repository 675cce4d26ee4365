"""The one door through which another region asks about a company's people.

Law: the asker's region must have people of that company; a sealed region asks nobody and is asked by nobody.
"""

from __future__ import annotations

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home, parse_id
from moonbow.federation.shared import SharedPlane
from moonbow.wire.shared import CompanyRegions


def decide_access(caller: str, company: CompanyRegions | None) -> bool:
    """Whether region `caller` may ask about the people of `company`."""
    return company is not None and not company.gone and caller in company.regions


async def access_company(plane: SharedPlane, caller: str, company: str) -> None:
    """`Refused` (403 `not_yours`) unless `caller` may ask about `company`, as its home says now."""
    parse_id(company, "org", place="$.company")
    if caller == plane.region or decide_access(caller, await plane.store.company(company)):
        return
    await refresh_company(plane, company)
    if not decide_access(caller, await plane.store.company(company)):
        raise Refused("not_yours", "this region has nobody of that company", status=403)


async def refresh_company(plane: SharedPlane, company: str) -> None:
    """Fetch what the company's home has said lately; what stands is used if it does not answer."""
    try:
        await plane.catch_up(home(company))
    except Unavailable:
        return
