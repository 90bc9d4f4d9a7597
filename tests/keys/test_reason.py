from __future__ import annotations

import copy
import pickle

import pytest

from sealwire.keys.reason import Reason, Rejected


def test_a_refusal_says_its_reason_and_survives_a_copy() -> None:
    refusal = Rejected(Reason.GAP, "[1, 2)", proven=True)
    assert str(refusal) == "gap: [1, 2)"
    assert str(Rejected(Reason.GAP)) == "gap"
    for twin in (copy.copy(refusal), pickle.loads(pickle.dumps(refusal))):  # noqa: S301
        assert (twin.reason, twin.detail, twin.proven) == (Reason.GAP, "[1, 2)", True)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_is_one_word_of_small_letters(reason: Reason) -> None:
    assert reason.value == reason.name.lower().replace("_", "-")
    assert len(reason.value) <= 64
