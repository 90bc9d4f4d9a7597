"""The one clock of the agents."""

from __future__ import annotations

import time


def now() -> int:
    """Return the time in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000
