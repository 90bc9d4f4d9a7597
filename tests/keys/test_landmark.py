"""The marks of a lane as a whole: read back, and refused when damaged."""

from __future__ import annotations

import pytest

from sealwire.keys.landmark import BEGUN_KEY, LEDGER_KEY, Begun, LedgerMark
from sealwire.keys.reason import Reason, Rejected

BEGUN = Begun(3, 1_700_000_000_000)
MARK = LedgerMark(b"\7" * 16, 12_345)


def test_marks_are_read_back() -> None:
    assert Begun.decode(BEGUN.encode()) == BEGUN
    assert LedgerMark.decode(MARK.encode()) == MARK


def test_neither_mark_is_taken_for_the_other() -> None:
    assert BEGUN_KEY != LEDGER_KEY
    for read, data in ((Begun.decode, MARK.encode()), (LedgerMark.decode, BEGUN.encode())):
        with pytest.raises(Rejected) as refused:
            read(data)
        assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("mark", [BEGUN, MARK])
def test_a_mark_of_a_newer_release_is_told_from_a_damaged_one(mark: Begun | LedgerMark) -> None:
    data = mark.encode()
    for spoiled, reason in (
        (b"\2" + data[1:], Reason.UNKNOWN_VERSION),
        (data[:-1], Reason.MALFORMED),
        (data + b"\0", Reason.MALFORMED),
        (b"", Reason.MALFORMED),
    ):
        with pytest.raises(Rejected) as refused:
            type(mark).decode(spoiled)
        assert refused.value.reason is reason
