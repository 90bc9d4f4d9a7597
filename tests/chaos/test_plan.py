"""The same seed gives the same faults; each is where it can be done."""

from __future__ import annotations

from itertools import pairwise

import pytest
from plan import REST, SETTLES, START, TARGETS, WORKERS, Fault, Kind, plan

SHORT = (120.0, 8)
LONG = (420.0, 20)


def test_the_same_seed_gives_the_same_plan_and_another_gives_another() -> None:
    assert plan(7, *LONG) == plan(7, *LONG)
    assert plan(7, *LONG) != plan(8, *LONG)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize(("seconds", "kills"), [SHORT, LONG, (60.0, 3), (33.0, 0)])
def test_a_plan_has_as_many_kills_as_asked_for_and_begins_and_ends_with_load_alone(
    seconds: float, kills: int, seed: int
) -> None:
    faults = plan(seed, seconds, kills)
    assert sum(fault.kind is Kind.KILL for fault in faults) == kills
    assert all(fault.at >= START and fault.end <= seconds - REST for fault in faults)
    assert faults == sorted(faults)
    assert all(fault.target in TARGETS.get(fault.kind, WORKERS) for fault in faults)


@pytest.mark.parametrize("seed", range(30))
def test_around_a_kill_alone_nothing_else_is_done(seed: int) -> None:
    faults = plan(seed, *LONG)
    alone = [fault for fault in faults if fault.alone]
    assert {fault.target[:-1] for fault in alone} == {"sealer", "mirror"}
    assert len(alone) >= LONG[1] // 2 - 2
    for one in alone:
        near = [other for other in faults if other.end > one.at - SETTLES and other.at < one.at + 8 and other != one]
        assert near == []


@pytest.mark.parametrize("seed", range(30))
def test_a_worker_that_left_is_not_killed_and_a_broker_that_is_away_is_not_asked(seed: int) -> None:
    by_target: dict[str, list[Fault]] = {}
    for fault in plan(seed, *LONG):
        by_target.setdefault(fault.target, []).append(fault)
    for faults in by_target.values():
        for one, other in pairwise(faults):
            apart = other.at - one.end
            assert apart >= SETTLES - 1e-6 or {one.kind, other.kind} == {Kind.FREEZE, Kind.KILL}


def test_three_long_plans_hold_every_kind_several_times() -> None:
    kinds = [fault.kind for seed in (1, 2, 3) for fault in plan(seed, *LONG)]
    assert min(kinds.count(kind) for kind in Kind) >= 5


def test_only_the_kinds_that_are_asked_for_are_done() -> None:
    assert {fault.kind for fault in plan(1, *LONG, [Kind.CUT])} == {Kind.CUT, Kind.KILL}


@pytest.mark.parametrize(("seconds", "kills"), [(START + REST + 10, 1), (40.0, 200)])
def test_a_plan_for_which_there_is_no_room_is_refused_in_words(seconds: float, kills: int) -> None:
    with pytest.raises(ValueError, match="seconds"):
        plan(1, seconds, kills)
