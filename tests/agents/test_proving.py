"""Signatures checked on two threads."""

from __future__ import annotations

import pytest

from sealwire.agents.proving import verify_many
from sealwire.keys.primitives import SigningKey


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_each_check_has_its_own_answer_in_its_place(count: int) -> None:
    signing = SigningKey.from_seed(bytes(32))
    messages = [bytes((number,)) for number in range(count)]
    checks = [
        (signing.public, message, signing.sign(message) if number % 3 else bytes(64))
        for number, message in enumerate(messages)
    ]
    assert verify_many(checks) == [bool(number % 3) for number in range(count)]
