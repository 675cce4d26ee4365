"""The engine of one site as a process: files, recovery, start and end.  MariaDB where data rests, else the arbitrator.

The engine stays in its agent's process group and on its leash: who kills the site kills the engine.  It inherits the
lock of its folder, so a second one cannot start while the first, or a snapshot that it began, is still there.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.base.leash import leash
from moonbow.base.programs import find_program, run_program
from moonbow.data.galera import NodeSettings, render_node, witness_argv
from moonbow.data.model import Position, View, is_safe, is_spoilt, mark_safe, parse_recovered, parse_view
from moonbow.data.policy import Action, count_held, lacks_room

PACKAGES = "mariadb-server galera-4 galera-arbitrator-4 mariadb-backup socat"
PROGRAMS = ("mariadbd", "mariadb-install-db", "mariabackup", "mbstream", "socat", "garbd")
RECOVER_S, INSTALL_S = 300.0, 120.0
STOP_S = 25.0  # between SIGTERM and SIGKILL


def find_programs() -> None:
    """`ConfigError` naming the first program that is missing and the line that brings all."""
    for name in PROGRAMS:
        find_program(name, PACKAGES)


class Engine(ABC):
    """What node and witness have in common: a folder, a lock, a saved view, a process."""

    def __init__(self, settings: NodeSettings, log: Path) -> None:
        self.settings = settings
        self.log = log
        self.process: Process | None = None
        self._lock = -1

    @property
    def _state(self) -> Path:
        """Where the engine keeps its saved view."""
        return self.settings.folder

    def prepare(self) -> None:
        """Make the folders."""
        self.settings.folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.returncode is None

    async def recover(self) -> Position | None:
        """What the engine holds; None if that cannot be found out."""
        return Position()

    def view(self) -> View:
        """The saved view."""
        try:
            return parse_view((self._state / "gvwstate.dat").read_text(errors="replace"))
        except FileNotFoundError:
            return View()

    def is_safe(self) -> bool:
        """Whether the engine was the last to leave an orderly stop."""
        return False

    def lacks_room(self) -> str:
        """Why the engine cannot start on this disk; nothing if it can."""
        return ""

    @abstractmethod
    async def start(self, action: Action, position: Position | None) -> None:
        """Start the engine; `ConfigError` if an earlier one is still there."""

    async def stop(self) -> None:
        """End the engine in order, or without mercy after `STOP_S`."""
        if self.process is None or not self.running:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the engine at once."""
        if self.process is not None and self.running:
            self.process.kill()
            await self.process.wait()

    def forget_view(self) -> None:
        """Start without the saved view: a stale one keeps a member out of the component of the others."""
        (self._state / "gvwstate.dat").unlink(missing_ok=True)

    async def _spawn(self, argv: tuple[str, ...], folder: Path) -> None:
        self._take_lock()
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.process = await asyncio.create_subprocess_exec(
                *argv, stdin=DEVNULL, stdout=log, stderr=log, cwd=folder, pass_fds=(self._lock,), preexec_fn=leash()
            )
        finally:
            os.close(log)

    def _take_lock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = os.open(self.settings.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{self.settings.folder}: an earlier engine is still there") from error


class Node(Engine):
    """MariaDB with Galera."""

    @property
    def _state(self) -> Path:
        return self.settings.data

    def prepare(self) -> None:
        """Make the folders and the configuration."""
        super().prepare()
        (self.settings.folder / "tmp").mkdir(mode=0o700, exist_ok=True)
        write_private(self.settings.config, render_node(self.settings).encode())

    async def recover(self) -> Position | None:
        """Read the position from the data; nothing is held where there are none, or only a part of a snapshot."""
        data = self.settings.data
        if not (data / "mysql").is_dir() or (data / "sst_in_progress").exists():
            return Position()
        self._take_lock()
        _, said = await run_program(
            RECOVER_S, *self._argv("--wsrep-recover", "--log-error-verbosity=3"), before=leash()
        )
        found = parse_recovered(said)
        if found is None:  # its words say why
            with self.log.open("a") as log:
                log.write(said)
            return None
        return count_held(found, is_spoilt(self._grastate()))

    def is_safe(self) -> bool:
        return is_safe(self._grastate())

    def lacks_room(self) -> str:
        return lacks_room(shutil.disk_usage(self.settings.folder).free)

    def _grastate(self) -> str:
        try:
            return (self.settings.data / "grastate.dat").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    async def start(self, action: Action, position: Position | None) -> None:
        if action != "reform":
            self.forget_view()
        if action == "begin":
            if position == Position():
                await self._install()
            self._allow_to_begin()
        self.settings.data.mkdir(mode=0o700, exist_ok=True)
        words = [f"--wsrep-start-position={position}"] if position is not None and position.history else []
        words += ["--wsrep-new-cluster"] if action == "begin" else []
        await self._spawn(self._argv(*words), self.settings.data)

    async def _install(self) -> None:
        """Make the system tables, whole or not at all."""
        made = self.settings.folder / "data.new"
        for folder in (made, self.settings.data):
            if folder.exists():
                await asyncio.to_thread(shutil.rmtree, folder)
        account = self.settings.account
        code, said = await run_program(
            INSTALL_S,
            find_program("mariadb-install-db", PACKAGES),
            *("--no-defaults", f"--datadir={made}", f"--user={account}", "--skip-test-db", "--skip-name-resolve"),
            *("--auth-root-authentication-method=socket", f"--auth-root-socket-user={account}"),
            before=leash(),
        )
        if code or not (made / "mysql").is_dir():
            raise ConfigError(f"{made}: MariaDB's tables cannot be made, code {code}: {said[-1000:]}")
        made.rename(self.settings.data)

    def _allow_to_begin(self) -> None:
        path = self.settings.data / "grastate.dat"
        if path.exists():
            write_private(path, mark_safe(path.read_text()).encode())

    def _argv(self, *words: str) -> tuple[str, ...]:
        as_root = ("--user=root",) if os.geteuid() == 0 else ()
        program = find_program("mariadbd", PACKAGES)
        return (program, f"--defaults-file={self.settings.config}", *as_root, *words)


class Witness(Engine):
    """Galera's arbitrator: votes, and holds nothing."""

    async def start(self, action: Action, position: Position | None) -> None:
        if action != "reform":
            self.forget_view()
        await self._spawn(witness_argv(find_program("garbd", PACKAGES), self.settings), self.settings.folder)
