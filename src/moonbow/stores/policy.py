"""What comes of a failure of a region's SQL node.

Laws: work that may have been committed is run again only if it may be run twice; a fault that another node or a moment
later can mend is never `broken`, one that they cannot is never tried again.
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["again", "elsewhere", "unknown", "config", "broken"]

# Rolled back, and nothing is wrong: another transaction was first.  Galera says so for one of another node, too.
# https://mariadb.com/kb/en/mariadb-error-code-reference/
OVERTAKEN = frozenset(
    {
        1020,  # changed since it was read (snapshot isolation)
        1062,  # a key that the snapshot did not show yet
        1180,  # could not be certified
        1205,  # waited for a lock for too long
        1213,  # deadlock
        1317,  # interrupted, to let a transaction of another node in
        3024,
        1969,  # took longer than the server allows
    }
)
# The node cannot serve now.
AWAY = frozenset(
    {
        0,  # the driver's own: the connection is closed
        1040,  # too many connections
        1047,  # not part of the cluster's majority
        1053,  # stopping
        1152,
        1153,
        1158,
        1159,
        1160,
        1161,  # the network
        1184,
        1203,
        1290,  # read-only
        1927,  # the connection was ended
        2002,
        2003,  # nobody answers
        2006,
        2013,  # the connection was lost
        2055,
    }
)
MISCONFIGURED = frozenset({1044, 1045, 1049, 1698, 2026})


def decide_failure(code: int, *, committing: bool, repeatable: bool) -> Verdict:
    """What to do about error `code` of the node, met while `committing` or before, in work that may be `repeatable`.

    `again`: it was rolled back; `elsewhere`: the same, on another node first; `unknown`: it may stand or not, and must
    not be run twice; `config`: the operator can mend it; `broken`: neither we nor they can.
    """
    if code in OVERTAKEN:
        return "again"
    if code in AWAY:
        return "unknown" if committing and not repeatable else "elsewhere"
    return "config" if code in MISCONFIGURED else "broken"


def choose_node(troubled_until_s: list[float], now_s: float) -> int:
    """Which node to ask: the first without recent trouble, else the one whose trouble is the oldest."""
    well = [no for no, until in enumerate(troubled_until_s) if until <= now_s]
    return well[0] if well else min(range(len(troubled_until_s)), key=troubled_until_s.__getitem__)
