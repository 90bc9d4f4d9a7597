"""A fleet: several workers of one site in each direction, and what is done to them under load."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from fleet_load import FleetLoad
from kafka_world import LANES, Node, World, await_, sealwire

from sealwire.agents.topics import lane_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet_load import Partition, Size

CHANNELS: Final = 4
MEMBERS: Final = 3  # a side
_SAMPLE_EVERY: Final = 0.25  # seconds
_STATUS_EVERY: Final = 3.0


class Sampler(threading.Thread):
    """Watches, some times a second, how far source and sink are, what memory each worker had, and what it counted."""

    def __init__(self, world: World, size: Size, nodes: Sequence[Node]) -> None:
        super().__init__(daemon=True)
        self._size, self._nodes = size, nodes
        self._source, self._sink = (
            AdminClient({"bootstrap.servers": each.bootstrap, "log_level": 0}) for each in (world.source, world.sink)
        )
        self._ended = threading.Event()
        self.source: dict[tuple[str, int], int] = {}
        self.sink: dict[tuple[str, int], int] = {}
        self._behind_since: dict[tuple[str, int], float] = {}
        self.stalls: list[tuple[float, float, tuple[str, int]]] = []  # seconds, when it ended, where
        self.memory: dict[str, int] = defaultdict(int)  # bytes
        self.counted: dict[tuple[str, int], dict[str, int]] = {}  # by identity and start

    def run(self) -> None:
        looked = 0.0
        while not self._ended.wait(_SAMPLE_EVERY):
            with suppress(Exception):  # a topic that is not there yet
                self._look()
            for node in self._nodes:
                with suppress(OSError, IndexError, AssertionError):
                    self.memory[node.identity] = max(self.memory[node.identity], peak_memory(node.pid))
            if time.monotonic() - looked >= _STATUS_EVERY:
                looked = time.monotonic()
                for node in self._nodes:
                    told = node.status
                    if "since_ms" in told:
                        self.counted[node.identity, told["since_ms"]] = told["counters"]

    def stop(self) -> None:
        self._ended.set()
        self.join(30)

    def _look(self) -> None:
        source, sink = (self._ends(admin) for admin in (self._source, self._sink))
        now = time.monotonic()
        for place in self._size.places:
            behind, since = sink.get(place, 0) < source.get(place, 0), self._behind_since.get(place)
            if since is not None and (not behind or sink.get(place, 0) > self.sink.get(place, 0)):
                self.stalls.append((now - since, now, place))
                del self._behind_since[place]
            if behind:  # duplicates hide a few records, for a short while
                self._behind_since.setdefault(place, now)
        self.source, self.sink = source, sink

    def _ends(self, admin: AdminClient) -> dict[tuple[str, int], int]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = dict.fromkeys((TopicPartition(*place) for place in self._size.places), latest)
        level = IsolationLevel.READ_UNCOMMITTED
        found = admin.list_offsets(wanted, isolation_level=level, request_timeout=5)
        return {(each.topic, each.partition): future.result().offset for each, future in found.items()}


def peak_memory(pid: int) -> int:
    """The most bytes that a process had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


class Happened(NamedTuple):
    """Something that was done to the fleet, and what the sink held when it began."""

    words: str
    begun: float
    took: float
    ends: dict[tuple[str, int], int]
    lanes: str
    moved: set[
        tuple[str, int]
    ]  # the partitions whose worker was another afterwards, or was itself the one it was done to


