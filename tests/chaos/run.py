"""Chaos on three Kafka clusters: a load, faults by a plan, quiet, and then two logs compared by nobody of ours.

    make chaos ARGS="--seed N --minutes M --kills K"

The last line is ``chaos: records=N kills=K faults=F lost=0 duplicated=0 reordered=0 altered=0 unnoticed=0``, and the
exit status is 0 only where the last five are. Of the faults kills are a part; ``altered`` counts whatever is at the
sink and is no record of the source: other bytes, of an aborted transaction, of nobody.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "integration")]

from checker import Totals, Where, total
from comparing import compare
from faults import Faults
from fleet import Fleet
from fleet_load import Size
from kafka_cluster import BUILD, start_together
from kafka_world import World
from mixed_load import MixedLoad
from pauses import Pauses
from plan import DOORS, SIDES, Fault, Kind, plan
from proxied import ProxiedCluster
from proxy import Proxy
from rotations import Rotations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOPICS, PARTITIONS = 4, 6
RATE: Final = 4000  # records a second
ROTATE: Final = 30.0  # seconds
_AGAIN: Final = 1.0  # seconds until what could not be ended yet is tried again
_SHOWN: Final = 40  # lines of what differs


class Chaos:
    """One run. Everything that it starts ends with the stack that it is given."""

    def __init__(self, stack: ExitStack, directory: Path, seed: int, rate: int, rotate: float) -> None:
        self.directory, self._stack = directory, stack
        proxy = stack.enter_context(Proxy())
        of = {name: [door for door in DOORS if door.startswith(name)] for name in ("source", "cloud", "sink")}
        self.clusters = {
            name: ProxiedCluster(name, directory / f"kafka-{name}", proxy, doors) for name, doors in of.items()
        }
        for cluster in self.clusters.values():
            stack.callback(cluster.kill)
        start_together(list(self.clusters.values()))
        self.doors = {name: door for cluster in self.clusters.values() for name, door in cluster.doors.items()}
        ways = {
            ("seal", "cloud"): self.doors["cloud for sealers"].address,
            ("open", "cloud"): self.doors["cloud for mirrors"].address,
            ("open", "local"): self.doors["sink for mirrors"].address,
        }
        self.world = World("chaos", directory / "world", *self.clusters.values(), ways=ways)
        stack.callback(self.world.close)
        self.world.found()
        self.size = Size(TOPICS, PARTITIONS, 0, rate)
        self.load = MixedLoad(self.world.source, self.size, seed)
        self.fleet = Fleet(self.world, self.size, self.load)
        stack.callback(self.fleet.close)
        self.faults = Faults(self.fleet, self.clusters, self.doors)
        self.pauses = Pauses(self.world.sink, self.size.places)
        self.rotations = Rotations([*self.fleet.sealers, *self.fleet.mirrors], rotate)

    def run(self, faults: Sequence[Fault], seconds: float) -> None:
        """Load for so many seconds, and do what is planned meanwhile; returns when all is as it was."""
        self.fleet.begin([*self.fleet.sealers, *self.fleet.mirrors])
        self.pauses.start()
        self.rotations.start()
        begun = time.monotonic()
        due = [(fault.at, number, "begin", fault) for number, fault in enumerate(faults)]
        heapq.heapify(due)
        while due:
            at, number, half, fault = heapq.heappop(due)
            time.sleep(max(begun + at - time.monotonic(), 0))
            if half == "begin":
                _say(f"{time.monotonic() - begun:6.1f} s  {str(fault)[10:]}")
                self.faults.begin(fault)
                heapq.heappush(due, (time.monotonic() - begun + fault.lasts, number, "end", fault))
            elif not self.faults.end(fault):
                heapq.heappush(due, (at + _AGAIN, number, "end", fault))
        self.load.join(max(begun + seconds - time.monotonic(), 0))
        self.rotations.stop()
        self.load.stop()
        self.pauses.stop()

    def said(self) -> dict[Where, str]:
        """What workers say of source partitions that do not flow."""
        found: dict[Where, str] = {}
        told = {node.identity: node.status for node in (*self.fleet.sealers, *self.fleet.mirrors)}
        (self.directory / "status.json").write_text(json.dumps(told, indent=1))
        for name, status in told.items():
            for row in status.get("partitions", ()):
                if row["state"] != "flowing" or row.get("stale"):
                    words = f"{name}: {row['state']}: {row.get('stale') or row['why']}"
                    place = (row["topic"], row["partition"])
                    found[place] = "; ".join([each for each in (found.get(place), words) if each])
        return found

    def summary(self) -> list[str]:
        """What was done, what the workers counted, and how long partitions paused after kills."""
        kinds = Counter(str(fault.kind) for fault in self.faults.done)
        counted: Counter[str] = Counter()
        for counters in self.fleet.sampler.counted.values():
            counted.update(counters)
        committed, aborted = self.load.ended
        return [
            f"done: {_listed(kinds)}",
            f"load: {committed} transactions committed, {aborted} aborted",
            f"cloud, in envelopes: {_listed({str(kind): count for kind, count in self.faults.meddled.items()})}",
            f"workers counted: {_listed(counted)}",
            f"made anew: {_listed(self.rotations.done)}",
            f"delivers again after kill -9: {self._paused(alone=False)} among other faults",
            f"delivers again after kill -9: {self._paused(alone=True)} (worst, nothing else being done)",
        ]

    def _paused(self, *, alone: bool) -> str:
        found = []
        for side in SIDES:
            kills = [
                each for each in self.faults.kills if each.fault.alone is alone and each.fault.target.startswith(side)
            ]
            told = [took for each in kills if (took := self.pauses.after(each.at, each.places)) is not None]
            found.append(f"{side} {max(told):.1f} s of {len(told)}" if told else f"{side} none")
        return ", ".join(found)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "nothing"


def _say(words: str) -> None:
    print(f"chaos: {words}", flush=True)


def last_line(totals: Totals, kills: int, faults: int) -> str:
    """The line by which a run is known."""
    return (
        f"chaos: records={totals.records} kills={kills} faults={faults} lost={totals.lost} "
        f"duplicated={totals.duplicated} reordered={totals.reordered} altered={totals.altered} "
        f"unnoticed={totals.unnoticed}"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run once; 0 where nothing differs."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=None, help="of the plan (default: another one each time)")
    parser.add_argument("--minutes", type=float, default=2.0, help="of load and faults (default: 2)")
    parser.add_argument("--kills", type=int, default=8, help="of workers, by SIGKILL (default: 8)")
    parser.add_argument("--rate", type=int, default=RATE, help=f"records a second (default: {RATE})")
    parser.add_argument(
        "--rotate", type=float, default=ROTATE, help=f"seconds until all keys are made anew again (default: {ROTATE:g})"
    )
    kinds = parser.add_argument(
        "--only", nargs="*", type=Kind, default=tuple(Kind), help="kinds of faults beside kills"
    )
    kinds.metavar = "KIND"
    parser.add_argument("--plan", action="store_true", help="only print the plan")
    asked = parser.parse_args(words)
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed
    faults = plan(seed, asked.minutes * 60, asked.kills, asked.only)
    if asked.plan:
        print(*faults, sep="\n")
        return 0
    directory = BUILD / "chaos" / f"seed-{seed}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "plan.txt").write_text("".join(f"{fault}\n" for fault in faults))
    _say(f"seed {seed}, {asked.minutes:g} minutes, {len(faults)} faults; all that is written is in {directory}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))
    with ExitStack() as stack:
        chaos = Chaos(stack, directory, seed, asked.rate, asked.rotate)
        chaos.run(faults, asked.minutes * 60)
        records, found = compare(chaos.world.source, chaos.world.sink, chaos.size.places)
        said = chaos.said()
        summary = chaos.summary()
    totals = total(records, found, said)
    differing = [
        f"{topic}[{partition}]: {each}" for (topic, partition), one in sorted(found.items()) for each in one.words
    ]
    stuck = [f"{topic}[{partition}] {each}" for (topic, partition), each in sorted(said.items())]
    for line in [*differing[:_SHOWN], *stuck[:_SHOWN]]:
        _say(line)
    (directory / "differences.txt").write_text("".join(f"{line}\n" for line in differing + stuck))
    if totals.clean:
        for cluster in chaos.clusters.values():  # what brokers stored helps nobody any more
            shutil.rmtree(cluster.directory, ignore_errors=True)
    else:
        _say(f"logs, statuses and what the brokers stored: {directory}")
    for line in summary:
        _say(line)
    print(last_line(totals, len(chaos.faults.kills), len(chaos.faults.done)), flush=True)
    return 0 if totals.clean and totals.records else 1


if __name__ == "__main__":
    raise SystemExit(main())
