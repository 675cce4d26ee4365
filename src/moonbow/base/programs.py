"""Where the engines are that Debian's packages bring."""

from __future__ import annotations

import os
import shutil

from .errors import ConfigError

PROGRAM_FOLDERS = ("/usr/sbin", "/usr/local/sbin")


def find_program(name: str, packages: str) -> str:
    """The path of an engine's program; `ConfigError` with the line that installs its Debian `packages`."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *PROGRAM_FOLDERS))
    if found := shutil.which(name, path=path):
        return found
    raise ConfigError(f"{name} is not installed; on Debian: apt-get install --no-install-recommends {packages}")
