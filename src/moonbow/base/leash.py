"""A leash: what a child does before it becomes its program, so that it dies with the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def leash() -> Callable[[], None]:
    """For `preexec_fn`: the child is killed when the starting thread's process dies, even if it hangs then (prctl(2)).

    Start children from the main thread: the kernel watches the thread, not the process.
    """
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def attach() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the leash was on
            os._exit(1)

    return attach
