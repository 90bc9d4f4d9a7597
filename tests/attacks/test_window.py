"""Nothing that a member holds opens what was sealed before the window, at whatever moment it is taken.

One run of days with restarts and absences, in which everything that two senders and two readers hold is copied again
and again: the vaults, and the memories of those that run. The thief of each copy has the log of the whole run.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import loot
import pytest
from days import HOUR, MADE, Days
from heist import SESSION, WINDOW
from loot import Loot
from thief import Thief

if TYPE_CHECKING:
    from thief import Seen

MOMENTS = 70
AWAY_WINDOW = WINDOW + 20 * HOUR  # of a reader for which keys of a day were used: a day's window, and a day's grace


@dataclass(frozen=True)
class Copy:
    """What was taken of a member, and until when it ran (ms)."""

    name: str
    what: str
    ran_until: int
    taken: Loot


@dataclass
class Copies:
    """All copies, and what the thief of each opens."""

    run: Days
    taken: list[Copy]

    @cached_property
    def thief(self) -> Thief:
        return Thief(self.run.realm.project.root.project_id, self.run.world.cloud.given)

    @cached_property
    def seen(self) -> list[tuple[Copy, list[Seen]]]:
        return [(each, self.thief.open(each.taken)) for each in self.taken]

    @cached_property
    def everything(self) -> list[Seen]:
        return self.thief.open(Loot(sessions=dict(MADE)))

    def take(self, name: str, ran_until: int) -> None:
        """Copy a member's vault, and its memory if it runs."""
        self.taken.append(Copy(name, "vault", ran_until, loot.of_secrets(self.run.vaults[name].secrets)))
        for worker in self.run.alive():
            if worker.name == name:
                self.taken.append(Copy(name, "memory", ran_until, loot.of_memory(worker)))


@pytest.fixture(scope="module")
def copies() -> Copies:
    """Some 60 hours, in steps of minutes to hours."""
    dice = random.Random(f"{os.environ['SEED']} window")
    run = Days(dice.randrange(1 << 32))
    found = Copies(run, [])
    back, ran = dict.fromkeys(("s1", "s2", "r1", "r2"), 0.0), {}
    for name in back:
        run.begin(name)
    for part in range(3):  # a session that will never have a last word, and everything in it delivered
        run.send(part, 1, 0)
    run.let(60)
    for worker in run.alive("s"):
        worker.kill(lose=False)
    for _ in range(MOMENTS):
        for name, at in back.items():
            runs = any(worker.name == name for worker in run.alive())
            if not runs and run.loop.time() >= at:
                run.begin(name)
            elif runs and dice.random() < 0.06:
                run.alive(name)[0].kill(lose=dice.random() < 0.5)
                back[name] = run.loop.time() + dice.choice((0.0, 600.0, 6.0 * 3600))
        run.hours(dice.uniform(0.2, 1.5))
        ran |= {worker.name: run.now() for worker in run.alive()}
        for name in dice.sample(sorted(ran), 2):
            found.take(name, ran[name])
    for name in [each for each in back if not run.alive(each)]:
        run.begin(name)
    run.hours(3)
    assert not run.model.behind()
    yield found
    run.close()


def test_a_readers_vault_and_memory_open_nothing_from_before_the_window_whenever_they_are_taken(copies: Copies) -> None:
    tried, within = 0, 0
    for copy, seen in copies.seen:
        if copy.name.startswith("r"):
            begun = copy.ran_until - WINDOW
            assert [each for each in seen if each.sealed_at < begun] == [], copy
            tried += sum(each.sealed_at < begun for each in copies.everything)
            within += sum(begun <= each.sealed_at < copy.ran_until for each in seen)
    assert tried > 1000
    assert within > 1000


def test_a_senders_vault_opens_nothing_and_its_memory_the_sessions_of_its_last_hour(copies: Copies) -> None:
    opened = 0
    for copy, seen in copies.seen:
        if copy.name.startswith("s"):
            assert copy.what == "memory" or not seen
            assert [each for each in seen if abs(each.sealed_at - copy.ran_until) > SESSION] == [], copy
            opened += len(seen)
    assert opened > 20


def test_the_past_is_gone_whatever_is_stolen_together(copies: Copies) -> None:
    """Of all four members, at the moment when most had been sealed before the window, all at once."""
    last = max(copy.ran_until for copy in copies.taken)
    whole = Loot()
    for copy in copies.taken:
        if copy.ran_until > last - HOUR:
            whole |= copy.taken
    seen = copies.thief.open(whole)
    assert seen
    assert [each for each in seen if each.sealed_at < last - HOUR - WINDOW] == []


def test_a_reader_that_was_away_for_days_opens_all_that_waited_and_keeps_nothing_beyond_48_hours() -> None:
    run = Days(int(os.environ["SEED"]) + 1)
    run.begin("s1")
    reader = run.begin("r1")
    run.hours(1)
    reader.kill(lose=False)
    run.hours(100)
    run.begin("r1")
    assert run.loop.run_until(run.model.whole, 120.0)  # all that waited for it
    at_once = loot.of_secrets(run.vaults["r1"].secrets)
    run.hours(6)
    at, later = run.now(), loot.of_secrets(run.vaults["r1"].secrets)
    thief = Thief(run.realm.project.root.project_id, run.world.cloud.given)
    assert [each for each in thief.open(later) if each.sealed_at < at - AWAY_WINDOW] == []
    assert [each for each in thief.open(at_once) if each.sealed_at < at - AWAY_WINDOW]  # before it could look, it held
    assert [each for each in thief.open(later) if at - AWAY_WINDOW < each.sealed_at < at - WINDOW]
    run.close()
