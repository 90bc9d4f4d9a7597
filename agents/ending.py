"""The end of a worker, within a time: what is ours is written first, then Faust may say its goodbyes.

With its cluster away Faust waits for a minute and more: for a changelog to be flushed, for a group to be left. Nothing
that counts is in that: cursors and positions are ours, tables are working copies.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

import faust

_log = logging.getLogger(__name__)
ENDS_WITHIN = 20.0  # seconds from the signal to the end; systemd and `sealwire up` give 30
FOR_GOOD = 2  # exit code of what no new start cures: `sealwire up` and our units do not start it again


def end_for_good(app: Any, why: str) -> None:  # noqa: ANN401
    """Let the process of a Faust app end in order, as if it had been asked to, and not be started again."""
    if not app.ends_for:
        app.ends_for = why
        _log.error("this worker ends, and is not to be started again as it is: %s", why)
        os.kill(os.getpid(), signal.SIGTERM)


class PunctualWorker(faust.Worker):  # type: ignore[misc]
    """Faust's worker process, which ends in time whatever it waits for."""

    _last: threading.Timer | None = None

    async def stop(self) -> None:
        """Stop in order; the process ends after ENDS_WITHIN at the latest."""
        if self._last is None:
            # A thread: the loop may be what is stuck, and threads that wait for a broker hold up Python's own end.
            self._last = threading.Timer(ENDS_WITHIN, _end, (self,))
            self._last.daemon = True
            self._last.start()
        await super().stop()

    def execute_from_commandline(self) -> None:
        """Run to the end; what ends for good says so by its exit code."""
        try:
            super().execute_from_commandline()
        except SystemExit as ended:
            if getattr(self.app, "ends_for", ""):
                raise SystemExit(FOR_GOOD) from ended
            raise


def _end(worker: Any) -> None:  # noqa: ANN401
    failed = worker.crashed or worker.app.crashed
    _log.warning("not ended %.0f s after it began to stop: a cluster does not answer. It ends now", ENDS_WITHIN)
    os._exit(FOR_GOOD if getattr(worker.app, "ends_for", "") else 1 if failed else 0)
