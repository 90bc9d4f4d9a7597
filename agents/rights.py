"""What a cluster does not let our login do: named, said once, and over as soon as it is granted."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import Final, Literal

_log = logging.getLogger(__name__)

Operation = Literal["Read", "Write", "Create", "Alter", "Describe"]

# Error codes by Kafka's protocol guide: what may be granted at any moment is no refusal for good.
TOPIC_FORBIDDEN: Final = 29
GROUP_FORBIDDEN: Final = 30
CLUSTER_FORBIDDEN: Final = 31
TRANSACTION_FORBIDDEN: Final = 53


def lacking(operation: str, what: str, bootstrap: str) -> str:
    """Say which right is lacking for what (``topic orders``, ``group x``), and where to look."""
    return f"our login at {bootstrap} may not {operation.lower()} {what}: grant {operation} on it (docs/RIGHTS.md)"


class Rights:
    """The rights that one client of ours lacks, by topic or transactional id. Empty when nothing is refused."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.lacking: dict[str, str] = {}
        self._since: dict[str, float] = {}  # when what lacks was refused last, on the loop's clock

    def refused(self, operation: Operation, name: str, kind: str = "topic") -> str:
        """Note what was refused; gives the words, which go into the log the first time."""
        words = lacking(operation, f"{kind} {name}", self._bootstrap)
        if name not in self.lacking:
            _log.warning("%s; trying again", words)
        self.lacking[name], self._since[name] = words, asyncio.get_running_loop().time()
        return words

    def granted(self, name: str, kind: str = "topic", asked: float = inf) -> None:
        """Note that it is let do what it asked for, ``asked`` on the loop's clock.

        What was asked before the last refusal gives nothing back: a long poll is judged when it begins, and may be
        answered after the right was taken away.
        """
        if name in self.lacking and asked >= self._since[name]:
            del self.lacking[name], self._since[name]
            _log.warning("our login at %s may use %s %s now", self._bootstrap, kind, name)
