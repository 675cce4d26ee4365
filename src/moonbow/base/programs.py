"""Programs of others: where Debian's packages put them, running one to its end, and ending one."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress

from .errors import ConfigError

PROGRAM_FOLDERS = ("/usr/sbin", "/usr/local/sbin")


def find_program(name: str, packages: str) -> str:
    """The path of an engine's program; `ConfigError` with the line that installs its Debian `packages`."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *PROGRAM_FOLDERS))
    if found := shutil.which(name, path=path):
        return found
    raise ConfigError(f"{name} is not installed; on Debian: apt-get install --no-install-recommends {packages}")


async def run_program(within_s: float, *argv: str, before: Callable[[], None] | None = None) -> tuple[int | None, str]:
    """Its exit code and all that it says; `ConfigError` if it takes too long.  `before` runs in the child first."""
    process = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, preexec_fn=before)
    try:
        async with asyncio.timeout(within_s):
            said, _ = await process.communicate()
    except TimeoutError:
        raise ConfigError(f"{argv[0]} took more than {within_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode(errors="replace")


async def end_process(process: Process, within_s: float) -> None:
    """Ask a child to end (SIGTERM), and kill it if it has not ended in time."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
