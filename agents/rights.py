"""What a cluster does not let our login do: named, said once, and over as soon as it is granted."""

from __future__ import annotations

import logging
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

    def refused(self, operation: Operation, name: str, kind: str = "topic") -> str:
        """Note what was refused; gives the words, which go into the log the first time."""
        words = lacking(operation, f"{kind} {name}", self._bootstrap)
        if name not in self.lacking:
            _log.warning("%s; trying again", words)
        self.lacking[name] = words
        return words

    def granted(self, name: str, kind: str = "topic") -> None:
        """Note that it is let do what it asked for."""
        if self.lacking and self.lacking.pop(name, ""):
            _log.warning("our login at %s may use %s %s now", self._bootstrap, kind, name)
