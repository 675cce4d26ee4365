"""Data nodes: MariaDB Galera over the sites of a region, started in the right order and tended.  See README.md."""
