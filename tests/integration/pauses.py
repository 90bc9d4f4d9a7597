"""How long partitions of the sink get nothing that a read_committed reader would see."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checker import Where
    from kafka_cluster import KafkaCluster

_EVERY: Final = 0.1  # seconds
_ANSWERS: Final = 3.0  # seconds for all answers of one look together
_IN_HAND: Final = 3.0  # seconds after a kill in which what was on its way still comes
_SILENT: Final = 1.5  # seconds: a partition that has got nothing for so long before a kill tells nothing of it


class Pauses(threading.Thread):
    """Keeps the times at which each partition of the sink grew. The load must reach each several times a second."""

    def __init__(self, sink: KafkaCluster, places: Sequence[Where]) -> None:
        super().__init__(daemon=True)
        self._admin = AdminClient({"bootstrap.servers": sink.bootstrap, "log_level": 0})
        self._places = places
        self._ended = threading.Event()
        self._ends: dict[Where, int] = {}
        self.grew: dict[Where, list[float]] = defaultdict(list)

    def run(self) -> None:
        while not self._ended.wait(_EVERY):
            self._look()

    def stop(self) -> None:
        self._ended.set()
        self.join(30)

    def _look(self) -> None:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = dict.fromkeys((TopicPartition(*place) for place in self._places), latest)
        level, until = IsolationLevel.READ_COMMITTED, time.monotonic() + _ANSWERS
        for each, future in self._admin.list_offsets(wanted, isolation_level=level, request_timeout=2).items():
            try:
                end = future.result(max(until - time.monotonic(), 0)).offset
            except (KafkaException, TimeoutError):  # its broker is away, or its topic is not there yet
                continue
            place = (each.topic, each.partition)
            if end != self._ends.get(place):
                self._ends[place] = end
                self.grew[place].append(time.monotonic())

    def after(self, killed: float, places: Iterable[Where]) -> float | None:
        """Seconds from a kill until the last of these partitions was delivered to again; None where nothing is told."""
        return max((each for place in places if (each := pause(self.grew[place], killed)) is not None), default=None)


def pause(grew: Sequence[float], killed: float) -> float | None:
    """Find the longest pause that began about the kill; from the kill to its end."""
    begin = bisect_right(grew, killed - _SILENT)
    near = [pair for pair in pairwise(grew[begin:]) if pair[0] < killed + _IN_HAND]
    if not near or near[-1][1] < killed:
        return None
    _, end = max(near, key=lambda pair: pair[1] - pair[0])
    return max(end - killed, 0.0)
