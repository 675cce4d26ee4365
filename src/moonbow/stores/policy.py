"""What comes of a failure of a region's SQL node.

Laws: work that may have been committed is run again only if it may be run twice; a fault that another node or a moment
later can mend is never `broken`, one that they cannot is never tried again; while a node is well, none after it is
asked.
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
        1213,  # deadlock, or another node was first
        1317,  # interrupted, to let a transaction of another node in
        1412,  # the table was given a new column since the snapshot
        1451,  # a row that points here came, and
        1452,  # one pointed to went, both unseen by the snapshot
    }
)
# The node cannot serve now, or does not answer.
AWAY = frozenset(
    {
        0,  # the driver's own word for a connection that is closed
        1040,  # too many connections
        1047,  # not in the part of the cluster that has the majority
        1053,  # stopping
        *(1152, 1158, 1159, 1160, 1161, 1184),  # the network
        1203,  # too many connections of this user
        1927,  # the connection was ended
        *(2002, 2003),  # nobody listens
        *(2006, 2013, 2055),  # the connection was lost
    }
)
MISCONFIGURED = frozenset({1044, 1045, 1049, 1698})  # no such account, password or database


STRIKES_MAX = 4  # a node in trouble is tried again at least every 16 s


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


class Standing:
    """Which of a region's nodes to ask: the first that is well, else the one whose trouble ends first.

    What does not answer costs whoever asks it `answer_s` seconds.  So while another node is well, one in trouble is not
    asked by works: it is looked at beside them (`due`), ever more seldom.
    """

    def __init__(self, nodes: int, answer_s: float) -> None:
        self._answer_s = answer_s
        self._until_s = [0.0] * nodes
        self._strikes = [0] * nodes

    def choose(self, now_s: float) -> int:
        """The number of the node to ask now."""
        well = (no for no, strikes in enumerate(self._strikes) if not strikes)
        found = next(well, None)
        if found is None:
            return min(range(len(self._until_s)), key=self._until_s.__getitem__)
        return found

    def due(self, now_s: float) -> int | None:
        """A node in trouble that is to be looked at now, by who asked this; tell what came of it."""
        for no, until_s in enumerate(self._until_s):
            if self._strikes[no] and until_s <= now_s:
                self._until_s[no] = now_s + 2 * self._answer_s
                return no
        return None

    def answered(self, node: int) -> None:
        self._until_s[node], self._strikes[node] = 0.0, 0

    def failed(self, node: int, now_s: float) -> None:
        self._strikes[node] = min(self._strikes[node] + 1, STRIKES_MAX)
        self._until_s[node] = now_s + 2.0 ** self._strikes[node]
