"""What Hypothesis may do to the sink and to who delivers there, beside what the cloud does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from aiokafka.structs import TopicPartition
from cursor_faults import CURSOR_FAULTS, restore
from faults_of_sinks import DEEDS, SEATING, SINK_FAULTS
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model import Lied
from world import LANES

if TYPE_CHECKING:
    from simulation import Simulation, Worker

numbers = st.integers(0, (1 << 16) - 1)
few = st.integers(1, 4)
whiles = st.sampled_from((0.02, 0.3, 3.0))


def send_some(run: Simulation, number: int, sends: int) -> None:
    """Have something on its way to one part, or more."""
    for each in range(sends):
        run.send((number + each) % 3, 1, each)


def reseat(run: Simulation, mirror: Worker) -> None:
    """Take all lanes from a mirror, and give them back."""
    lanes = mirror.station.lanes
    task = mirror.spawn(lanes.on_revoked())
    run.loop.run_until(task.done, 6.0)
    topic = mirror.station.settings.lane_topic
    mirror.do(lanes.on_assigned, {TopicPartition(topic, lane) for lane in range(LANES)})


class SinkRules:
    """Rules of the sink."""

    run: Simulation

    def _mirror(self, number: int) -> Worker | None:
        alive = [each for each in self.run.alive("r") if each.process.stopped is None]
        return alive[number % len(alive)] if alive else None

    def _do(self, name: str, number: int, sends: int) -> None:
        mirror = self._mirror(number)
        if mirror is None:
            return
        SINK_FAULTS[name](self.run, mirror, random.Random(number))
        send_some(self.run, number, sends)
        if name in SEATING:
            self.run.let(0.2)
            reseat(self.run, mirror)
        self.run.let(0.3)

    @precondition(lambda self: self.run.model.once)
    @rule(
        number=numbers,
        deed=st.sampled_from((*DEEDS, "commit", "commit")),
        steps=st.integers(1, 25),
        sends=few,
        lose=st.booleans(),
    )
    def crash_while_asking(self, number: int, deed: str, steps: int, sends: int, *, lose: bool) -> None:
        """Kill a mirror between two steps, soon after it asked its sink for something."""
        mirror = self._mirror(number)
        if mirror is None:
            return
        run = self.run
        if deed == "begin":
            reseat(run, mirror)
        send_some(run, number, sends)
        run.loop.run_until(lambda: deed in mirror.link.asked.values(), 0.6, 0.0007)
        run.loop.after_steps(steps, lambda: mirror.kill(lose=lose))
        run.let(0.05)
        run.loop.spring()
        run.begin(mirror.name, ahead=mirror.process.ahead)

    @precondition(lambda self: self.run.model.once)
    @rule(number=numbers, steps=st.integers(1, 200), sends=few, seconds=st.sampled_from((0.5, 4.0, 13.0)), wait=whiles)
    def zombie(self, number: int, steps: int, sends: int, seconds: float, wait: float) -> None:
        """Stop a mirror between two steps, let another take its lanes, and let it go on."""
        mirror = self._mirror(number)
        if mirror is None:
            return
        run = self.run
        for other in run.alive("r"):
            if other is not mirror:
                other.kill(lose=False)
        send_some(run, number, sends)
        run.loop.after_steps(steps, lambda: run.loop.suspend(mirror.process))
        run.let(0.3)
        run.loop.spring()
        run.begin("r1" if mirror.name == "r2" else "r2")
        send_some(run, number + 1, sends)
        run.let(seconds)
        run.loop.resume(mirror.process)
        send_some(run, number, sends)
        run.let(wait)

    @precondition(lambda self: self.run.model.once)
    @rule(number=numbers, times=st.integers(2, 8), cut=st.booleans(), lag=st.sampled_from((0.0, 0.02, 0.2)))
    def take_over(self, number: int, times: int, lag: float, *, cut: bool) -> None:
        """Give a mirror the lanes of another one that goes on delivering; the two come to it at different times."""
        run = self.run
        names = [each.name for each in run.alive("r")]
        for name in {"r1", "r2"} - set(names):
            run.begin(name)
            run.let(0.5)
        mirror = self._mirror(number)
        if mirror is None:
            return
        run.reach("take_over")
        mirror.link.cuts += [("begin", False)] * cut
        mirror.link.lag = lag
        reseat(run, mirror)
        for each in range(times):
            send_some(run, number + each, 1)
            run.let((0.03, 0.11, 0.4)[each % 3])
        mirror.link.lag = 0.0


def _rule_of(name: str) -> object:
    def do(self: SinkRules, number: int, sends: int) -> None:
        self._do(name, number, sends)

    do.__name__ = do.__qualname__ = name
    return precondition(lambda self: self.run.model.once)(rule(number=numbers, sends=few)(do))


def _cursor_rule_of(name: str) -> object:
    def do(self: SinkRules, number: int, sends: int) -> None:
        run = self.run
        for mirror in run.alive("r"):
            mirror.kill(lose=True)
            run.model.twice = "a mirror was killed"
        run.let(1.0)
        if unsettled(run):
            run.let(21.0)
        if not run.workers or unsettled(run):
            return
        CURSOR_FAULTS[name](run, random.Random(number))
        send_some(run, number, sends)
        mirror = run.begin("r1")
        if name == "lost_cursors":
            lose(run, mirror)
        run.let(0.3)

    do.__name__ = do.__qualname__ = name
    return rule(number=numbers, sends=few)(do)


def unsettled(run: Simulation) -> bool:
    """Tell whether a transaction, be it somebody else's, still hides from readers what was delivered before."""
    logs = [log for topic in run.world.own_topics for log in run.world.paris.kafka.topics[topic][1]]
    return run.world.broker.ending() or any(log.open for log in logs)


def lose(run: Simulation, mirror: Worker) -> None:
    """Nothing is delivered without cursors; a person has them restored, and it goes on."""
    before = list(run.model.got)
    said = run.loop.run_until(lambda: "has lost its cursors" in mirror.station.side.why_not, 20.0)
    run.let(0.5)
    if run.model.got != before:
        raise Lied(f"delivered without cursors: {before}, {run.model.got}")
    if said:
        run.reach("lost_cursors")
    mirror.kill(lose=True)
    run.let(0.5)
    task = restore(run, mirror.station.settings)
    if not run.loop.run_until(task.done, 60.0):
        raise Lied("the cursors could not be restored")
    task.result()
    run.begin("r1")


for each in SINK_FAULTS:
    setattr(SinkRules, each, _rule_of(each))
for each in CURSOR_FAULTS:
    setattr(SinkRules, each, _cursor_rule_of(each))
