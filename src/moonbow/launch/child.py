"""One child process: started in its site's process group, on a leash, its output appended to a bounded file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.leash import leash

from .policy import Spec


class Child:
    """A started process.  `wait` returns when it is gone and reaped."""

    def __init__(self, process: subprocess.Popen[bytes], group: int) -> None:
        self.pid = process.pid
        self.group = group
        self._process = process
        self._gone = asyncio.Event()
        self._handle = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._handle, self._reap)

    def _reap(self) -> None:
        if self._process.poll() is not None:
            asyncio.get_running_loop().remove_reader(self._handle)
            os.close(self._handle)
            self._gone.set()

    async def wait(self) -> str:
        """How it ended, as a sentence."""
        await self._gone.wait()
        code = self._process.returncode
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    @property
    def running(self) -> bool:
        """Whether it has not been reaped yet."""
        return not self._gone.is_set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it is gone."""
        if self.running:
            self._process.send_signal(number)

    async def end(self, within_s: float) -> None:
        """SIGTERM, then SIGKILL after `within_s`; returns when it is gone."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                await self._gone.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._gone.wait()


def start_child(spec: Spec, group: int | None) -> Child:
    """Start the process of `spec` in process group `group` (its own if None); `ConfigError` if it cannot be run."""
    descriptor = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return _start(spec, group, descriptor)
    except OSError as error:
        if group is not None:  # the group's last member left meanwhile
            return _start(spec, None, descriptor)
        raise ConfigError(f"{spec.key}: {spec.argv[0]} cannot be run: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _start(spec: Spec, group: int | None, log: int) -> Child:
    process = subprocess.Popen(
        spec.argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "MALLOC_ARENA_MAX": "2", **dict(spec.env)},
        process_group=group or 0,
        preexec_fn=leash(),
    )
    return Child(process, group or process.pid)


def last_lines(path: Path, count: int = 5) -> list[str]:
    """The last lines of a log, for an error message; none if there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65_536))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
