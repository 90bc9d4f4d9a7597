"""`make bench-limits`: what a worker needs to start, to idle along at small traffic, and at most, on real Kafka.

Start: from the process's start to the first envelope that the cloud has acknowledged, with 3 source partitions and with
1,000. Readers: what sealing costs for 500 of them, beside what it costs for one. At 500 records a second: the part of a
core that each worker uses, and how long a record is on its way, from its producer to a consumer at the other site; and
how long after kill -9 of a worker that is started again all partitions get new records. Memory: the most that each
worker holds with a backlog, at 12 partitions and at 240, and with large records on 12 partitions while the cluster that
it writes to is away; all arrive when it is back.
build/limits.json says the same to programs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from backlog import KINDS, LARGE_BYTES, PARTITIONS, fill, fill_large
from bridge import IDENTITIES, SITES, WAIT_S, BenchFailed, Bridge, Worker, cloud_topic
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from many_members import admit
from measure import cpu_seconds, median
from steady import Steady

from sealwire.app.up import Patience

RESULT: Final = Path(__file__).resolve().parents[2] / "build" / "limits.json"
STARTS: Final = 3
KILLS: Final = 3
MANY: Final = 1000
FULL: Final = 12
BACKLOG: Final = 360_000
MUCH: Final = 600_000
TOPICS: Final = 20
READERS: Final = 500
TURNS: Final = 5
LARGE: Final = 4  # large records on each partition
A_SECOND: Final = 500
ON_THE_WAY_MS: Final = {"at-least-once": 60.0, "exactly-once": 180.0}  # p99
SETTLE_S: Final = 4.0
WATCH_S: Final = 12.0
STILL_S: Final = 4.0  # seconds without any more memory: what is held is held


@dataclass(frozen=True)
class Row:
    """One figure beside what is aimed for."""

    row: str
    value: float
    unit: str
    below: float | None = None
    least: float | None = None

    @property
    def aim(self) -> str:
        """What is aimed for, in words."""
        return f"below {self.below:g}" if self.below is not None else f"at least {self.least:g}" if self.least else ""

    @property
    def missed(self) -> bool:
        """Whether it is not what is aimed for."""
        return (self.below is not None and self.value >= self.below) or self.value < (self.least or 0)


def main() -> int:
    """Measure, print, write build/limits.json; 1 when something aimed for was missed and --strict asks for that."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--strict", action="store_true", help="end with 1 when a row misses what is aimed for")
    parser.add_argument("--only", default="", help="a part of the name of what is measured: starts, memory, large ...")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the rows are written")
    given = parser.parse_args()
    rows: list[Row] = []
    with Bridge(_say) as bridge:
        for part in PARTS:
            if given.only and given.only not in part.__name__:
                continue
            for row in part(bridge):
                _say(f"{row.row:58}{row.value:10.2f} {row.unit:8}   {row.aim}{'   MISSED' if row.missed else ''}")
                rows.append(row)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8")
    return 1 if given.strict and any(row.missed for row in rows) else 0


def _starts(bridge: Bridge) -> list[Row]:
    took = []
    for number in range(STARTS):
        topic = f"start.{number}"
        bridge.make([topic], PARTITIONS)
        fill(bridge.source.bootstrap, topic, KINDS[0], 300, KINDS[0].values())
        with bridge.worker("seal", [topic]) as sealer:
            took.append(_first_envelope(bridge, sealer, topic, PARTITIONS))
    return [Row("worker start to first envelope, the longest of three", max(took), "s", 3.0)]


def _many_partitions(bridge: Bridge) -> list[Row]:
    topic = "many"
    bridge.make([topic], MANY, clusters=(bridge.source, bridge.cloud))
    fill(bridge.source.bootstrap, topic, KINDS[0], MANY, KINDS[0].values(), MANY)
    with bridge.worker("seal", [topic]) as sealer:
        took = _first_envelope(bridge, sealer, topic, MANY)
        sealer.wait("a record of each partition", lambda state: state.settled(topic) >= MANY)
        peak = sealer.peak_mb
    bridge.drop([topic])
    return [
        Row("with 1,000 source partitions", took, "s", 6.0),
        Row("peak memory with 1,000 source partitions", peak, "MB", 150.0),
    ]


