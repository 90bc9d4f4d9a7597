"""Padme padding: envelopes of few sizes, at most 12 % larger (Nikitin et al., PURBs, PETS 2019, section 4)."""

from __future__ import annotations

from typing import Final

LEAST: Final = 4096
"""The smallest padded size in bytes: what is shorter is filled up to it."""


def padme(size: int) -> int:
    """Return the size that ``size`` bytes are padded to.

    A padded size keeps as many leading bits of the length as its exponent has digits; all bits after these are zero.
    So of a length L no more than O(log log L) bits can be learnt.
    """
    if size <= LEAST:
        return LEAST
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask
