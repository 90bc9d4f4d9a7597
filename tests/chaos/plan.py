"""What is done to a fleet, and when: the same seed, length and number of kills give the same plan.

A plan goes from rough stretches, where faults of all kinds fall together, to calm ones, where two workers are killed
one after the other and nothing else is done: so the pause that a kill alone makes can be told.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_T = TypeVar("_T")

MEMBERS: Final = 3  # workers of a site and direction
SIDES: Final = ("sealer", "mirror")
CLUSTERS: Final = ("source", "cloud", "sink")
DOORS: Final = ("cloud for sealers", "cloud for mirrors", "sink for mirrors")
CLOUD: Final = "cloud"

START: Final = 5.0  # seconds of load before the first fault
REST: Final = 10.0  # seconds of load after the last
CALM: Final = 24.0  # seconds of a calm stretch: a kill of each side, with 8 s to come back
SHORTEST: Final = 18.0  # seconds of a rough stretch: a worker is stopped for longer than its session lasts
EVERY: Final = 5.0  # seconds from fault to fault where it is rough, kills aside
SETTLES: Final = 4.0  # seconds in which the target of a fault gets no other


class Kind(StrEnum):
    """What can be done."""

    KILL = "kill"  # a worker, by SIGKILL; `sealwire up` starts it again
    FREEZE = "freeze"  # a worker, by SIGSTOP, beyond its session's time-out; then SIGCONT
    LEAVE = "leave"  # a worker stops in order, and comes again: two rebalances
    CRASH = "crash"  # a broker, by SIGKILL, started again
    RESTART = "restart"  # a broker, in order
    CUT = "cut"  # connections through a door are reset
    STALL = "stall"  # connections through a door stay open while nothing comes
    DELAY = "delay"  # what goes through a door comes later
    REPEAT = "repeat"  # envelopes are put into the cloud again, out of order
    REORDER = "reorder"  # envelopes that no mirror has read are put behind others, out of order, and were never before
    DELETE = "delete"  # envelopes that no mirror has read are deleted
    RECREATE = "recreate"  # a cloud topic is deleted with what no mirror has read, and made anew


LASTS: Final[dict[Kind, tuple[float, float]]] = {
    Kind.FREEZE: (12.0, 14.0),
    Kind.LEAVE: (3.0, 6.0),
    Kind.CRASH: (8.0, 10.0),  # until it answers again
    Kind.RESTART: (8.0, 10.0),
    Kind.STALL: (1.0, 12.0),
    Kind.DELAY: (3.0, 8.0),
    Kind.REORDER: (1.0, 3.0),
    Kind.DELETE: (1.0, 3.0),
    Kind.RECREATE: (1.0, 3.0),
}
TARGETS: Final[dict[Kind, tuple[str, ...]]] = {
    **dict.fromkeys((Kind.CRASH, Kind.RESTART), CLUSTERS),
    **dict.fromkeys((Kind.CUT, Kind.STALL, Kind.DELAY), DOORS),
    **dict.fromkeys((Kind.REPEAT, Kind.REORDER, Kind.DELETE, Kind.RECREATE), (CLOUD,)),
}
WORKERS: Final = tuple(f"{side}{number}" for side in SIDES for number in range(1, MEMBERS + 1))


class Fault(NamedTuple):
    """One thing done: seconds from the load's begin, how long it lasts, and a seed for what is chosen while it does."""

    at: float
    kind: Kind
    target: str
    lasts: float = 0.0
    alone: bool = False
    seed: int = 0

    @property
    def end(self) -> float:
        return self.at + self.lasts

    def __str__(self) -> str:
        lasts = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.at:6.1f} s  {self.kind} {self.target}{lasts}{', alone' if self.alone else ''}"


def plan(seed: int, seconds: float, kills: int, kinds: Collection[Kind] = tuple(Kind)) -> list[Fault]:
    """Give all faults of a run, in the order in which they begin.

    Raises:
        ValueError: there is no room for so many kills.
    """
    random = Random(seed)
    rough, calm = _stretches(seconds, kills)
    if not rough:
        raise ValueError(f"{seconds:g} seconds are too few: {START + REST + SHORTEST:g} is the least")
    found = [fault for begin, _ in calm for fault in _calm(random, begin)]
    victims = _in_turn(random, WORKERS)
    others = _in_turn(random, [kind for kind in Kind if kind in kinds and kind is not Kind.KILL])
    left = kills - len(found)
    for number, (begin, end) in enumerate(rough):
        share = left // (len(rough) - number)
        left -= share
        found += _rough(random, begin, end, [next(victims) for _ in range(share)], others)
    return sorted(found)


def _stretches(seconds: float, kills: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Give the rough stretches and the calm ones between them, as [begin, end) in seconds."""
    room = seconds - START - REST
    if room < SHORTEST:
        return [], []
    pairs = min(kills // 4, int((room - SHORTEST) // (CALM + SHORTEST)))
    length = (room - pairs * CALM) / (pairs + 1)
    begins = [START + number * (length + CALM) for number in range(pairs + 1)]
    return [(each, each + length) for each in begins], [(each + length, each + length + CALM) for each in begins[:-1]]


def _calm(random: Random, begin: float) -> list[Fault]:
    """Kill a worker of each side, each with time to come back before anything else is done."""
    times = (begin + 6 + random.uniform(0, 0.5), begin + 15 + random.uniform(0, 0.5))
    return [
        Fault(round(at, 1), Kind.KILL, f"{side}{random.randint(1, MEMBERS)}", alone=True)
        for side, at in zip(random.sample(SIDES, len(SIDES)), times, strict=True)
    ]


def _rough(random: Random, begin: float, end: float, victims: Iterable[str], others: Iterator[Kind]) -> list[Fault]:
    """Place kills and others of one stretch, none beyond its end, and never two that are in each other's way."""
    found: list[Fault] = []
    for victim in victims:
        fault = _placed(random, begin, end, Kind.KILL, (victim,), found)
        if fault is None:
            raise ValueError(f"there is no room for so many kills between {begin:.0f} and {end:.0f} seconds")
        found.append(fault)
    for kind in islice(others, round((end - begin) / EVERY)):
        fault = _placed(random, begin, end, kind, TARGETS.get(kind, WORKERS), found)
        if fault is not None:
            found.append(fault)
    return found


def _placed(
    random: Random, begin: float, end: float, kind: Kind, targets: Sequence[str], others: Sequence[Fault]
) -> Fault | None:
    """Find a time and a target where no other is in the way; None where the stretch is too full."""
    for _ in range(100):
        lasts = round(random.uniform(*LASTS.get(kind, (0.0, 0.0))), 1)
        at = round(random.uniform(begin, end - lasts), 1)
        fault = Fault(at, kind, random.choice(targets), lasts, seed=random.getrandbits(32))
        if not any(_in_the_way(fault, other) for other in others):
            return fault
    return None


def _in_the_way(one: Fault, other: Fault) -> bool:
    """Whether both are done to the same thing at once. (What is frozen may be killed: it never wakes.)"""
    if one.target != other.target or {one.kind, other.kind} == {Kind.FREEZE, Kind.KILL}:
        return False
    return one.at < other.end + SETTLES and other.at < one.end + SETTLES


def _in_turn(random: Random, what: Sequence[_T]) -> Iterator[_T]:
    """Give each once in a random order, then again in another, for ever; nothing of nothing."""
    while what:
        yield from random.sample(what, len(what))