def _first_envelope(bridge: Bridge, sealer: Worker, topic: str, partitions: int) -> float:
    """Ask the cloud, not the worker, which has better things to do than to answer while it starts."""
    admin = AdminClient({"bootstrap.servers": bridge.cloud.bootstrap, "log_level": 2})
    asked = {TopicPartition(cloud_topic(topic), number): OffsetSpec.latest() for number in range(partitions)}  # type: ignore[no-untyped-call]
    while time.monotonic() < sealer.started + WAIT_S:
        answers = admin.list_offsets(asked, request_timeout=10).values()
        if any(answer.result(10).offset > 0 for answer in answers):
            return time.monotonic() - sealer.started
        time.sleep(0.02)
    raise BenchFailed(f"no envelope within {WAIT_S:.0f} s:\n{sealer.tail()}")


def _many_readers(bridge: Bridge) -> list[Row]:
    """Seal the like backlog for one reader and for all 500, in turn, each from its first tenth to its end."""
    admit(bridge.directory / "project", bridge.cloud.bootstrap, READERS - 1)
    ratios, values = [], KINDS[0].values()
    for turn in range(TURNS):
        rates = []
        for readers in (1, READERS):
            topic = f"for-{readers}.{turn}"
            bridge.make([topic], PARTITIONS)
            fill(bridge.source.bootstrap, topic, KINDS[0], MUCH, values)
            bridge.grant((IDENTITIES["open"],) if readers == 1 else None)
            with bridge.worker("seal", [topic]) as sealer:
                rates.append(sealer.moved(topic, MUCH).per_cpu_s)
                state = sealer.wait("its word", lambda state: bool(state.said.get("channels")))
            granted = [each["readers"] for each in state.said["channels"]]
            if granted != [readers]:
                message = f"a session was granted to {granted} readers, not to {readers}"
                raise BenchFailed(message)
            bridge.drop([topic])
        ratios.append(rates[1] / rates[0])
    bridge.grant(None)
    return [Row(f"sealing for {READERS} readers, to one: the median of {TURNS}", median(ratios), "", least=0.95)]


def _small_traffic(bridge: Bridge) -> list[Row]:
    return [row for delivery, below in ON_THE_WAY_MS.items() for row in _steady(bridge, delivery, below)]


