"""Small real worlds for the tests of the launcher, in the slot that is theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from moonbow.launch.proc import processes

SLOT = 4
TWO_REGIONS = f"""
name = "small"
domain = "moonbow.localhost"
slot = {SLOT}

[regions.emea]
title = "Europe"
resilient = ["apac"]
sites = [
    {{ name = "paris", city = "Paris", at = [48.9, 2.4] }},
    {{ name = "frankfurt", city = "Frankfurt", at = [50.1, 8.7] }},
]

[regions.apac]
title = "Asia"
resilient = ["emea"]
sites = [{{ name = "tokyo", city = "Tokyo", at = [35.7, 139.7] }}]

[traffic]
default = "emea"
continents = {{ AS = "apac" }}

[[places]]
name = "Europe"
network = "194.2.0.0/24"
port = 8443

[[places]]
name = "Asia"
network = "1.33.0.0/24"
port = 8444
"""
SOLO = (
    TWO_REGIONS.split("[regions.apac]")[0]
    .replace('resilient = ["apac"]\n', "")
    .replace('    { name = "frankfurt", city = "Frankfurt", at = [50.1, 8.7] },\n', "")
    + '\n[traffic]\ndefault = "emea"\n\n[[places]]\nname = "Europe"\nnetwork = "194.2.0.0/24"\nport = 8443\n'
)


def moonbow(*arguments: str, within_s: float = 150.0) -> subprocess.CompletedProcess[str]:
    """Run a command of the real command line."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=within_s, env=environment())


def command(*arguments: str) -> list[str]:
    """The argument list of a command of the command line."""
    return [sys.executable, "-P", "-m", "moonbow.cli", *arguments]


def environment() -> dict[str, str]:
    """A terminal wide enough that no word of the output is broken."""
    return {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


def running_in(state: Path) -> list[str]:
    """Command lines of all processes that were told of `state`."""
    found = []
    for folder in processes():
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(state) in word for word in words) and int(folder.name) != os.getpid():
            found.append(" ".join(words))
    return found


def leftovers(state: Path) -> list[str]:
    """Processes, sockets and locks that a stopped world must not leave."""
    files = [
        str(path) for path in state.rglob("*") if path.is_socket() or path.name in ("launch.lock", "overrides.json")
    ]
    return running_in(state) + files
