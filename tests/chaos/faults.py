"""Does what a plan says, to processes, brokers, connections, and what the cloud keeps."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from kafka_world import LANES, await_
from meddling import Meddler
from plan import Kind

from sealwire.agents.topics import lane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from checker import Where
    from fleet import Fleet
    from kafka_cluster import KafkaCluster
    from kafka_world import Node
    from plan import Fault
    from proxy import Door

    Do = Callable[[Fault], bool | None]

MIRRORS_DOOR: Final = "cloud for mirrors"
_MOST_COPIES: Final = 60  # envelopes of one partition that are repeated
_STARTS_WITHIN: Final = 60.0  # seconds for a keeper to start its worker again, after several kills
_SOME: Final = 0.5  # how often only some connections are cut
_SLOW: Final = (0.05, 0.3)  # seconds that a delay may be


class Killed(NamedTuple):
    """A worker that was killed: when, and which source partitions were its own."""

    fault: Fault
    at: float
    places: list[Where]


def _nothing(_fault: Fault) -> None:
    """What is done at once has no second half."""


class Faults:
    """``begin`` and ``end`` are called in the order of the plan, from the thread that started the processes."""

    def __init__(self, fleet: Fleet, clusters: Mapping[str, KafkaCluster], doors: Mapping[str, Door]) -> None:
        self._fleet, self._clusters, self._doors = fleet, clusters, doors
        self._nodes = {node.identity: node for node in (*fleet.sealers, *fleet.mirrors)}
        self._meddler = Meddler(clusters["cloud"])
        self._stalling: dict[str, set[Fault]] = defaultdict(set)
        self._frozen: dict[Fault, int] = {}
        self._ends: dict[Fault, dict[int, tuple[int, int]]] = {}
        self.kills: list[Killed] = []
        self.done: list[Fault] = []
        self.meddled: dict[Kind, int] = defaultdict(int)  # envelopes
        self.ways: dict[Kind, tuple[Do, Do]] = {
            Kind.KILL: (self._kill, _nothing),
            Kind.FREEZE: (self._freeze, self._thaw),
            Kind.LEAVE: (self._leave, self._join),
            Kind.CRASH: (self._crash, self._is_back),
            Kind.RESTART: (self._restart, self._is_back),
            Kind.CUT: (self._cut, _nothing),
            Kind.STALL: (self._stall, self._flow),
            Kind.DELAY: (self._delay, self._hurry),
            Kind.REPEAT: (self._repeat, _nothing),
            Kind.REORDER: (self._begin_unread, self._reorder),
            Kind.DELETE: (self._begin_unread, self._delete),
            Kind.RECREATE: (self._begin_unread, self._recreate),
        }

    def begin(self, fault: Fault) -> None:
        """Do it, or its first half where it lasts."""
        self.ways[fault.kind][0](fault)
        self.done.append(fault)

    def end(self, fault: Fault) -> bool:
        """Undo what lasted, or do its second half; False where that is to be tried again a little later."""
        return self.ways[fault.kind][1](fault) is not False

    # Workers

    def _kill(self, fault: Fault) -> None:
        node = self._nodes[fault.target]
        pid = self._pid(node)
        lanes = set(node.status.get("lanes", ())) if pid not in self._frozen.values() else set()
        places = [each for each in self._fleet.size.places if self._lane(node, each) in lanes]
        os.kill(pid, signal.SIGKILL)
        self.kills.append(Killed(fault, time.monotonic(), places))

    def _lane(self, node: Node, place: Where) -> int:
        topic, partition = place
        return lane_of(topic if node.direction == "seal" else self._fleet.world.cloud_topic(topic), partition, LANES)

    def _pid(self, node: Node) -> int:
        """The worker's process, once there is one: its keeper may be about to start it again."""

        def look() -> int:
            with suppress(IndexError):
                return node.pid if self._is_of(node, node.pid) else 0
            return 0

        return int(await_(look, f"a worker of {node.identity}", within=_STARTS_WITHIN, every=0.02))

    def _is_of(self, node: Node, pid: int) -> bool:
        """Whether a process lives and is the keeper's own: a number may have gone to somebody else's."""
        try:
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            return False
        assert node.up.process is not None
        return state != "Z" and int(parent) == node.up.process.pid

    def _freeze(self, fault: Fault) -> None:
        self._frozen[fault] = self._pid(self._nodes[fault.target])
        os.kill(self._frozen[fault], signal.SIGSTOP)

    def _thaw(self, fault: Fault) -> None:
        node, pid = self._nodes[fault.target], self._frozen.pop(fault)
        if self._is_of(node, pid):  # else it was killed meanwhile, which a stopped process does not survive
            os.kill(pid, signal.SIGCONT)

    def _leave(self, fault: Fault) -> None:
        process = self._nodes[fault.target].up.process
        assert process is not None
        process.terminate()

    def _join(self, fault: Fault) -> bool:
        node = self._nodes[fault.target]
        assert node.up.process is not None
        if node.up.process.poll() is None:
            return False
        node.start(ready=False)
        return True

    # Brokers

    def _crash(self, fault: Fault) -> None:
        self._clusters[fault.target].kill()
        self._clusters[fault.target].begin()

    def _restart(self, fault: Fault) -> None:
        self._clusters[fault.target].stop()
        self._clusters[fault.target].begin()

    def _is_back(self, fault: Fault) -> bool:
        return self._clusters[fault.target].answers(0.2)

    # Connections

    def _cut(self, fault: Fault) -> None:
        random = Random(fault.seed)
        self._doors[fault.target].cut(random if random.random() < _SOME else None)

    def _stall(self, fault: Fault, door: str = "") -> None:
        self._stalling[door or fault.target].add(fault)
        self._doors[door or fault.target].stall()

    def _flow(self, fault: Fault, door: str = "") -> None:
        stalling = self._stalling[door or fault.target]
        stalling.discard(fault)
        if not stalling:
            self._doors[door or fault.target].flow()

    def _delay(self, fault: Fault) -> None:
        self._doors[fault.target].delay(Random(fault.seed).uniform(*_SLOW))

    def _hurry(self, fault: Fault) -> None:
        self._doors[fault.target].delay(0)

    # What the cloud keeps

    def _topic(self, fault: Fault) -> str:
        return self._fleet.world.cloud_topic(Random(fault.seed).choice(self._fleet.size.names))

    def _chosen(self, fault: Fault, topic: str) -> dict[int, tuple[int, int]]:
        """Some partitions, and what they hold."""
        ends = self._meddler.ends(topic)
        random = Random(fault.seed)
        return {partition: ends[partition] for partition in random.sample(sorted(ends), random.randint(1, len(ends)))}

    def _begin_unread(self, fault: Fault) -> None:
        """Let no mirror read on from here, so that there is something to lose."""
        self._stall(fault, MIRRORS_DOOR)
        self._ends[fault] = self._meddler.ends(self._topic(fault))

    def _repeat(self, fault: Fault) -> None:
        topic, random = self._topic(fault), Random(fault.seed)
        for partition, (first, until) in self._chosen(fault, topic).items():
            copies = self._meddler.read(topic, partition, max(first, until - random.randint(1, _MOST_COPIES)), until)
            random.shuffle(copies)
            self._meddler.put(copies)
            self.meddled[fault.kind] += len(copies)

    def _reorder(self, fault: Fault) -> None:
        topic, random = self._topic(fault), Random(fault.seed)
        for partition, (first, until) in self._chosen(fault, topic).items():
            originals = self._meddler.read(topic, partition, max(first, self._ends[fault][partition][1]), until)
            self._meddler.delete(topic, {partition: until})
            random.shuffle(originals)
            self._meddler.put(originals)
            self.meddled[fault.kind] += len(originals)
        self._flow(fault, MIRRORS_DOOR)

    def _delete(self, fault: Fault) -> None:
        topic = self._topic(fault)
        chosen = self._chosen(fault, topic)
        self._meddler.delete(topic, {partition: until for partition, (_, until) in chosen.items()})
        self._count(fault, chosen)
        self._flow(fault, MIRRORS_DOOR)

    def _recreate(self, fault: Fault) -> None:
        topic = self._topic(fault)
        self._count(fault, self._meddler.ends(topic))
        self._meddler.recreate(topic)
        self._flow(fault, MIRRORS_DOOR)

    def _count(self, fault: Fault, gone: Mapping[int, tuple[int, int]]) -> None:
        """Count what came while no mirror could read, and is gone."""
        begun = self._ends[fault]
        self.meddled[fault.kind] += sum(until - begun[partition][1] for partition, (_, until) in gone.items())
