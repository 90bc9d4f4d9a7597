"""The state machine that Hypothesis drives: what applications, the cloud and machines may do, in any order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import faults_of_envelopes
import faults_of_offsets
import faults_of_readers
import faults_of_statements
from agreement import look_at_the_cursors, look_at_the_ledger
from aiokafka.structs import TopicPartition
from hand import FAULTS
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from membership_rules import MembershipRules
from model import Lied
from people import Vault
from simulation import Simulation, unhurried
from sink_rules import SinkRules
from world import LANES

if TYPE_CHECKING:
    from simulation import Worker

__all__ = [
    "REACHED",
    "Machine",
    "faults_of_envelopes",
    "faults_of_offsets",
    "faults_of_readers",
    "faults_of_statements",
]

REACHED: Counter[str] = Counter()  # how many times a mirror met each fault, in all runs of this process
YEAR = 365 * 24 * 3600 * 1000  # ms
APART = 150_000  # ms: two clocks are five minutes apart at most
MOST = 5  # processes that run at a time
STALE_WITHIN = 60 + 5 + 5.0  # seconds after a sender's last word, and a look
WORDS_KEPT_BACK = 5 * 60.0  # seconds for which a cloud may serve old words as new
HEALED_WITHIN = 80 * 60.0  # seconds: who asked in vain for long asks again after an hour

numbers = st.integers(0, (1 << 16) - 1)
whiles = st.sampled_from((0.0, 0.003, 0.02, 0.3))
crash_after = st.one_of(st.integers(1, 40), st.integers(1, 400))


class Machine(SinkRules, MembershipRules, RuleBasedStateMachine):
    """One hostile run."""

    @initialize(
        seed=st.integers(0, (1 << 32) - 1),
        ahead=st.sampled_from((0, 0, -APART, APART)),
        partway=st.booleans(),
        hours=st.integers(0, 7).map(lambda number: number == 7),
        whole=st.booleans(),
        once=st.booleans(),
    )
    def begin(self, seed: int, ahead: int, *, partway: bool, hours: bool, whole: bool, once: bool = True) -> None:
        self.run = Simulation(seed, REACHED, "exactly-once" if once else "at-least-once")
        self.run.reach("exactly_once" if once else "at_least_once")
        self.hours, self.whole = hours, whole
        self.run.begin("s1", ahead=ahead)
        self.run.begin("r1", ahead=-ahead)
        for part in range(3):
            self.run.send(part, 2, 0)
        self.run.let(1.0 if partway else 0.0)

    # Applications, and time

    @rule(part=st.integers(0, 2), count=st.integers(1, 4), codec=st.integers(0, 4), wait=whiles)
    def send(self, part: int, count: int, codec: int, wait: float) -> None:
        self.run.send(part, count, codec)
        self.run.let(wait)

    @rule(count=st.integers(2, 6))
    def send_to_all(self, count: int) -> None:
        for part in range(3):
            for number in range(count):
                self.run.send(part, 1, number % 5)
            self.run.let(0.03)

    @rule(seconds=st.sampled_from((0.01, 0.1, 1.0, 6.0, 35.0, 200.0)))
    def wait(self, seconds: float) -> None:
        self.run.let(seconds)

    @precondition(lambda self: self.hours)
    @rule()
    def wait_for_an_hour(self) -> None:
        self.run.let(3700.0)

    # Machines

    def _one(self, number: int, kind: str = "") -> Worker | None:
        alive = self.run.alive(kind)
        return alive[number % len(alive)] if alive else None

    @rule(
        kind=st.sampled_from("sr"), number=numbers, sends=st.integers(0, 4), after=crash_after,
        lose=st.booleans(), again=st.booleans(), wait=whiles,
    )  # fmt: skip
    def crash(self, kind: str, number: int, sends: int, after: int, wait: float, *, lose: bool, again: bool) -> None:
        """Kill a worker between any two steps, mostly while something is on its way."""
        worker = self._one(number, kind)
        if worker is None:
            return
        run = self.run

        def kill() -> None:
            worker.kill(lose=lose)
            run.reach("crash_of_a_mirror" if worker.name.startswith("r") else "crash_of_a_sealer")
            if worker.name.startswith("r"):
                run.model.twice = "a mirror was killed"

        for each in range(sends):
            run.send((number + each) % 3, 1, each)
        run.loop.after_steps(after, kill)
        run.let(0.5)
        run.loop.spring()
        if again:
            run.begin(worker.name, ahead=worker.process.ahead)
        run.let(wait)

    @rule(name=st.sampled_from(("s1", "s2", "r1", "r2")), ahead=st.sampled_from((0, 0, -APART, APART)), wait=whiles)
    def start(self, name: str, ahead: int, wait: float) -> None:
        """Start a worker; one of its kind may run already, and take itself for the only one."""
        if len(self.run.alive()) >= MOST or any(each.name == name for each in self.run.alive()):
            return
        if self.run.alive(name[0]):
            self.run.reach("two_mirrors" if name[0] == "r" else "two_sealers")
            if name[0] == "r":
                self.run.model.twice = "two mirrors have the same lanes"
        self.run.begin(name, ahead=ahead)
        self.run.let(wait)

    @rule(number=numbers, wait=whiles)
    def stop(self, number: int, wait: float) -> None:
        """End a worker in order."""
        worker = self._one(number)
        if worker is None or worker.process.stopped is not None:
            return
        if worker.name.startswith("r"):
            self.run.model.twice = "a mirror was stopped"
        task = worker.spawn(worker.station.stop())
        self.run.loop.run_until(task.done, 12.0)
        worker.kill(lose=False)
        self.run.reach("stop_in_order")
        self.run.let(wait)

    @rule(number=numbers, seconds=st.sampled_from((0.5, 5.0, 15.0, 100.0)))
    def suspend(self, number: int, seconds: float) -> None:
        """Let a machine stand still for a while, and go on as if nothing had been."""
        worker = self._one(number)
        if worker is None or worker.process.stopped is not None:
            return
        self.run.loop.suspend(worker.process)
        self.run.reach("suspend")
        self.run.loop.call_later(seconds, self.run.loop.resume, worker.process)

    @rule(number=numbers, wait=whiles)
    def resume_a_snapshot(self, number: int, wait: float) -> None:
        """Let a machine run twice: the same vault, the same state."""
        worker = self._one(number)
        if worker is None or len(self.run.alive()) >= MOST:
            return
        if worker.name.startswith("r"):
            self.run.model.twice = "a mirror runs twice"
        twin = Vault(worker.vault.secrets)
        self.run.twins.setdefault(worker.name, []).append(twin)
        self.run.begin(worker.name, ahead=worker.process.ahead, vault=twin)
        self.run.reach("snapshot_twice")
        self.run.let(wait)

    @rule(number=numbers, ahead=st.sampled_from((-YEAR, YEAR)), seconds=st.sampled_from((0.3, 5.0, 20.0)))
    def wrong_by_a_year(self, number: int, ahead: int, seconds: float) -> None:
        """Restart a worker with a clock that is wrong by a year, for a while."""
        worker = self._one(number)
        if worker is None:
            return
        worker.kill(lose=False)
        self.run.model.twice = "a mirror was killed"
        wrong = self.run.begin(worker.name, ahead=ahead)
        self.run.reach("clock_wrong_by_a_year")
        self.run.let(seconds)
        wrong.kill(lose=False)
        self.run.begin(worker.name)

    @rule(number=numbers, count=st.integers(1, 3))
    def lose_events(self, number: int, count: int) -> None:
        """Let Faust empty the queues of an agent."""
        worker = self._one(number)
        if worker is not None:
            worker.station.agent.lose = count
            self.run.reach("lose_events")

    @rule(number=numbers)
    def delete_the_table(self, number: int) -> None:
        """Let the table of a direction be gone."""
        worker = self._one(number)
        if worker is not None:
            worker.station.table.clear()
            self.run.reach("delete_the_table")

    @rule(number=numbers, lanes=st.sets(st.integers(0, LANES - 1)), wait=whiles)
    def rebalance(self, number: int, lanes: set[int], wait: float) -> None:
        """Take lanes from a worker, or give them to it."""
        worker = self._one(number)
        if worker is None or worker.process.stopped is not None:
            return
        if worker.name.startswith("r"):
            self.run.model.twice = "lanes went from mirror to mirror"
        station = worker.station
        task = worker.spawn(station.lanes.on_revoked())
        self.run.loop.run_until(task.done, 6.0)
        found = {TopicPartition(station.settings.lane_topic, lane) for lane in lanes}
        worker.do(station.lanes.on_assigned, found)
        self.run.reach("rebalance")
        self.run.let(wait)

    # The end

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        run = self.run
        try:
            self._end()
        finally:
            run.close()

    def _end(self) -> None:
        run = self.run
        for worker in run.alive():
            if worker.process.stopped is not None:
                run.loop.resume(worker.process)
        self._look_for_words()
        self._agree()
        self._heal()
        self._agree(cursors=True)

    def _agree(self, *, cursors: bool = False) -> None:
        """What ledger and cursors say is at the sink."""
        run = self.run
        if not run.model.once:
            return
        if not run.loop.run_until(lambda: not run.world.broker.ending(), 30.0):
            raise Lied("a transaction never ends")
        reached = look_at_the_ledger(run.world.paris.kafka, "paris")
        if cursors:
            look_at_the_cursors(run.world.paris.kafka, "paris", reached)

    def _look_for_words(self) -> None:
        """What the sink lacks must have a name by now."""
        run = self.run
        run.let(STALE_WITHIN)
        if run.model.unnamed(run):
            run.let(WORDS_KEPT_BACK)
            if found := run.model.unnamed(run):
                raise Lied("; ".join(found))

    def _heal(self) -> None:
        """The cloud is honest again, though it may have lost what it did not show: all of it arrives, in order."""
        run = self.run
        keep = {worker.name: worker for worker in run.alive()}
        for worker in run.alive():
            if keep[worker.name] is not worker or worker.name in {"s2", "r2"}:
                worker.kill(lose=False)
        run.model.twice = "others took over"
        if self.desk.charter.version:
            self.desk.sign(max_age=0)
        for name in ("s1", "r1"):
            if name in keep:
                worker, station = keep[name], keep[name].station
                every = {TopicPartition(station.settings.lane_topic, lane) for lane in range(LANES)}
                worker.do(station.lanes.on_assigned, every)
            else:
                run.begin(name)
        run.world.cloud.be_honest(whole=self.whole)
        with unhurried(60.0):
            healed = run.loop.run_until(self._whole, HEALED_WITHIN, 1.0)
        if not healed:
            self._explain()
        run.errors()

    def _whole(self) -> bool:
        """Look; a person starts again who ended for good, its identity used twice, or has the older vault."""
        for worker in self.run.alive():
            control = worker.station.control
            newer = control.trust.credential_of(control.secrets.identity.member_id)
            if newer is not None and control.credential is None:
                vaults = [self.run.vaults[worker.name], *self.run.twins.get(worker.name, ())]
                if good := [each for each in vaults if each.secrets.is_ours(newer)]:
                    worker.kill(lose=False)
                    self.run.begin(worker.name, vault=good[0])
        for name in ("s1", "r1"):
            if not any(each.name == name for each in self.run.alive()):
                self.run.begin(name)
        return self.run.model.whole()

    def _explain(self) -> None:
        run = self.run
        lines = []
        for part in run.model.behind():
            words = [run.model.words(mirror, part) for mirror in run.alive("r")]
            lines.append(f"{part}: {run.model.got[part]} of {len(run.model.source[part])}: {words}")
        lines += [f"{worker.name}: {worker.station.side.snapshot()}" for worker in run.alive()]
        raise Lied("the cloud is honest, and still not all arrives:\n" + "\n".join(lines))


def _rule_of(name: str) -> object:
    def do(self: Machine, number: int, sends: int, wait: float) -> None:
        self.run.do(name, number)
        for each in range(sends):  # mostly to one source partition, so that something comes after what the cloud did
            self.run.send(number % 3 if each < 2 else (number + 1) % 3, 1 + each, each)  # noqa: PLR2004
            self.run.let(0.02)
        self.run.let(wait)

    do.__name__ = do.__qualname__ = name
    return rule(number=numbers, sends=st.integers(0, 3), wait=whiles)(do)


class HostileMachine(Machine):
    """The machine, with every fault of the cloud as a rule."""

    for _name in FAULTS:
        locals()[_name] = _rule_of(_name)
