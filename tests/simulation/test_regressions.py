"""The rarest interleavings that were found once, as plain steps, each with what it broke."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from faults_of_offsets import Lie
from machine import HostileMachine

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def a_run(seed: int = 1, ahead: int = 0, *, partway: bool = False, whole: bool = False) -> Iterator[HostileMachine]:
    """A run that is judged as every other is, when its steps are over."""
    run = HostileMachine()
    run.begin(seed=seed, ahead=ahead, partway=partway, hours=False, whole=whole)
    yield run
    run.teardown()


def test_a_worker_gets_ready_though_it_was_told_of_an_end_that_is_not_there() -> None:
    with a_run() as run:
        for topic in ("acme.control", "acme.sessions"):
            run.run.world.cloud.view("r1").lies[topic, 0].append(Lie("lie_about_statements", "end", 3))
        run.wait(seconds=35.0)
        assert run.run.alive("r")[0].station.control.caught_up.is_set()


def test_of_two_machines_of_one_identity_the_one_without_its_new_key_says_so_and_a_person_ends_it() -> None:
    with a_run(seed=0) as run:
        run.run.do("freeze", 0)
        run.run.let(0.0)
        run.date_the_charter(wait=0.0)
        run.date_the_charter(wait=0.0)
        run.resume_a_snapshot(number=0, wait=0.0)
        for _ in range(5):
            run.date_the_charter(wait=0.0)
        run.date_the_charter(wait=0.02)
        run.date_the_charter(wait=0.02)
        run.rotate(number=0, wait=0.0, what="identity")
        run.date_the_charter(wait=0.0)
        run.date_the_charter(wait=0.0)


def test_cursors_that_somebody_cut_behind_a_restoration_that_came_to_nothing_go_on() -> None:
    run: Any
    with a_run(seed=0) as run:
        run.timed_out_transaction(number=0, sends=1)
        run.lost_cursors(number=0, sends=1)
        run.restored_cursors(number=32768, sends=1)
        run.timed_out_transaction(number=0, sends=1)