def _steady(bridge: Bridge, delivery: str, below_ms: float) -> list[Row]:
    topic = f"steady.{delivery}"
    bridge.make([topic], PARTITIONS)
    bridge.deliver(delivery)
    with (
        bridge.worker("seal", [topic]) as sealer,
        bridge.worker("open", [topic]) as mirror,
        Steady(bridge, topic, A_SECOND) as steady,
    ):
        for worker in (sealer, mirror):
            worker.wait("its start", lambda state: bool(state.said.get("ready")))
        time.sleep(SETTLE_S)
        steady.arrivals.clear()
        pids = (sealer.pid, mirror.pid)
        before, began = [cpu_seconds(pid) for pid in pids], time.monotonic()
        time.sleep(WATCH_S)
        passed = time.monotonic() - began
        cores = [(cpu_seconds(pid) - used) / passed for pid, used in zip(pids, before, strict=True)]
        delays = steady.delays()
    bridge.drop([topic])
    return [
        Row(f"sealing at {A_SECOND} records/s", cores[0], "core", 0.25),
        Row(f"opening at {A_SECOND} records/s, {delivery}", cores[1], "core", 0.25),
        Row(f"on the way, {delivery}, p50", delays[len(delays) // 2] * 1000, "ms"),
        Row(f"on the way, {delivery}, p99", delays[len(delays) * 99 // 100] * 1000, "ms", below_ms),
    ]


def _kills(bridge: Bridge) -> list[Row]:
    topic, rows = "killed", []
    bridge.make([topic], PARTITIONS)
    with ExitStack() as stack, Steady(bridge, topic, A_SECOND) as steady:
        workers = {way: stack.enter_context(bridge.worker(way, [topic])) for way in SITES}
        for way in SITES:
            took = []
            for _ in range(KILLS):
                for worker in workers.values():
                    worker.wait("its start", lambda state: bool(state.said.get("ready")))
                time.sleep(SETTLE_S)
                killed = time.time()
                workers[way].kill()
                time.sleep(Patience().first)  # as `sealwire up` does
                workers[way] = stack.enter_context(bridge.worker(way, [topic]))
                took.append(_await_again(steady, killed, workers[way]))
            rows.append(Row(f"delivers again after kill -9, to {way}, the longest of {KILLS}", max(took), "s", 5.0))
    bridge.drop([topic])
    return rows


def _await_again(steady: Steady, killed: float, worker: Worker) -> float:
    while time.time() < killed + WAIT_S:
        if (took := steady.again(killed)) is not None:
            return took
        time.sleep(0.05)
    raise BenchFailed(f"nothing comes {WAIT_S:.0f} s after a kill:\n{worker.tail()}")


def _memory(bridge: Bridge) -> list[Row]:
    rows = []
    for kind in KINDS[:2]:
        topic = f"full.{kind.name}"
        bridge.make([topic], FULL)
        fill(bridge.source.bootstrap, topic, kind, BACKLOG, kind.values(), FULL)
        for way in ("seal", "open"):
            with bridge.worker("seal" if way == "seal" else "open", [topic]) as worker:
                worker.wait("the end", lambda state, topic=topic: state.settled(topic) >= BACKLOG)  # type: ignore[misc]
                rows.append(Row(f"peak memory, 12 partitions, {kind.name}, to {way}", worker.peak_mb, "MB", 250.0))
        bridge.drop([topic])
    return rows


def _memory_of_many_topics(bridge: Bridge) -> list[Row]:
    topics = [f"one-of-many.{number}" for number in range(TOPICS)]
    bridge.make(topics, FULL)
    values = KINDS[0].values()
    for topic in topics:
        fill(bridge.source.bootstrap, topic, KINDS[0], BACKLOG // TOPICS, values, FULL)
    rows = []
    for way in ("seal", "open"):
        with bridge.worker("seal" if way == "seal" else "open", topics) as worker:
            worker.wait("the end", lambda state: sum(map(state.settled, topics)) >= BACKLOG // TOPICS * TOPICS)
            rows.append(Row(f"peak memory, {TOPICS * FULL} partitions, to {way}", worker.peak_mb, "MB", 300.0))
    bridge.drop(topics)
    return rows


def _large_records(bridge: Bridge) -> list[Row]:
    topic, count = "large", LARGE * FULL
    bridge.make([topic], FULL)
    rows = []
    with bridge.worker("seal", [topic]) as worker:
        worker.wait("its start", lambda state: bool(state.said.get("ready")))
        bridge.cloud.kill()
        fill_large(bridge.source.bootstrap, topic, LARGE, FULL)
        peak = _still(worker)
        bridge.cloud.start()
        worker.wait("the end", lambda state: state.settled(topic) >= count)
        peak = max(peak, worker.peak_mb)
        rows.append(
            Row(f"peak memory, {LARGE_BYTES // 10**6} MB records, cloud away and back, to seal", peak, "MB", 400.0)
        )
    with bridge.worker("open", [topic]) as worker:
        worker.wait("its first envelope", lambda state: state.records > 0)
        bridge.sink.kill()
        peak = _still(worker)
        bridge.sink.start()
        worker.wait("the end", lambda state: state.settled(topic) >= count)
        peak = max(peak, worker.peak_mb)
        rows.append(
            Row(f"peak memory, {LARGE_BYTES // 10**6} MB records, sink away and back, to open", peak, "MB", 400.0)
        )
    bridge.drop([topic])
    return rows


def _still(worker: Worker) -> float:
    """Wait until a worker takes no more memory; gives the most that it has held."""
    peak, since = worker.peak_mb, time.monotonic()
    while time.monotonic() < since + STILL_S:
        if worker.peak_mb > peak:
            peak, since = worker.peak_mb, time.monotonic()
        time.sleep(0.1)
    return peak


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


PARTS: Final = (
    _starts,
    _many_partitions,
    _many_readers,
    _small_traffic,
    _kills,
    _memory,
    _memory_of_many_topics,
    _large_records,
)

if __name__ == "__main__":
    sys.exit(main())
