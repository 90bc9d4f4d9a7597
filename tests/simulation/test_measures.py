"""How soon what the cloud does is noticed, and how soon it is healed."""

from __future__ import annotations

import pytest
from machine import HostileMachine
from simulation import Simulation

SEEDS = range(5)
HOUR = 3_600_000  # ms


def flowing(seed: int) -> Simulation:
    """A run in which all that was sent has arrived."""
    run = Simulation(seed)
    run.begin("s1")
    run.begin("r1")
    for part in range(3):
        run.send(part, 2, 0)
    assert run.loop.run_until(run.model.whole, 20.0)
    run.let(1.0)
    return run


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gap_that_the_cloud_made_is_healed_within_ten_seconds_of_being_met(seed: int) -> None:
    run = flowing(seed)
    run.world.cloud.swallow["acme.orders"] = 1
    run.send(0, 2, 0)
    run.let(1.0)
    run.send(0, 3, 0)
    run.let(0.1)
    assert run.model.behind() == [0]
    assert run.loop.run_until(run.model.whole, 10.0)
    run.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tail_that_the_cloud_keeps_back_shows_as_stale_within_stale_after_and_five_seconds(seed: int) -> None:
    run = flowing(seed)
    run.world.cloud.swallow["acme.orders"] = 1000
    run.let(seed * 7.0)
    run.send(1, 1, 0)
    (mirror,) = run.alive("r")
    assert run.loop.run_until(lambda: any("stale" in words for words in run.model.words(mirror, 1)), 65.0)
    run.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cloud_that_shows_nothing_new_at_all_shows_as_stale_five_seconds_and_a_look_after_words_were_due(
    seed: int,
) -> None:
    run = flowing(seed)
    run.let(seed * 7.0)
    run.world.cloud.frozen = "freeze"
    (mirror,) = run.alive("r")
    for part in range(3):
        assert not run.model.words(mirror, part)
    assert run.loop.run_until(lambda: all(run.model.words(mirror, part) for part in range(3)), 65.0 + 2.0)
    run.close()


@pytest.mark.parametrize("kinds", ["r", "s", "rs"])
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_jumps_an_hour_under_running_workers_delivers_nothing_wrong_and_all_when_it_is_right(
    kinds: str, jump: int
) -> None:
    """What was sealed by a clock that was ahead waits, by its name, until that time has come."""
    run = flowing(1)
    moved = [worker for worker in run.alive() if worker.name[0] in kinds]
    for ahead in (jump, 0):
        for worker in moved:
            worker.process.ahead = ahead
        for part in range(3):
            run.send(part, 2, 0)
        run.let(70.0)
        run.model.check()
        assert run.model.unnamed(run) == []
    assert run.loop.run_until(run.model.whole, HOUR / 1000)
    run.close()


def test_a_run_is_the_same_again_with_its_seed() -> None:
    ends = []
    for _ in range(2):
        run = HostileMachine()
        run.begin(seed=7, ahead=0, partway=True, hours=False, whole=False)
        run.run.do("recreate", 9)
        run.send(part=0, count=3, codec=0, wait=0.3)
        run.crash(kind="r", number=1, sends=2, after=77, lose=True, again=True, wait=0.3)
        run.run.do("drop", 5)
        run.send(part=0, count=2, codec=0, wait=0.02)
        run.teardown()
        ends.append((run.run.loop.steps, run.run.loop.time(), run.run.model.again))
    assert ends[0] == ends[1]
