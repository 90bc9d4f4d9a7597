"""What an honest system may do: every record at the sink is the source's next one; what is not there is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batch_made import Made, unbuild
from world import LANES

from sealwire.agents.topics import lane_of

if TYPE_CHECKING:
    from simulation import Simulation, SimWorld

PARTS = (("orders", 0), ("orders", 1), ("bills", 0))


class Lied(AssertionError):
    """The cloud lied, and nobody noticed."""


class Model:
    """The source, and how far the sink has it. ``once``: nothing comes twice to readers of what is committed.

    Otherwise ``twice`` says why a record may come again ("" when it may not).
    """

    def __init__(self, world: SimWorld, *, once: bool) -> None:
        self._world, self.once = world, once
        self.source: list[list[Made]] = [[] for _ in PARTS]
        self.got = [0 for _ in PARTS]
        self.again = [0 for _ in PARTS]
        self._looked = [0 for _ in PARTS]
        self._ends = [0 for _ in PARTS]
        self.twice = ""

    def more(self, part: int, count: int) -> list[Made]:
        """Make the next records of a source partition."""
        topic, partition = PARTS[part]
        source = self.source[part]
        start = len(source)
        made = [
            Made(1_760_000_000_000 + i, b"k%d" % i if i % 2 else None, f"{topic}/{partition}/{i}".encode(), [])
            for i in range(start, start + count)
        ]
        source += made
        return made

    def check(self) -> None:
        """Look at what was delivered since the last time."""
        for part, (topic, partition) in enumerate(PARTS):
            log = self._world.paris.kafka.at(topic, partition)
            if log.end == self._ends[part] and not log.open:
                continue
            batches, self._ends[part] = log.committed(), -1 if log.open else log.end
            for record in unbuild(batches[self._looked[part] :]):
                self._delivered(part, record)
            self._looked[part] = len(batches)

    def _delivered(self, part: int, record: Made) -> None:
        source, got = self.source[part], self.got[part]
        name, _, number = (record.value or b"").decode().rpartition("/")
        if name != "{}/{}".format(*PARTS[part]) or not number.isdigit():
            raise Lied(f"delivered to {PARTS[part]}: {record}, which was never sent there")
        at = int(number)
        if at >= len(source) or source[at] != record:
            raise Lied(f"delivered to {PARTS[part]}: {record}, which is not what was sent")
        if at > got:
            raise Lied(f"delivered to {PARTS[part]}: record {at} before {got}")
        if at < got:
            if self.once or not self.twice:
                raise Lied(f"delivered to {PARTS[part]}: record {at} once more")
            self.again[part] += 1
            return
        self.got[part] += 1

    def whole(self) -> bool:
        """Look, and tell whether the sink has everything."""
        self.check()
        return not self.behind()

    def behind(self) -> list[int]:
        """The source partitions that the sink does not have whole."""
        return [part for part, source in enumerate(self.source) if self.got[part] < len(source)]

    def unnamed(self, run: Simulation) -> list[str]:
        """What is not at the sink, though none of those that should deliver it says so."""
        found = []
        for part in self.behind():
            owners = [mirror for mirror in run.alive("r") if self._owns(mirror, part)]
            if owners and not any(self.words(mirror, part) for mirror in owners):
                found.append(f"{PARTS[part]} has {self.got[part]} of {len(self.source[part])}, and nobody says so")
        return found

    @staticmethod
    def _owns(mirror: Any, part: int) -> bool:
        """Tell whether a mirror has the lane of a source partition, and was ever shown that there is one.

        What senders stated is not kept over a restart: of what was never delivered, it is to be heard again.
        """
        station, (topic, partition) = mirror.station, PARTS[part]
        counts = [said.count for name, said in station.side.progress.outlook.topics.items() if name.topic == topic]
        met = [(each.cursor.source.topic, each.cursor.source.partition) for each in station.standings()]
        if max(counts, default=0) <= partition and PARTS[part] not in met and station.control.caught_up.is_set():
            return False
        return lane_of(f"acme.{topic}", partition, LANES) in station.lanes.open

    @staticmethod
    def words(mirror: Any, part: int) -> list[str]:
        """What a mirror says of a source partition, or of itself, when all is not well."""
        topic, partition = PARTS[part]
        station = mirror.station
        words = [] if station.control.caught_up.is_set() else ["not ready"]
        words += [station.control.trouble] if station.control.trouble else []
        words += station.side.troubles.values()
        told = station.side.snapshot()
        words += ["parked"] if told["parked_sessions"] else []
        for row in told["partitions"]:
            if (row["topic"], row["partition"]) == (topic, partition):
                if row["state"] != "flowing":
                    words.append(f"{row['state']}: {row['why']}")
                words += [f"lag {row['lag']}"] if row["lag"] else []
                words += [f"stale: {row['stale']}"] if row["stale"] else []
        return words
