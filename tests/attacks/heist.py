"""One run of days, in the middle of which everything that the members hold is copied."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import loot
from days import HOUR, MADE, MINUTE, Days
from loot import Loot
from thief import Thief

if TYPE_CHECKING:
    from thief import Seen

    from sealwire.keys.secrets import Secrets

LOOK = 10 * MINUTE  # ms: how often a worker looks for what is to be erased
WINDOW = 28 * HOUR + LOOK + 5 * MINUTE  # a window of four hours, the day's grace, a look, and two clocks
SESSION = HOUR + (5 + 2) * MINUTE  # a session's longest life, two clocks, and a look


@dataclass
class Heist:
    """What was stolen at ``at`` (ms), by the name of the worker, and the thief who has the log of before and after."""

    run: Days
    at: int
    secrets: dict[str, Secrets]
    vaults: dict[str, Loot]
    memories: dict[str, Loot]
    thief: Thief
    everything: list[Seen]  # all that a thief could have opened

    def open(self, stolen: Loot) -> list[Seen]:
        """What the thief opens with this."""
        return self.thief.open(stolen)


def heist(before: float, after: float) -> Heist:
    """Run for hours before and after a theft at a random moment; the same again with the same SEED."""
    dice = random.Random(f"{os.environ['SEED']} heist {before}")
    run = Days(dice.randrange(1 << 32))
    for name in ("s1", "r1"):
        run.begin(name)
    run.hours(before)
    run.let(dice.uniform(0, HOUR / 1000))
    for part in range(3):
        run.send(part, 1, 0)
    run.let(dice.uniform(1, 300))
    at = run.now()
    secrets = {name: vault.secrets for name, vault in run.vaults.items()}
    memories = {worker.name: loot.of_memory(worker) for worker in run.alive()}
    run.hours(after)
    assert not run.model.behind()
    thief = Thief(run.realm.project.root.project_id, run.world.cloud.given)
    vaults = {name: loot.of_secrets(each) for name, each in secrets.items()}
    everything = thief.open(Loot(sessions=dict(MADE)))
    assert len(everything) == len(thief.envelopes)
    run.close()
    return Heist(run, at, secrets, vaults, memories, thief, everything)
