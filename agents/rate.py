"""How often something may be done: so many times of a kind in any minute."""

from __future__ import annotations

import asyncio
from collections import deque

_MINUTE = 60.0  # seconds


class Rate:
    """Lets through the first so many of each kind in any minute."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}

    def allows(self, kind: str, most: int) -> bool:
        """Tell whether one more of a kind is let through now, which ``most`` are in a minute; it counts then."""
        now = asyncio.get_running_loop().time()
        recent = self._recent.setdefault(kind, deque())
        while recent and recent[0] <= now - _MINUTE:
            recent.popleft()
        if len(recent) >= most:
            return False
        recent.append(now)
        return True
