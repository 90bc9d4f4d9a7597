"""Twenty seconds of a broker that lies to a mirror in frames of every kind; make lying goes on for as long as told."""

from __future__ import annotations

import random
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

sys.path.append(str(Path(__file__).parents[1] / "chaos"))

from lying import Lying

if TYPE_CHECKING:
    from conftest import Clusters

pytestmark = pytest.mark.kafka

SECONDS: Final = 20


def test_whatever_a_broker_says_a_mirror_delivers_what_was_sent_and_nothing_else(
    clusters: Clusters, tmp_path: Path
) -> None:
    seed = random.randrange(1_000_000)
    print(f"make lying ARGS='--seed {seed} --minutes {SECONDS / 60:g}'")
    with ExitStack() as stack:
        lying = Lying(stack, clusters, tmp_path, seed)
        lying.run(SECONDS)
        outcome = lying.outcome()
        print(outcome)
    assert outcome.clean, [str(outcome), *outcome.wrong, (tmp_path / "differences.txt").read_text()[:5000]]
    assert outcome.lies > 0
