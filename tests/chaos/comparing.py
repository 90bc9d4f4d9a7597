"""Source and sink compared once all should be there: waits for it, for as long as that may take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from checker import Found, Reading, Where, check
from reading import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kafka_cluster import KafkaCluster

WHOLE_WITHIN: Final = 180.0  # seconds from the end of the load until the sink has all of it
SETTLED: Final = 3.0  # seconds without anything new at the sink


def compare(source: KafkaCluster, sink: KafkaCluster, places: Sequence[Where]) -> tuple[int, dict[Where, Found]]:
    """Wait until the sink has all, or for as long as it may take; how many the source has, and what differs."""
    here, there = Reader(source, places), Reader(sink, places)
    ours = here.readings()
    until, grown, count = time.monotonic() + WHOLE_WITHIN, time.monotonic(), 0
    while not (_whole(ours, there) and time.monotonic() - grown > SETTLED) and time.monotonic() < until:
        now = there.committed.read_on()
        if now != count:
            grown, count = time.monotonic(), now
        time.sleep(0.5)
    theirs = there.readings()
    return sum(len(each.committed) for each in ours.values()), {
        place: check(ours[place], theirs[place]) for place in places
    }


def _whole(ours: Mapping[Where, Reading], sink: Reader) -> bool:
    """Whether each partition of the sink has as many as the source, and ends with the same one."""
    pairs = [(each.committed.numbers, sink.committed.logs[place].numbers) for place, each in ours.items()]
    return all(len(theirs) >= len(one) and theirs[-1:] == one[-1:] for one, theirs in pairs)
