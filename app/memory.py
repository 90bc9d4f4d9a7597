"""A process that holds secrets: no core file of it is written, and no debugger of the same user looks into it."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # Linux, prctl(2)


def keep_private() -> None:
    """Let nobody but root look into this process from now on, dead or alive. Programs that it starts are as ever.

    The limit alone would not do where cores go to a program (core(5): a pipe is not bound by it). Secrets that are
    done with may stay in freed memory all the same: Python objects cannot be wiped.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
