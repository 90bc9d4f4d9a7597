"""What is kept of a refused envelope is read back, and nothing else passes for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vector_world import NOW, seeded

from sealwire.keys.quarantined import Quarantined
from sealwire.keys.reason import Reason, Rejected

KEPT = Quarantined(
    Reason.MISPLACED,
    "x",
    "acme.orders",
    seeded("t", 16),
    3,
    2**40,
    seeded("session"),
    seeded("sender"),
    "anna",
    NOW,
    b"sealed",
)


@given(
    st.builds(
        Quarantined,
        st.sampled_from(Reason),
        st.text(),
        st.text(),
        st.binary(min_size=16, max_size=16),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**63 - 1),
        st.binary(min_size=32, max_size=32),
        st.binary(min_size=32, max_size=32),
        st.text(),
        st.integers(0, 2**53),
        st.binary(),
    )
)
def test_what_is_kept_is_read_back(kept: Quarantined) -> None:
    assert Quarantined.decode(kept.encode()) == kept


@pytest.mark.parametrize("data", [b"", b"\2" + KEPT.encode()[1:], KEPT.encode()[:-1], KEPT.encode() + b"\0", b"\1\x90"])
def test_what_is_damaged_or_of_a_newer_release_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected):
        Quarantined.decode(data)


def test_an_envelope_does_not_show_where_the_rest_is_printed() -> None:
    assert "misplaced" in repr(KEPT)
    assert "sealed" not in repr(KEPT)
