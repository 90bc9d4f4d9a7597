"""How soon what the cloud does is noticed, and how soon it is healed."""

from __future__ import annotations

import pytest
from machine import HostileMachine
from simulation import Simulation

SEEDS = range(5)


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
