"""The kinds of topic that must arrive as they were: what is in each, how it passes, which client cannot write it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import matrix_records as r
import matrix_scripts as s
from matrix_records import HOUR, MB, Record
from matrix_writers import FILLED, WRITERS, Manner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matrix_stored import Batch

QUICK: Final = (1_000, 16 * MB)  # records and bytes of a topic at most
FULL: Final = (10_000, 64 * MB)
USUAL: Final = Manner()
FOREVER: Final = str(2**63 - 1)
RAISED: Final = {"message.timestamp.after.max.ms": FOREVER}


class Way(StrEnum):
    """How the batches of a kind get from the source to the sink."""

    WHOLE = "whole"  # byte for byte but for what a broker stamps; those under 64 kB may be merged
    MERGED = "merged"  # small ones become larger ones
    SLOW = "slow path"  # decoded and encoded again
    WAITS = "waits, then whole"
    NOTHING = "nothing to deliver"


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of topic. ``size`` is about what a record has in bytes, for the bound of the whole."""

    group: str
    name: str
    manner: Manner = USUAL
    record_key: Callable[[int], bytes | None] = r.repeated
    value: Callable[[int], bytes | None] = r.text
    headers: Callable[[int], r.Headers] = r.no_headers
    time: Callable[[int], int | None] = r.in_order
    script: Callable[[s.Scene], None] = s.plain
    way: Way = Way.WHOLE
    partitions: int = 1
    used: tuple[int, ...] = ()  # partitions that get records, where not all do
    size: int = 400
    exactly: int = 0  # records, in the quick matrix too
    topic: Mapping[str, str] = field(default_factory=dict)
    sink: Mapping[str, str] | None = None  # of a sink topic that an operator made before; else the mirror makes it
    ahead: bool = False  # it must be old when sealing begins
    cannot: Mapping[str, str] = field(default_factory=dict)  # client: why
    holds: Callable[[Sequence[Batch]], bool] | None = None  # whether the source topic became what its name says

    def record(self, n: int) -> Record:
        """Make the record with the number n."""
        used = self.used or range(self.partitions)
        return Record(used[n % len(used)], self.record_key(n), self.value(n), self.headers(n), self.time(n))

    def count(self, most: tuple[int, int]) -> int:
        return self.exactly or max(min(most[0], most[1] // self.size), 2)

    @property
    def first(self) -> bool:
        """Whether it is written before sealing begins; small batches are, so that a backlog is sure to be merged."""
        return self.ahead or self.way is Way.MERGED

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def writers(self) -> tuple[str, ...]:
        return tuple(writer for writer in WRITERS if writer not in self.cannot)


def _codec(number: int) -> Callable[[Sequence[Batch]], bool]:
    return lambda batches: {each.codec for each in batches} == {number}


def _one_each(batches: Sequence[Batch]) -> bool:
    """But for some of Java's: with a codec it reckons by a ratio, and now and then a second record fits."""
    return sum(each.count == 1 for each in batches) > 0.8 * len(batches)


def _a_few_each(batches: Sequence[Batch]) -> bool:
    return all(each.size < 8_000 for each in batches) and max(each.count for each in batches) > 1


def _hundred_thousand(batches: Sequence[Batch]) -> bool:
    return max(each.count for each in batches) == 100_000


def _larger_than(size: int) -> Callable[[Sequence[Batch]], bool]:
    return lambda batches: max(each.size for each in batches) > size


def _many_codecs(batches: Sequence[Batch]) -> bool:
    return {each.codec for each in batches} == set(range(5))


def _mingled(batches: Sequence[Batch]) -> bool:
    codecs = [each.codec for each in batches]
    return set(codecs) == set(range(5)) and sum(a != b for a, b in pairwise(codecs)) > 20


def _log_append(batches: Sequence[Batch]) -> bool:
    return all(each.log_append for each in batches)


def _transactions(batches: Sequence[Batch]) -> bool:
    return any(each.control for each in batches) and any(each.transactional and not each.control for each in batches)


def _transactional(batches: Sequence[Batch]) -> bool:
    return any(each.transactional for each in batches) and not all(each.transactional for each in batches)


def _holes(batches: Sequence[Batch]) -> bool:
    return any(each.holes for each in batches)


def _range_gone(batches: Sequence[Batch]) -> bool:
    return batches[0].base > 500 or any(b.base - a.last > 500 for a, b in pairwise(batches))


def _million_gone(batches: Sequence[Batch]) -> bool:
    return batches[0].base > 2**20


def _horizons(batches: Sequence[Batch]) -> bool:
    return any(each.horizon for each in batches)


_COMPACT: Final = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.0",
    "segment.ms": str(HOUR),
    "delete.retention.ms": str(24 * HOUR),
}


def _survivors(n: int) -> bytes:
    """Most record keys come again and again; every seventh only once, so that single records stay everywhere."""
    return b"once-%d" % n if n % 7 == 0 else b"again-%d" % (n % 50)


def _superseded(n: int) -> bytes:
    """The first nine tenths of any count say what the rest says again."""
    return b"of ten-%d" % (n % 50)


def _mortal(n: int) -> bytes | None:
    return None if n % 3 == 0 else r.text(n)


_NO_LEVEL: Final = "no such setting"
_NULLS: Final = {"aiokafka": "refuses a record without record key and value"}
_JAVA_NO_TIME: Final = {"java": "refuses negative timestamps"}
_RD_NO_ZERO: Final = {"librdkafka": "takes 0 for its own clock"}

KINDS: Final = (
    # Codecs
    Kind("codecs", "uncompressed", holds=_codec(0)),
    Kind("codecs", "gzip", Manner("gzip"), holds=_codec(1)),
    Kind("codecs", "snappy", Manner("snappy"), holds=_codec(2)),
    Kind("codecs", "lz4", Manner("lz4"), holds=_codec(3)),
    Kind("codecs", "zstd", Manner("zstd"), holds=_codec(4)),
    Kind("codecs", "gzip level 9", Manner("gzip", 9), cannot={"aiokafka": _NO_LEVEL}, holds=_codec(1)),
    Kind("codecs", "lz4 level 12", Manner("lz4", 12), cannot={"aiokafka": _NO_LEVEL}, holds=_codec(3)),
    Kind("codecs", "zstd level 1", Manner("zstd", 1), cannot={"aiokafka": _NO_LEVEL}, holds=_codec(4)),
    Kind("codecs", "zstd level 12", Manner("zstd", 12), cannot={"aiokafka": _NO_LEVEL}, holds=_codec(4)),
    Kind(
        "codecs", "zstd level 19", Manner("zstd", 19), holds=_codec(4),
        cannot={"aiokafka": _NO_LEVEL, "librdkafka": "levels up to 12"},
    ),
    Kind("codecs", "every codec in turn", script=s.codecs_in_turn, partitions=2, holds=_many_codecs),
    Kind("codecs", "every codec mingled", script=s.several_at_once, holds=_mingled),
    # Batches
    Kind("batches", "one record a batch", Manner(batch=1), way=Way.MERGED, partitions=3, holds=_one_each),
    Kind("batches", "one lz4 record a batch", Manner("lz4", batch=1), way=Way.MERGED, partitions=3, holds=_one_each),
    Kind(
        "batches", "one snappy record a batch", Manner("snappy", batch=1), way=Way.MERGED, partitions=3,
        holds=_one_each,
    ),
    Kind("batches", "one zstd record a batch", Manner("zstd", batch=1), way=Way.MERGED, partitions=3, holds=_one_each),
    Kind("batches", "a few records a batch", Manner(batch=3_000), way=Way.MERGED, holds=_a_few_each),
    Kind("batches", "a few gzip records a batch", Manner("gzip", batch=3_000), way=Way.MERGED, holds=_a_few_each),
    Kind(
        "batches", "100,000 records a batch", Manner(batch=8 * MB, linger=FILLED), value=r.short, exactly=100_000,
        holds=_hundred_thousand,
    ),
    Kind(
        "batches", "100,000 snappy records a batch", Manner("snappy", batch=8 * MB, linger=FILLED), value=r.short,
        exactly=100_000, holds=_hundred_thousand,
    ),
    Kind(
        "batches", "larger than a chunk", Manner(batch=3 * MB, linger=FILLED), value=r.noise(5_000), size=5_100,
        holds=_larger_than(2 * MB),
    ),
    Kind(
        "batches", "larger than a chunk, lz4", Manner("lz4", batch=3 * MB, linger=FILLED), value=r.noise(5_000),
        size=5_100, partitions=2, holds=_larger_than(2 * MB),
    ),
    Kind(
        "batches", "a thousandth once compressed", Manner("zstd", batch=MB, linger=FILLED), value=r.zeros(50_000),
        size=50_000, holds=_codec(4),
    ),
    # Record keys
    Kind("record keys", "null record keys", record_key=r.nothing),
    Kind("record keys", "empty record keys", record_key=r.empty),
    Kind("record keys", "null, empty and other record keys", record_key=r.of(r.nothing, r.empty, r.digits)),
    Kind("record keys", "Unicode record keys", record_key=r.unicode_text),
    Kind("record keys", "binary record keys", record_key=r.binary, value=r.binary),
    Kind("record keys", "record keys of 100 kB", record_key=r.noise(100_000), size=100_400),
    # Values
    Kind("values", "tombstones", value=r.nothing),
    Kind("values", "empty values", value=r.empty),
    Kind("values", "null, empty and other values", value=r.of(r.nothing, r.empty, r.text)),
    Kind("values", "record key and value empty", record_key=r.empty, value=r.empty),
    Kind("values", "record key and value null", record_key=r.nothing, value=r.nothing, cannot=_NULLS),
    Kind("values", "Unicode values", Manner("gzip"), value=r.unicode_text),
    # Headers
    Kind("headers", "some headers", headers=r.usual_headers),
    Kind("headers", "null header values", headers=r.null_headers),
    Kind("headers", "empty header values", headers=r.empty_headers),
    Kind("headers", "repeated header names", headers=r.repeated_headers),
    Kind("headers", "200 headers", Manner("lz4"), headers=r.many_headers, size=3_000),
    Kind("headers", "empty header names", headers=r.nameless_headers),
    Kind("headers", "header values that are no UTF-8", headers=r.binary_headers),
    Kind("headers", "Unicode header names", headers=r.unicode_headers),
    Kind("headers", "headers of 130 kB", Manner("zstd"), headers=r.large_headers, size=130_400),
    # Sizes
    Kind("sizes", "records of 1 MB", value=r.noise(MB), size=MB),
    Kind("sizes", "records of 1 MB, gzip", Manner("gzip"), value=r.noise(MB), size=MB, partitions=2),
    Kind("sizes", "records of 8 MB", value=r.noise(8 * MB), size=8 * MB),
    Kind("sizes", "records of 8 MB, snappy", Manner("snappy"), value=r.noise(8 * MB), size=8 * MB),
    Kind("sizes", "records of 8 MB that compress", Manner("lz4"), value=r.zeros(8 * MB), size=8 * MB),
    Kind("sizes", "sizes from null to 200 kB", Manner("lz4"), value=r.any_size, size=4_500, partitions=3),
    # Times
    Kind("times", "timestamp -1", time=r.none_at_all, cannot=_JAVA_NO_TIME),
    Kind("times", "timestamp 0", time=r.zero, cannot=_RD_NO_ZERO),
    Kind("times", "the producer's clock", time=r.clock, value=r.short),
    Kind("times", "far future", time=r.far_future, topic=RAISED, sink=RAISED),
    Kind("times", "out of order", Manner("lz4"), time=r.disordered),
    Kind("times", "millennia apart", time=r.ages, topic=RAISED, sink=RAISED),
    Kind(
        "times", "log-append time", topic={"message.timestamp.type": "LogAppendTime"}, way=Way.SLOW, holds=_log_append
    ),
    Kind(
        "times", "log-append time, zstd", Manner("zstd"), topic={"message.timestamp.type": "LogAppendTime"},
        way=Way.SLOW, holds=_log_append,
    ),
    Kind(
        "times", "log-append time, snappy", Manner("snappy"), topic={"message.timestamp.type": "LogAppendTime"},
        way=Way.SLOW, holds=_log_append,
    ),
    # Transactions
    Kind("transactions", "committed", script=s.committed, partitions=2, holds=_transactions),
    Kind("transactions", "committed, zstd", Manner("zstd"), script=s.committed, holds=_transactions),
    Kind("transactions", "every other one aborted", script=s.aborted, partitions=2, holds=_transactions),
    Kind("transactions", "all aborted", script=s.all_aborted, way=Way.NOTHING, holds=_transactions),
    Kind("transactions", "interleaved", script=s.interleaved, way=Way.MERGED, holds=_transactions),
    Kind("transactions", "interleaved, lz4", Manner("lz4"), script=s.interleaved, way=Way.MERGED, holds=_transactions),
    Kind("transactions", "one left open", script=s.left_open, way=Way.WAITS, holds=_transactional),
    # Producers
    Kind("producers", "acks=1, no idempotence", Manner(acks="1")),
    Kind("producers", "acks=0", Manner("snappy", acks="0")),
    Kind("producers", "idempotent", Manner("gzip", idempotent=True), partitions=2),
    Kind("producers", "several at once", Manner(idempotent=True), script=s.several_producers, way=Way.MERGED),
    # Compacted
    Kind(
        "compacted", "with holes", record_key=_survivors, script=s.compacted, topic=_COMPACT, way=Way.SLOW, ahead=True,
        holds=_holes,
    ),
    Kind(
        "compacted", "with holes, lz4", Manner("lz4"), record_key=_survivors, script=s.compacted, topic=_COMPACT,
        way=Way.SLOW, ahead=True, holds=_holes,
    ),
    Kind(
        "compacted", "whole ranges gone", Manner(batch=20_000), record_key=_superseded, script=s.compacted,
        topic=_COMPACT, way=Way.SLOW, ahead=True, holds=_range_gone,
    ),
    Kind(
        "compacted", "more than a million offsets gone", Manner("lz4", batch=2 * MB, linger=FILLED),
        record_key=_superseded, value=r.short, exactly=1_200_000, script=s.compacted, topic=_COMPACT, way=Way.SLOW,
        ahead=True, holds=_million_gone,
    ),
    Kind(
        "compacted", "emptied batches of an idempotent producer", Manner(batch=20_000, idempotent=True),
        record_key=_superseded, script=s.compacted, topic=_COMPACT, way=Way.SLOW, ahead=True,
    ),
    Kind(
        "compacted", "with tombstones and delete horizons", record_key=_survivors, value=_mortal, script=s.compacted,
        topic=_COMPACT, way=Way.SLOW, ahead=True, holds=_horizons,
    ),
    Kind(
        "compacted", "with tombstones gone", Manner("zstd"), record_key=_survivors, value=_mortal,
        script=s.tombstones_gone, topic=_COMPACT | {"delete.retention.ms": "100"}, way=Way.SLOW, ahead=True,
        holds=_holes,
    ),
    Kind(
        "compacted", "with transactions", record_key=_survivors, script=s.compacted_transactions,
        topic=_COMPACT | RAISED, sink=RAISED, way=Way.SLOW, ahead=True, holds=_holes,
    ),
    # Where a log starts
    Kind("log starts", "inside a batch", script=s.log_begins_late, way=Way.SLOW, partitions=2, ahead=True),
    Kind(
        "log starts", "inside a gzip batch", Manner("gzip"), script=s.log_begins_late, way=Way.SLOW, ahead=True,
    ),
    Kind("log starts", "between batches", Manner(batch=1), script=s.log_begins_late, way=Way.MERGED, ahead=True),
    Kind("log starts", "at the end of what was", script=s.log_is_gone, ahead=True),
    # Partitions
    Kind("partitions", "twelve", partitions=12),
    Kind("partitions", "twelve, most of them empty", partitions=12, used=(3, 8)),
    Kind("partitions", "nothing in them", script=s.nobody, partitions=3, way=Way.NOTHING),
)  # fmt: skip
