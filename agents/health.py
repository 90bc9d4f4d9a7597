"""Whether this worker is alive: its loop turns, its lanes tick, and the tasks that read and write are there.

Being cut off from a cluster is no reason to be stopped: that is `ready`, which the worker's snapshot tells. What is
stuck for a minute ends the process, so that whoever keeps it starts it again; systemd is told so too (sd_notify(3)).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import faust

    from sealwire.agents.lanes import Lanes

_log = logging.getLogger(__name__)
_LOOK_EVERY = 1.0  # seconds
_STUCK_AFTER = 30.0  # seconds without a turn of the lanes, which tick every second when nothing else moves
_ENDS_AFTER = 60.0  # seconds that something is stuck before the worker ends
_GONE_AFTER = 20.0  # seconds that it may take for that
_REMEMBERED: Final = 60  # looks whose lateness is remembered: a minute


class Stuck(Exception):
    """The worker does not move any more, and what it waits for is nothing outside."""


class Health:
    """Looks at itself every second. ``why`` says what is stuck; empty when nothing is."""

    def __init__(self, app: faust.App, *, systemd: str | None = None) -> None:
        self._app = app
        self._systemd = os.environ.get("NOTIFY_SOCKET", "") if systemd is None else systemd
        self._late: deque[float] = deque(maxlen=_REMEMBERED)
        self._lanes: Lanes | None = None
        self._ended: Callable[[], Iterable[str]] = tuple
        self._turned_at = -1.0
        self._turns = -1
        self._stuck_since = -1.0
        self.why = ""

    @property
    def loop_lag(self) -> float:
        """By how many seconds the loop was late at worst in the last minute."""
        return round(max(self._late, default=0.0), 3)

    def watch(self, lanes: Lanes, ended: Callable[[], Iterable[str]]) -> None:
        """Look at these lanes from now on, and at the loops that ``ended`` names once they are no more."""
        self._lanes, self._ended = lanes, ended

    async def keep(self) -> None:
        """Look, for ever; raises Stuck when something has been stuck for too long."""
        loop = asyncio.get_running_loop()
        self.tell("READY=1")
        while True:
            due = loop.time() + _LOOK_EVERY
            await asyncio.sleep(_LOOK_EVERY)
            now = loop.time()
            self._late.append(max(now - due, 0.0))
            self._look(now)
            if not self.why:
                self._stuck_since = -1.0
                self.tell("WATCHDOG=1")
                continue
            if self._stuck_since < 0:
                self._stuck_since = now
                _log.error("stuck: %s", self.why)
            elif now - self._stuck_since >= _ENDS_AFTER:
                # Ending in order may be what cannot be done any more.
                loop.call_later(_GONE_AFTER, os._exit, 1)
                raise Stuck(self.why)

    def _look(self, now: float) -> None:
        ended = sorted(self._ended())
        if ended:
            self.why = f"{', '.join(ended)} ended"
            return
        lanes = self._lanes
        # Faust gives no turn in a rebalance or a recovery, which last for as long as its cluster is away.
        excused = lanes is None or not lanes.open or self._app.rebalancing or self._app.in_recovery
        if excused or lanes is None or lanes.turns != self._turns:
            self._turned_at, self._turns = now, -1 if lanes is None else lanes.turns
        quiet = now - self._turned_at
        self.why = f"no lane had a turn for {quiet:.0f} s" if quiet >= _STUCK_AFTER else ""

    def tell(self, state: str) -> None:
        """Tell systemd, where it started us; it may be away at any time."""
        if not self._systemd:
            return
        address = "\0" + self._systemd[1:] if self._systemd.startswith("@") else self._systemd
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
            speaking.settimeout(0)
            speaking.sendto(state.encode(), address)
