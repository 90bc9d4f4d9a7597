"""What an independent reader found in two logs, compared in the manner of Jepsen's checker for Kafka.

The source's log as a read_committed reader sees it is the truth: its records, in its order. The sink's must be the
same. Nothing here knows what a record holds: it is told by a number, which no other record of its partition has, and by
a digest of all that a reader sees of it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Where = tuple[str, int]
"""A topic and a partition of it."""

NO_NUMBER: Final = -1
"""The number of a record that no load made."""
_SHOWN: Final = 5  # examples of each kind in a partition


class Log:
    """One partition, as a reader saw it: numbers, digests and offsets, in the order of reading."""

    def __init__(self, records: Iterable[tuple[int, int, int]] = ()) -> None:
        self.numbers, self.digests, self.offsets = array("q"), array("Q"), array("q")
        for record in records:
            self.add(*record)

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, number: int, digest: int, offset: int) -> None:
        """Take the next one."""
        self.numbers.append(number)
        self.digests.append(digest)
        self.offsets.append(offset)


class Reading(NamedTuple):
    """One partition of a cluster, read twice: as read_committed and as read_uncommitted shows it."""

    committed: Log
    everything: Log


@dataclass
class Found:
    """What differs in one partition. ``words`` name the first few of each kind.

    ``lost`` is in the source and not at the sink; ``holes`` of these have a later one at the sink. ``duplicated`` came
    again, ``reordered`` came after a later one, ``altered`` has the number of a record of the source and is another.
    ``aborted`` is of a transaction that was aborted at the source, and is at the sink, in whatever transaction;
    ``foreign`` nobody sent.
    """

    lost: int = 0
    holes: int = 0
    duplicated: int = 0
    reordered: int = 0
    altered: int = 0
    aborted: int = 0
    foreign: int = 0
    words: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.words

    def add(self, kind: str, words: str, count: int = 1) -> None:
        """Count one, or a run of some, and keep its words where they are among the first."""
        before = getattr(self, kind)
        setattr(self, kind, before + count)
        if before < _SHOWN:
            self.words.append(f"{kind}: {words}")


def check(source: Reading, sink: Reading) -> Found:
    """Compare one partition.

    Raises:
        ValueError: the source holds a number twice, so nothing can be told.
    """
    found = Found()
    ours = source.committed
    index = {number: at for at, number in enumerate(ours.numbers)}
    if len(index) != len(ours):
        raise ValueError("the load repeats itself: a number is twice in the source")
    aborted = set(source.everything.numbers) - index.keys()
    seen = bytearray(len(ours))
    top = -1
    for number, digest, offset in zip(
        sink.committed.numbers, sink.committed.digests, sink.committed.offsets, strict=True
    ):
        at = index.get(number)
        if at is None:
            kind = "aborted" if number in aborted else "foreign"
            found.add(kind, f"number {number} at sink offset {offset}")
            continue
        if digest != ours.digests[at]:
            found.add("altered", f"number {number} at sink offset {offset}, source offset {ours.offsets[at]}")
        if seen[at]:
            found.add("duplicated", f"number {number} again at sink offset {offset}, source offset {ours.offsets[at]}")
        elif at < top:
            late = f"number {number} at sink offset {offset}, source offset {ours.offsets[at]}"
            found.add("reordered", f"{late}, after number {ours.numbers[top]}")
        seen[at] = 1
        top = max(top, at)
    _look_for_lost(found, ours, seen, top)
    _look_behind(found, sink, index, aborted)
    return found


def _look_for_lost(found: Found, ours: Log, seen: bytearray, top: int) -> None:
    at = seen.find(0)
    while at >= 0:
        until = seen.find(1, at)
        end = len(seen) if until < 0 else until
        span = f"source offsets {ours.offsets[at]} to {ours.offsets[end - 1]}"
        hole = at < top
        beyond = "though later ones are there" if hole else "and nothing later is there"
        found.add("lost", f"{end - at} records, {span}, {beyond}", end - at)
        if hole:
            found.holes += end - at
        at = seen.find(0, end)


def _look_behind(found: Found, sink: Reading, index: Mapping[int, int], aborted: set[int]) -> None:
    """What a reader that sees aborted transactions too finds at the sink must at least be of the source."""
    told = set(sink.committed.offsets)
    for number, offset in zip(sink.everything.numbers, sink.everything.offsets, strict=True):
        if number not in index and offset not in told:
            kind = "aborted" if number in aborted else "foreign"
            found.add(kind, f"number {number} at sink offset {offset}, which read_committed does not show")


class Totals(NamedTuple):
    """The last line's figures. ``altered`` counts whatever is at the sink and is no record of the source."""

    records: int
    lost: int
    duplicated: int
    reordered: int
    altered: int
    unnoticed: int

    @property
    def clean(self) -> bool:
        return not any(self[1:])


def total(records: int, found: Mapping[Where, Found], said: Mapping[Where, str]) -> Totals:
    """Add up. ``said`` has the words with which a worker names a source partition that does not flow.

    Unnoticed is a partition that lacks records at the sink while no worker says so, or that was passed over: with
    later ones at the sink, whatever is said.
    """
    each = found.values()
    lacking = [where for where, one in found.items() if one.lost]
    return Totals(
        records,
        sum(one.lost for one in each),
        sum(one.duplicated for one in each),
        sum(one.reordered for one in each),
        sum(one.altered + one.aborted + one.foreign for one in each),
        sum(bool(found[where].holes) or not said.get(where) for where in lacking),
    )
