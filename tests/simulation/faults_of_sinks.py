"""What becomes of transactions at a sink whose cluster is honest: answers that are lost, late markers, time-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_made import Made, build
from virtual_loop import NOBODY

from sealwire.agents.header import restamp

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from simulation import Simulation, Worker

SINK_FAULTS: dict[str, Callable[[Simulation, Worker, random.Random], None]] = {}
SEATING = {"begin_lost", "begin_unanswered", "other_transaction"}  # what is met when a lane is seated
DEEDS = ("begin", "include", "produce", "commit")


def _cut(deed: str, *, done: bool) -> Callable[[Simulation, Worker, random.Random], None]:
    def cut(_run: Simulation, mirror: Worker, dice: random.Random) -> None:
        mirror.link.cuts += [(deed, done)] * dice.choice((1, 1, 3))

    return cut


for each in DEEDS:
    SINK_FAULTS[f"{each}_lost"] = _cut(each, done=False)
    SINK_FAULTS[f"{each}_unanswered"] = _cut(each, done=True)


def _sink_fault(does: Callable[[Simulation, Worker, random.Random], None]) -> None:
    SINK_FAULTS[does.__name__] = does


@_sink_fault
def timed_out_transaction(run: Simulation, _mirror: Worker, dice: random.Random) -> None:
    """What is open turns out to have been open for too long: it is aborted, and its producer fenced."""
    run.world.broker.expire_next = dice.choice(("produce", "commit", "commit"))


@_sink_fault
def late_markers(run: Simulation, _mirror: Worker, dice: random.Random) -> None:
    """Transactions are decided, and their markers come later, one here, one there."""
    run.world.broker.slow_markers += dice.randint(1, 3)


@_sink_fault
def slow_sink(run: Simulation, mirror: Worker, dice: random.Random) -> None:
    """Requests of one mirror take long."""
    mirror.link.lag = dice.choice((0.05, 0.3, 2.0, 4.5, 9.0))
    run.loop.call_later(dice.choice((0.5, 3.0, 15.0)), setattr, mirror.link, "lag", 0.0, context=NOBODY)


@_sink_fault
def other_transaction(run: Simulation, _mirror: Worker, dice: random.Random) -> None:
    """Somebody else's transaction is open where cursors, ledger and records are, and aborted in the end."""
    seconds, producer = dice.choice((0.3, 2.0, 20.0)), run.world.broker.new_identity()
    for topic in run.world.own_topics:
        for log in run.world.paris.kafka.topics[topic][1]:
            batch = bytearray(build([Made(1, b"nobody's", b"nobody's", [])], 0))
            restamp(memoryview(batch), producer, 0, 0, transactional=True)
            base = log.append(batch)
            log.note(base, "other_transaction")  # type: ignore[attr-defined]
            log.open[producer] = base
            run.loop.call_later(seconds, lambda log=log: log.mark(producer, commit=False), context=NOBODY)
