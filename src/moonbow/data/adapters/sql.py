"""Asks a site's own MariaDB how it is, through its socket, as the account that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence

import pymysql
from pymysql.connections import Connection

from moonbow.base.errors import Unavailable
from moonbow.data.galera import NodeSettings
from moonbow.data.model import NodeStatus, parse_status

ASK_S = 2.0
WORK_S = 30.0


class LocalSql:
    """One kept connection; one question at a time."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._kept: Connection | None = None
        self.fault = ""  # why the last question had no answer

    async def status(self) -> NodeStatus | None:
        """How the node is; None if it does not answer."""
        try:
            rows = await asyncio.to_thread(self._ask)
        except (pymysql.MySQLError, OSError) as error:
            self.close()
            self.fault = str(error)
            return None
        self.fault = ""
        return parse_status(rows)

    async def run(self, statements: Sequence[str]) -> None:
        """Run statements, each by itself; `Unavailable` if one fails."""
        try:
            await asyncio.to_thread(self._run, statements)
        except (pymysql.MySQLError, OSError) as error:
            raise Unavailable("sql_unavailable", f"{self._settings.site}: {error}") from error

    def close(self) -> None:
        """Give the connection back."""
        if self._kept is not None:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                self._kept.close()
            self._kept = None

    def _ask(self) -> dict[str, str]:
        if self._kept is None:
            self._kept = self._connect(ASK_S)
        with self._kept.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep\\_%'")
            return {str(name): str(value) for name, value in cursor.fetchall()}

    def _run(self, statements: Sequence[str]) -> None:
        connection = self._connect(WORK_S)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def _connect(self, within_s: float) -> Connection:
        """Through the folder's descriptor, because a unix address holds 107 bytes only."""
        folder = os.open(self._settings.socket.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return pymysql.connect(
                unix_socket=f"/proc/self/fd/{folder}/{self._settings.socket.name}",
                user=self._settings.account,
                autocommit=True,
                connect_timeout=int(ASK_S),
                read_timeout=within_s,
                write_timeout=within_s,
            )
        finally:
            os.close(folder)
