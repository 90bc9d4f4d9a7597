"""The matrix as it runs: every topic written by its client, one sealer and one mirror between, all compared."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from kafka_cluster import BUILD
from kafka_world import Node, World, await_, sealwire
from matrix_kinds import FULL, KINDS, QUICK, Kind
from matrix_reading import Reading, differing, read, show
from matrix_scripts import Scene
from matrix_stored import SUBSTANTIAL, stored, visible
from matrix_writers import WRITERS, Peer
from traffic import count_of

if TYPE_CHECKING:
    from kafka_cluster import KafkaCluster

WHOLE: Final = os.environ.get("MATRIX") == "full"
MOST: Final = FULL if WHOLE else QUICK
AT_ONCE: Final = 4  # topics that are written at the same time
WRITTEN_WITHIN: Final = 600.0 if WHOLE else 240.0
ARRIVED_WITHIN: Final = 300.0 if WHOLE else 120.0


class Case(NamedTuple):
    """One kind by one client."""

    kind: Kind
    writer: str

    @property
    def topic(self) -> str:
        return f"kind-{self.kind.slug}-{self.writer}"


def cases() -> list[Case]:
    """All of them; in the quick matrix one client a kind, in turn."""
    if WHOLE:
        return [Case(kind, writer) for kind in KINDS for writer in kind.writers]
    return [Case(kind, _in_turn(number, kind)) for number, kind in enumerate(KINDS)]


def _in_turn(number: int, kind: Kind) -> str:
    wanted = (WRITERS[(number + each) % len(WRITERS)] for each in range(len(WRITERS)))
    return next(writer for writer in wanted if writer in kind.writers)


@dataclass
class Written:
    """A topic as it was when its client had written it."""

    scene: Scene
    seconds: float
    problem: str = ""


@dataclass
class Matrix:
    """All cases on one project with one worker a side."""

    world: World
    peer: Peer
    cases: list[Case]
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    differences: int = 0  # records
    _written: dict[Case, Future[Written]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE, "matrix"))
    _begun: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Make the topics, write those that must be there first, start the workers, and go on writing meanwhile."""
        self._make_topics()
        first = sorted(self.cases, key=lambda case: not case.kind.first)
        self._written = {case: self._pool.submit(self._write, case) for case in first}
        self.world.admit("berlin", "sender")
        self.world.admit("lisbon", "reader")
        # One channel and two patterns: eighty flows under one policy, as a site would have them.
        seal = [r'  - {channel: matrix, seal: "^(kind-.*)$", to: "matrix.\\1"}']
        opening = [r'  - {channel: matrix, open: "^matrix[.](kind-.*)$", to: "\\1"}']
        self.sealer: Node = self.world._node("seal", "berlin", "sender", self.world.source.bootstrap, seal)
        self.mirror: Node = self.world._node("open", "lisbon", "reader", self.world.sink.bootstrap, opening)
        sealwire("topics", "apply", "--yes", self.sealer.file)
        sealwire("site", "init", self.sealer.file)
        sealwire("site", "init", self.mirror.file)
        self.mirror.start(ready=False)
        for case in self.cases:
            if case.kind.first:
                self._written[case].exception(WRITTEN_WITHIN)
        self.sealer.start()
        self.mirror.await_ready()

    def end(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _make_topics(self) -> None:
        source = [NewTopic(c.topic, c.kind.partitions, 1, config=dict(c.kind.topic)) for c in self.cases]
        sink = [
            NewTopic(c.topic, c.kind.partitions, 1, config=dict(c.kind.sink))
            for c in self.cases
            if c.kind.sink is not None
        ]
        for cluster, topics in ((self.world.source, source), (self.world.sink, sink)):
            admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
            for made in admin.create_topics(topics).values() if topics else ():
                made.result(60)
        await_(self._led, "a leader that answers for every source partition", every=0.5)

    def _led(self) -> bool:
        """Whether the broker answers for every partition: a producer with acks=0 would not hear that it does not."""
        admin = AdminClient({"bootstrap.servers": self.world.source.bootstrap})
        wanted = [TopicPartition(c.topic, each) for c in self.cases for each in range(c.kind.partitions)]
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        answers = admin.list_offsets(dict.fromkeys(wanted, earliest), request_timeout=30)
        return all(answer.exception(60) is None for answer in answers.values())

    def _write(self, case: Case) -> Written:
        scene = Scene(case.kind, case.writer, case.topic, case.kind.count(MOST), self.world.source, self.peer)
        begun = time.monotonic()
        case.kind.script(scene)
        written = Written(scene, time.monotonic() - begun)
        if case.kind.holds is not None:
            found = [each for each in stored(self.world.source, case.topic) if each.count]
            if not case.kind.holds(found):
                written.problem = f"the topic is not of the kind {case.kind.name}: {found[:5]}"
        return written

    def written(self, case: Case) -> Written:
        """Wait until the client has written the topic, and nothing else than the kind says."""
        written = self._written[case].result(WRITTEN_WITHIN)
        assert not written.problem, written.problem
        return written

    # Comparing

    def compare(self, case: Case) -> None:
        """Hold the sink against the source, record by record; and how the batches came against what the kind says."""
        written = self.written(case)
        ours = read(self.world.source, case.topic)
        count = sum(len(each.records) for each in ours.values())
        assert count == written.scene.committed, f"{case.topic}: the source shows {count} records"
        theirs = self.arrived(case, count)
        found = differing(ours, theirs)
        self.differences += sum(map(len, found.values()))
        assert not found, self._told(case, found)
        assert not self._gaps(case, theirs), "offsets at the sink are not those from 0 on"
        self.figures[case.topic] = {
            "kind": case.kind.name,
            "writer": case.writer,
            "records": count,
            "bytes": sum(each.size for each in ours.values()),
            "seconds": round(written.seconds, 2),
            "first": {partition: each.first for partition, each in ours.items()},
            "sha256": {partition: each.whole.hexdigest() for partition, each in ours.items()},
        }

    def compared(self, case: Case) -> None:
        """Compare it, if that was not done yet."""
        if case.topic not in self.figures:
            self.compare(case)

    def arrived(self, case: Case, count: int) -> dict[int, Reading]:
        """Wait for so many records at the sink, and read them."""
        sink = self.world.sink
        try:
            if count:
                await_(lambda: count_of(sink, case.topic) >= count, case.topic, ARRIVED_WITHIN, every=0.3)
        except AssertionError:
            here = count_of(sink, case.topic)
            rows = self.sealer.rows(case.topic), self.mirror.rows(case.topic)
            raise AssertionError(f"{case.topic}: {here} of {count} records; {rows}") from None
        return read(sink, case.topic)

    def _told(self, case: Case, found: dict[int, list[int]]) -> str:
        lines = []
        for partition, numbers in list(found.items())[:2]:
            lines.append(f"[{partition}]: {len(numbers)} records differ, from number {numbers[0]} on")
            lines += [
                f"  {cluster.name}: {show(cluster, case.topic, partition, numbers[0])}"
                for cluster in (self.world.source, self.world.sink)
            ]
        return "\n".join(lines)

    def passed_whole(self, case: Case) -> list[str]:
        """Say which large batches of the source are not, byte for byte behind their headers, at the sink."""
        first = self.figures[case.topic]["first"]
        there = {each.body for each in stored(self.world.sink, case.topic)}
        return [
            f"[{each.partition}] offsets {each.base} to {each.last}, {each.size} bytes"
            for each in visible(stored(self.world.source, case.topic))
            if each.size >= SUBSTANTIAL
            and each.base >= first[each.partition] >= 0  # a segment stays for as long as one record of it counts
            and each.body not in there
        ]

    def batches(self, cluster: KafkaCluster, case: Case) -> list[Any]:
        return [each for each in stored(cluster, case.topic) if each.count and not each.control]

    def _gaps(self, case: Case, theirs: dict[int, Reading]) -> list[int]:
        """List the partitions of the sink with offsets that are neither of a record nor of a transaction's end."""
        found = []
        for partition, each in theirs.items():
            log = [batch for batch in stored(self.world.sink, case.topic) if batch.partition == partition]
            here = [batch for batch in log if batch.base <= each.last]
            whole, shown = (sum(batch.count for batch in some) for some in (here, visible(here)))
            if (whole, shown) != (each.last + 1, len(each.records)):  # an aborted one before the first is none either
                found.append(partition)
        return found

    def report(self) -> None:
        """Write down what was compared: build/matrix.json."""
        rows = self.figures.values()
        whole = {
            "kinds": len({row["kind"] for row in rows}),
            "topics": len(rows),
            "records": sum(row["records"] for row in rows),
            "bytes": sum(row["bytes"] for row in rows),
            "seconds": round(time.monotonic() - self._begun, 1),
            "differences": self.differences,
            "not compared": len(self.cases) - len(rows),
        }
        BUILD.mkdir(exist_ok=True)
        (BUILD / "matrix.json").write_text(json.dumps({"whole": whole, "topics": self.figures}, indent=1))
        print(f"\nmatrix: {whole}")
