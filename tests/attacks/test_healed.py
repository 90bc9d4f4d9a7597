"""After a theft that was noticed: the member excluded and admitted anew, or its receiving keys replaced.

The thief acts: with the identity key it announces receiving keys of its own, again and again; the cloud helps it with
everything old that it ever had.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import loot
import pytest
from days import CONTROL, HOUR, MADE, Days
from impostor import Impostor
from sim_kafka import readable
from thief import TALLY, Thief

from sealwire.keys.wire import type_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loot import Loot
    from thief import Seen

SEEDS = range(2)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Days]:
    """Some hours of traffic from Berlin to Paris; how many is drawn anew with each SEED."""
    dice = random.Random(f"{os.environ['SEED']} {request.node.name}")
    made = Days(dice.randrange(1 << 32))
    made.begin("s1")
    made.begin("r1")
    made.hours(dice.uniform(1, 8))
    yield made
    made.close()


def stolen_from(run: Days, name: str) -> tuple[Impostor, Loot]:
    """All that a member's memory and vault hold, and a thief who speaks with its identity key."""
    (worker,) = (each for each in run.alive() if each.name == name)
    secrets = run.vaults[name].secrets
    thief = Impostor(run, secrets.identity, run.known[secrets.identity.member_id])
    return thief, loot.of_memory(worker) | loot.of_secrets(secrets)


def go_on(run: Days, thief: Impostor, hours: float) -> None:
    """Let hours pass in which the thief announces its keys, and the cloud tells everything old once more."""
    end = run.loop.time() + hours * 3600
    while run.loop.time() < end:
        thief.announce()
        old = [batch for topic, _partition, batch in run.world.cloud.given if topic == CONTROL]
        for batch in run.dice.sample(old, min(8, len(old))):
            for value in readable(batch):
                if type_of(value):
                    run.world.cloud.at(CONTROL).inject(value, run.dice.randbytes(8))
        run.hours(0.5)


def opened(run: Days, *stolen: Loot) -> list[Seen]:
    """All that a thief opens in the end, out of everything that ever stood in the cloud."""
    whole = loot.Loot()
    for each in stolen:
        whole |= each
    return Thief(run.realm.project.root.project_id, run.world.cloud.given).open(whole)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reader_that_was_excluded_and_admitted_anew_shares_nothing_with_its_thief(run: Days, seed: int) -> None:
    thief, stolen = stolen_from(run, "r1")
    stolen_at = run.now()
    go_on(run, thief, 2)
    run.refuse(thief.identity.member_id, stolen_at - HOUR)
    for worker in run.alive("r"):
        worker.kill(lose=False)
    run.newcomer("r3", "paris")
    run.let(60)
    healed_at = run.now()
    go_on(run, thief, 3)
    for worker in run.alive("s"):  # what a sealer believed before does not count: a restart, and one that is new
        worker.kill(lose=False)
    run.begin("s1")
    go_on(run, thief, 1)
    run.newcomer("s3", "berlin")
    go_on(run, thief, 2)
    seen = opened(run, stolen, thief.loot)
    assert [each for each in seen if stolen_at < each.sealed_at < healed_at]
    assert [each for each in seen if each.sealed_at >= healed_at] == []
    everything = opened(run, loot.Loot(sessions=dict(MADE)))
    TALLY["envelopes sealed after healing"] += sum(each.sealed_at >= healed_at for each in everything)
    assert sum(each.sealed_at >= healed_at for each in everything) > 5
