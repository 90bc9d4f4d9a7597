"""Everything that ages is made anew while faults happen: sessions, receiving keys, credentials, identity keys."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from sealwire.app.config import require
from sealwire.app.rotating import order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kafka_world import Node

_WAITS: Final = 20.0  # seconds for the answer of a worker that may be frozen, cut off or starting just now


class Rotations(threading.Thread):
    """Orders all of it from every worker, every so many seconds, as `sealwire rotate NODE.yaml all` does."""

    def __init__(self, nodes: Sequence[Node], every: float) -> None:
        super().__init__(daemon=True)
        self._nodes, self._every = [require(node.file) for node in nodes], every
        self._ended = threading.Event()
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        with ThreadPoolExecutor(len(self._nodes)) as pool:
            while not self._ended.wait(self._every):
                for answers in pool.map(lambda node: order(node, "all", _WAITS), self._nodes):
                    for each in answers:
                        self.done.update(what for what, _words in each.done or ())
                        self.done["not answered in time"] += each.done is None

    def stop(self) -> None:
        self._ended.set()
        self.join(_WAITS + 10)
