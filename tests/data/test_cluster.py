"""Real data agents, real Galera: a cluster that forms, loses a site with its disk, and starts again from cold."""

from __future__ import annotations

import pytest

from galera_cluster import Cluster

pytestmark = pytest.mark.slow


def test_one_node_serves_by_the_operators_word(galera_node: Cluster) -> None:
    with galera_node.connect("paris") as sql, sql.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO t VALUES (1)")
        assert cursor.execute("SELECT * FROM t") == 1
    said = galera_node.status("paris")
    assert (said["ready"], said["redundant"], said["size"], said["expected"]) == (True, False, 1, 3)
