"""A pause is told from the times at which a partition of the sink grew."""

from __future__ import annotations

import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pauses import Pauses, pause

STEADY = [each / 10 for each in range(1000)]  # every tenth of a second, for 100 s


def without(begin: float, end: float) -> list[float]:
    return [each for each in STEADY if not begin < each < end]


@pytest.mark.parametrize(
    ("grew", "seconds"),
    [
        (without(50, 52.4), 2.4),
        (without(50.6, 53), 3.0),  # what was on its way came first
        (STEADY, 0.1),
        (without(49.5, 51), 1.0),
    ],
)
def test_it_lasts_from_the_kill_to_the_first_delivery_after_the_longest_silence(
    grew: list[float], seconds: float
) -> None:
    told = pause(grew, 50.0)
    assert told == pytest.approx(seconds, abs=0.11)


@pytest.mark.parametrize("grew", [[], without(40, 53), [each for each in STEADY if each < 50]])
def test_a_partition_that_was_silent_before_or_never_came_back_tells_nothing(grew: list[float]) -> None:
    assert pause(grew, 50.0) is None


class Slow:
    """An admin client that never gets an answer the first time, and an end that grows from then on."""

    def __init__(self) -> None:
        self.asked = 0

    def list_offsets(self, wanted: dict[Any, Any], **_: object) -> dict[Any, Future[Any]]:
        self.asked += 1
        future: Future[Any] = Future()
        if self.asked > 1:
            future.set_result(SimpleNamespace(offset=self.asked))
        return dict.fromkeys(wanted, future)


def test_answers_that_never_come_keep_nobody_from_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(cast("Any", SimpleNamespace(bootstrap="127.0.0.1:1")), [("orders", number) for number in range(24)])
    slow = Slow()
    monkeypatch.setattr(pauses, "_admin", slow)
    pauses.start()
    until = time.monotonic() + 20
    while len(pauses.grew["orders", 0]) < 2:
        assert pauses.is_alive()
        assert time.monotonic() < until
        time.sleep(0.01)
    pauses.stop()
