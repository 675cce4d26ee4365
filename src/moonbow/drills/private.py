"""A world of the drill's own: started in a folder that is thrown away, in a slot where it disturbs nobody."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from moonbow.base.errors import ConfigError
from moonbow.base.programs import end_process
from moonbow.world import load_world

from .stage import Stage

READY_S = 240.0  # with data nodes, which copy everything once; usually 10 s
STOP_S = 120.0


class _Said(msgspec.Struct, frozen=True):
    ready: bool = False
    problems: list[str] = []


class PrivateStage(Stage):
    """A world of the drill's own, which may be stopped as a whole, and started again in the same folder."""

    def __init__(self, state: Path, file: Path, launcher: asyncio.subprocess.Process) -> None:
        super().__init__(state)
        self.file, self.launcher = file, launcher

    async def stop_world(self) -> None:
        """End every process of the world, in order."""
        await end_process(self.launcher, STOP_S)

    async def start_world(self) -> None:
        """Start it again; returns when all of it is ready."""
        self.launcher = await _launch(self.file, self.state)
        await _until_ready(self.launcher)


@contextlib.asynccontextmanager
async def private_world(world_file: Path, slot: int, keep: bool = False) -> AsyncGenerator[Stage]:
    """The world of `world_file` in another `slot`, ready; stopped and removed afterwards unless `keep`."""
    text = in_slot(world_file, slot)
    folder = Path(tempfile.mkdtemp(prefix="moonbow-drill-"))
    state = folder / "state"
    try:
        file = folder / "world.toml"
        file.write_text(text)
        launcher, stage = await _launch(file, state), None
        try:
            await _until_ready(launcher)
            stage = PrivateStage(state, file, launcher)
            yield stage
        finally:
            await end_process(stage.launcher if stage is not None else launcher, STOP_S)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def in_slot(world_file: Path, slot: int) -> str:
    """The text of a sound world file with its `slot` replaced."""
    load_world(world_file)
    lines = [line for line in world_file.read_text().splitlines() if not line.replace(" ", "").startswith("slot=")]
    return f"slot = {slot}\n" + "\n".join(lines) + "\n"


async def _launch(file: Path, state: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "moonbow.launch", "--world", str(file), "--state", str(state)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the drill, which then stops the world in order
    )


async def _until_ready(launcher: asyncio.subprocess.Process) -> None:
    assert launcher.stdout is not None
    try:
        async with asyncio.timeout(READY_S):
            async for line in launcher.stdout:
                said = msgspec.json.decode(line, type=_Said)
                if said.problems:
                    raise ConfigError(*said.problems)
                if said.ready:
                    return
    except TimeoutError:
        raise ConfigError(f"the private world was not ready within {READY_S:g} s") from None
    raise ConfigError(f"the private world's launcher ended with {await launcher.wait()}")
