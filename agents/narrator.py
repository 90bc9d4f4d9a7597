"""What ended is said as well: a worker that is ready again, source partitions that go on, topics that are there now.

What begins to wait is told where it happens, with its cause. Whether it ended is seen by comparing two snapshots.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from sealwire.agents.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)
FEW = 3
"""What happens to more topics than these at once is one line: a cluster that is away has hundreds of them."""
_FLOWING = "flowing"


class Narrator:
    """Hears the worker's snapshots, one after the other, and says what changed: a line each, or one of all."""

    def __init__(self) -> None:
        self._ready: bool | None = None
        self._stuck: set[tuple[Any, ...]] = set()
        self._troubles: set[str] = set()

    def hear(self, snapshot: Mapping[str, Any]) -> None:
        """Say what is new since the last one."""
        self._readiness(snapshot)
        self._partitions(snapshot)
        troubles = set(snapshot["troubles"])
        over = sorted(self._troubles - troubles)
        if len(over) > FEW:
            _log.info("topic %s and %d more: go on", over[0], len(over) - 1)
        else:
            for topic in over:
                _log.info("topic %s: goes on", topic)
        self._troubles = troubles

    def _readiness(self, snapshot: Mapping[str, Any]) -> None:
        ready = bool(snapshot["ready"])
        if ready and not self._ready:
            _log.info("ready" if self._ready is None else "ready again")
        elif self._ready and not ready and "stopping" not in snapshot["causes"]:
            # The whole of it was said by who found it, and is in the status.
            _log.warning("not ready: %s", ", ".join(snapshot["causes"]))
        if ready or self._ready is not None:  # a start is no loss of anything
            self._ready = ready

    def _partitions(self, snapshot: Mapping[str, Any]) -> None:
        now = {_name(row): "stale" if row.get("stale") else row["state"] for row in snapshot["partitions"]}
        freed = Counter(name[:3] for name in self._stuck if now.get(name) == _FLOWING)
        if len(freed) > FEW:
            _log.info("%d source partitions of %d topics go on", freed.total(), len(freed))
        else:
            for (channel, site, topic), many in sorted(freed.items()):
                of = f"{count(many, 'source partition')} of {topic} at {site}"
                _log.info("%s: %s %s on", channel, of, "goes" if many == 1 else "go")
        self._stuck = {name for name, state in now.items() if state != _FLOWING}


def _name(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["channel"], row["site"], row["topic"], row["partition"]
