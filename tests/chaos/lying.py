"""A lying broker in front of a mirror, under load: whatever it says, nothing wrong is delivered, and all of it arrives.

    make lying ARGS="--seed N --minutes M"

About half of the time it is honest, so that the mirror gets on; then a share of all that it answers are lies. The last
line is ``lying: answers=N lies=L kinds=K records=R lost=0 duplicated=0 reordered=0 altered=0 peak_mb=M tracebacks=0``,
and the exit status is 0 only where nothing is lost or wrong, the mirror's memory never passed 400 MB, its log holds
sentences alone, and it is the worker that was begun with. ``kinds`` counts the kinds of lies that were told.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [each for each in (str(HERE.parent / "integration"), str(HERE)) if each not in sys.path]

from checker import Totals, total
from comparing import compare
from fleet_load import FleetLoad, Size
from kafka_cluster import BUILD, KafkaCluster, free_port, start_together
from kafka_world import World, await_, sealwire
from liar import Liar, LyingDoor
from outages import lines, peak, tracebacks
from proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

TOPICS, PARTITIONS = 2, 3
RATE: Final = 300  # records a second
MEMORY: Final = 400  # MB that the mirror may have used at most
SHARE: Final = (0.05, 0.2, 0.5)  # of the answers, while it lies
SPELL: Final = (3.0, 12.0)  # seconds that it is honest, or lies
FLOWS_WITHIN: Final = 60.0  # seconds until the first record is at the sink


class PresentLoad(FleetLoad):
    """A FleetLoad of now: what is older than a reader's admission is not sealed again for it."""

    later = 3_600_000


class Outcome(NamedTuple):
    """What came of it."""

    answers: int
    lies: int
    kinds: int
    totals: Totals
    peak: int
    wrong: list[str]
    """Lines of the mirror's log that are no sentence or tell of an exception, and each end of its worker."""

    @property
    def clean(self) -> bool:
        return bool(self.totals.records) and not any(self.totals[1:5]) and self.peak < MEMORY and not self.wrong

    def __str__(self) -> str:
        totals = self.totals
        return (
            f"lying: answers={self.answers} lies={self.lies} kinds={self.kinds} records={totals.records} "
            f"lost={totals.lost} duplicated={totals.duplicated} reordered={totals.reordered} altered={totals.altered} "
            f"peak_mb={self.peak} tracebacks={len(self.wrong)}"
        )


class Lying:
    """A sealer and a mirror on three clusters, with a liar between the mirror and the cloud."""

    def __init__(
        self, stack: ExitStack, clusters: Sequence[KafkaCluster], directory: Path, seed: int, rate: int = RATE
    ) -> None:
        source, cloud, sink = clusters
        self._random, self.directory = random.Random(seed), directory
        self.liar = Liar(random.Random(seed + 1))
        proxy = stack.enter_context(Proxy())
        self.door = LyingDoor(proxy, free_port(), cloud.port, self.liar)
        proxy.run(self.door.open())
        ways = {("open", "cloud"): self.door.address}
        self.world = World("lying", directory / "world", source, cloud, sink, ways=ways)
        stack.callback(self.world.close)
        self.size = Size(TOPICS, PARTITIONS, 0, rate, name="told")
        self.world.found()
        self.world.make_source_topics(self.size.names, PARTITIONS)
        self.world.admit("berlin", "sealer")
        self.world.admit("lisbon", "mirror")
        self.sealer = self.world.sealing("sealer", self.size.names)
        self.mirror = self.world.opening("mirror", self.size.names)
        sealwire("topics", "apply", "--yes", self.sealer.file)
        for node in (self.sealer, self.mirror):
            sealwire("site", "init", node.file)
        self.load = PresentLoad(source, self.size)
        stack.callback(self._end_load)

    def _end_load(self) -> None:
        if self.load.is_alive():
            self.load.stop()

    def run(self, seconds: float) -> None:
        """Load for so many seconds while the broker is honest and lies by turns; honest in the end."""
        self.sealer.start(ready=False)
        self.mirror.start()
        self.sealer.await_ready()
        self.load.start()
        await_(lambda: self.mirror.status.get("passed"), "a first record opened", FLOWS_WITHIN)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.liar.share = 0.0 if self.liar.share else self._random.choice(SHARE)
            time.sleep(min(self._random.uniform(*SPELL), left))
        self.liar.share = 0.0
        self.load.stop()

    def outcome(self) -> Outcome:
        """Compare when all has arrived, or should have."""
        records, found = compare(self.world.source, self.world.sink, self.size.places)
        told = {node.identity: node.status for node in (self.sealer, self.mirror)}
        (self.directory / "status.json").write_text(json.dumps(told, indent=1))
        wrong = tracebacks(self.mirror) + [line for line in lines(self.mirror) if "exception" in line.lower()]
        begun = self.mirror.said("worker started")
        wrong += [f"the mirror's worker was begun {begun} times"] if begun != 1 else []
        differing = [f"{topic}[{partition}]: {each}" for (topic, partition), one in found.items() for each in one.words]
        (self.directory / "differences.txt").write_text("".join(f"{line}\n" for line in differing + wrong))
        liar = self.liar
        totals = total(records, found, {})
        return Outcome(liar.answers, liar.lies.total(), len(liar.lies), totals, peak(self.mirror), wrong)


def main(words: Sequence[str] | None = None) -> int:
    """Run once; 0 where all is as it should be."""
    parser = argparse.ArgumentParser(
        prog="make lying", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=None, help="of the lies (default: another one each time)")
    parser.add_argument("--minutes", type=float, default=2.0, help="of load and lies (default: 2)")
    parser.add_argument("--rate", type=int, default=RATE, help=f"records a second (default: {RATE})")
    asked = parser.parse_args(words)
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed
    directory = BUILD / "lying" / f"seed-{seed}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    print(f"lying: seed {seed}, {asked.minutes:g} minutes; all that is written is in {directory}", flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))
    with ExitStack() as stack:
        names = ("source", "cloud", "sink")
        clusters = [KafkaCluster(name, directory=directory / f"kafka-{name}") for name in names]
        for cluster in clusters:
            stack.callback(cluster.kill)
        start_together(clusters)
        lying = Lying(stack, clusters, directory, seed, asked.rate)
        lying.run(asked.minutes * 60)
        outcome = lying.outcome()
    for line in (directory / "differences.txt").read_text().splitlines()[:40]:
        print(f"lying: {line}")
    print("lying: told:", ", ".join(f"{lie} {count}" for lie, count in sorted(lying.liar.lies.items())) or "nothing")
    if outcome.clean:
        for cluster in clusters:  # what brokers stored helps nobody any more
            shutil.rmtree(cluster.directory, ignore_errors=True)
    print(outcome, flush=True)
    return 0 if outcome.clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