class Fleet:
    """Three members a side under load. Each step waits until the lanes are all held again, each by one worker."""

    def __init__(self, world: World, size: Size, load: FleetLoad | None = None) -> None:
        self.world, self.size = world, size
        self.steps: list[Happened] = []
        channels = {topic: f"channel{number % CHANNELS}" for number, topic in enumerate(size.names)}
        self.sealers, self.mirrors = [], []
        for number in range(1, MEMBERS + 1):
            for site, name in (("berlin", f"sealer{number}"), ("lisbon", f"mirror{number}")):
                world.admit(site, name)
            self.sealers.append(world.sealing(f"sealer{number}", size.names, channels=channels))
            self.mirrors.append(world.opening(f"mirror{number}", size.names, channels=channels))
        world.make_source_topics(size.names, size.partitions)
        sealwire("topics", "apply", "--yes", self.sealers[0].file)
        sealwire("site", "init", self.sealers[0].file)
        sealwire("site", "init", self.mirrors[0].file)
        self.up: list[Node] = []
        self.sampler = Sampler(world, size, [*self.sealers, *self.mirrors])
        self.load = load or FleetLoad(world.source, size)

    def begin(self, nodes: Sequence[Node]) -> None:
        """Start these all at once, then watch and load."""
        with self._step("begin"):
            for node in nodes:
                node.start(ready=False)
            self.up += nodes
            self._await_covered()
        self.sampler.start()
        self.load.start()

    # What is done to it

    def join(self, *nodes: Node) -> None:
        with self._step(f"join {_names(nodes)}"):
            for node in nodes:
                node.start(ready=False)
            self.up += nodes
            self._await_covered()

    def leave(self, *nodes: Node) -> None:
        """Let them stop in order, for good."""
        with self._step(f"leave {_names(nodes)}"):
            for node in nodes:
                node.up.stop()
                self.up.remove(node)
            self._await_covered()

    def kill(self, *nodes: Node) -> None:
        """Kill workers whose keepers start them again."""
        with self._step(f"kill {_names(nodes)}"):
            killed = {node.kill_worker() for node in nodes}
            await_(lambda: not killed & {node.pid for node in nodes}, f"new workers of {_names(nodes)}")
            self._await_covered()

    def lose(self, *nodes: Node) -> None:
        """Kill workers with their keepers: nobody starts them again."""
        with self._step(f"lose {_names(nodes)}"):
            for node in nodes:
                node.kill_worker()
                assert node.up.process is not None
                node.up.process.kill()
                node.up.process.wait()
                self.up.remove(node)
            self._await_covered()

    def freeze(self, *nodes: Node) -> list[int]:
        """Stop workers without a word, so that others take their lanes when their sessions end; gives process ids."""
        with self._step(f"freeze {_names(nodes)}"):
            pids = [node.pid for node in nodes]
            for node, pid in zip(nodes, pids, strict=True):
                os.kill(pid, signal.SIGSTOP)
                self.up.remove(node)
            self._await_covered()
        return pids

    def thaw(self, pids: Sequence[int], *nodes: Node) -> None:
        """Let frozen workers go on as if nothing had been."""
        with self._step(f"thaw {_names(nodes)}"):
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            self.up += nodes
            self._await_covered()

    def restart_rolling(self) -> None:
        """Stop and start every member, one after the other."""
        for node in [*self.sealers, *self.mirrors]:
            if node in self.up:
                with self._step(f"restart {node.identity}"):
                    node.up.stop()
                    node.start(ready=False)
                    self._await_covered()

    def _step(self, words: str) -> _Step:
        return _Step(self, words)

    def _await_covered(self, within: float = 120.0) -> None:
        await_(self.covered, f"every lane held once: {self.lanes()}", within, every=0.5)
        # A status may be of the moment before a rebalance: it counts when it is still so after one could have begun.
        time.sleep(0.5)
        await_(self.covered, f"every lane held once: {self.lanes()}", within, every=0.5)

    def covered(self) -> bool:
        """Whether all are ready, and hold every lane of each direction once, and nobody none."""
        for side in (self.sealers, self.mirrors):
            told = [node.status for node in side if node in self.up]
            lanes = [each.get("lanes", []) for each in told]
            if not all(each.get("ready") for each in told) or not all(lanes):
                return False
            if sorted(lane for each in lanes for lane in each) != list(range(LANES)):
                return False
        return True

    def lanes(self) -> str:
        """How many lanes each one holds."""
        return " ".join(f"{node.identity}:{len(node.status.get('lanes', []))}" for node in self.up)

    # What came of it

    def await_delivered(self, sent: int, within: float = 300.0) -> None:
        """Wait until the sink holds as many records as were sent, and no more come."""
        until, last = time.monotonic() + within, (-1, 0.0)
        while True:
            held, now = sum(self.sampler.sink.values()), time.monotonic()
            if held != last[0]:
                last = (held, now)
            if held >= sent and now - last[1] > 3:  # noqa: PLR2004
                return
            assert now < until, f"{held} of {sent} records at the sink: {self.lanes()}"
            time.sleep(0.2)

    def close(self) -> None:
        if self.load.is_alive():
            self.load.stop()
        if self.sampler.is_alive():
            self.sampler.stop()

    def holders(self) -> dict[tuple[str, int], tuple[str, str]]:
        """Who seals and who opens each partition."""
        seals, opens = (
            {lane: node.identity for node in side if node in self.up for lane in node.status.get("lanes", [])}
            for side in (self.sealers, self.mirrors)
        )
        return {
            (topic, partition): (
                seals.get(lane_of(topic, partition, LANES), ""),
                opens.get(lane_of(self.world.cloud_topic(topic), partition, LANES), ""),
            )
            for topic, partition in self.size.places
        }

    def duplicates_by_step(self, sink: dict[tuple[str, int], Partition]) -> dict[str, int]:
        """How many records came again after each step began, before the next one did.

        A step ends when the lanes are held again; what comes first in them then may count to the next one.
        """
        found: dict[str, int] = defaultdict(int)
        for place, partition in sink.items():
            for offset, back_from, back_to in partition.rewinds:
                words = [step.words for step in self.steps if step.ends.get(place, 0) <= offset]
                found[words[-1] if words else "before"] += back_from - back_to + 1
        return dict(found)

    def pauses_by_step(self) -> dict[str, dict[str, tuple[int, float, float]]]:
        """The count, median and longest pause of partitions at the sink: of those that stayed, and of those that moved.

        A pause begins with the first record that the source took after the last one that the sink did.
        """
        found: dict[str, dict[str, tuple[int, float, float]]] = {}
        for step, after in pairwise([*self.steps, Happened("", float("inf"), 0, {}, "", set())]):
            longest: dict[tuple[str, int], float] = defaultdict(float)
            for took, ended, place in self.sampler.stalls:
                if step.begun <= ended - took < after.begun:
                    longest[place] = max(longest[place], took)
            for kind in ("stayed", "moved"):
                each = sorted(took for place, took in longest.items() if (place in step.moved) == (kind == "moved"))
                if each:
                    middle = each[len(each) // 2]
                    found.setdefault(step.words, {})[kind] = (len(each), round(middle, 2), round(each[-1], 2))
        return found


class _Step:
    def __init__(self, fleet: Fleet, words: str) -> None:
        self._fleet, self._words = fleet, words

    def __enter__(self) -> None:
        self._holders = self._fleet.holders()
        self._begun, self._ends = time.monotonic(), dict(self._fleet.sampler.sink)

    def __exit__(self, *_: object) -> None:
        took, lanes, holders = time.monotonic() - self._begun, self._fleet.lanes(), self._fleet.holders()
        touched = {name for name in self._words.replace(",", "").split() if name[-1].isdigit()}
        moved = {place for place, held in holders.items() if held != self._holders[place] or touched & set(held)}
        self._fleet.steps.append(Happened(self._words, self._begun, took, self._ends, lanes, moved))


def _names(nodes: Sequence[Node]) -> str:
    return ", ".join(node.identity for node in nodes)
