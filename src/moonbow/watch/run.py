"""Runs an audit in a process of its own, for whoever wants to know what came of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

import msgspec

from moonbow.base.errors import ConfigError

from .audit import Line
from .model import Progress, Report

END_S = 10.0  # for the process to go once it has reported


def run_audit(state: Path, tell: Callable[[Progress], None] = lambda progress: None) -> Report:
    """One audit of the world in `state`; `ConfigError` with what kept it from its work."""
    words = [sys.executable, "-P", "-m", "moonbow.watch.audit", "--state", str(state)]
    with TemporaryFile() as said, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said) as process:
        assert process.stdout is not None
        try:
            for raw in process.stdout:
                line = msgspec.json.decode(raw, type=Line)
                if line.problems:
                    raise ConfigError(*line.problems)
                if line.report is not None:
                    process.wait(END_S)
                    return line.report
                if line.progress is not None:
                    tell(line.progress)
        except BaseException:
            process.kill()
            raise
        process.wait()
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-5:]
        raise ConfigError(f"the audit ended with {process.returncode} before it was done", *last)
