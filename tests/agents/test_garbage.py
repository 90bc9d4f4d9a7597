"""The collector leaves what the start made alone."""

from __future__ import annotations

import gc

from sealwire.agents import garbage


def test_what_the_start_made_is_never_looked_at_again_and_the_young_less_often() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        gc.set_threshold(700, 10, 10)  # as the interpreter begins
        garbage.begin()
        assert gc.get_threshold()[0] > 700
        garbage.settle()
        assert gc.get_freeze_count() > frozen
        ring: list[object] = []
        ring.append(ring)
        del ring
        assert gc.collect() >= 1  # cycles made afterwards are still found
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
