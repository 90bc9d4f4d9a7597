"""Whatever the cloud does, whenever workers die: what is delivered is the source, in order; what is not has a name."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import HostileMachine

SEED = int(os.environ["SEED"])
EXAMPLES = int(os.environ.get("EXAMPLES", "600"))
AT_ONCE = 100  # examples of one test
STEPS = 25

HOW = settings(
    max_examples=AT_ONCE,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    derandomize=False,
    print_blob=False,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("part", range(max(EXAMPLES // AT_ONCE, 1)))
def test_no_lie_is_unnoticed(part: int) -> None:
    ended = 0

    class Run(HostileMachine):
        def teardown(self) -> None:
            nonlocal ended
            ended += 1
            super().teardown()
            if ended % 20 == 0:
                gc.collect()

    try:
        run_state_machine_as_test(seed(f"{SEED} {part}")(Run), settings=HOW)
    except BaseException as error:
        error.add_note(f'again: make simulation SEED={SEED} EXAMPLES={EXAMPLES} ARGS="-n0 -k unnoticed[{part}]"')
        raise
    assert ended >= min(AT_ONCE, EXAMPLES)
