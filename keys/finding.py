"""What an audit tells: findings, and what was not compared; and what several findings come to together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sealwire.keys.digests import MODULUS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sealwire.keys.source import Span


class Kind(StrEnum):
    """What is wrong. What is too many is ``duplicated`` where it was delivered elsewhere too, else ``added``."""

    ALTERED = "altered"
    MISSING = "missing"
    DUPLICATED = "duplicated"
    REORDERED = "reordered"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong within the source offsets ``span`` and the sink offsets ``sink``.

    ``records`` is how many, where that is known, else 0; ``extra`` are the sink offsets of what is too many, where they
    are known, and ``digests`` its record digests. ``difference`` is the source's total less the sink's.
    """

    kind: Kind
    span: Span
    sink: Span
    records: int = 0
    extra: tuple[int, ...] = ()
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    difference: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class Left:
    """Source offsets that were not compared, or that were passed on the record with so many ``records``; and why."""

    span: Span
    why: str
    records: int = 0


def too_many(finding: Finding, offsets: list[int], digests: list[bytes]) -> Finding:
    """Say which of the records are too many: so many in a row that their total is the difference."""
    count, extra = finding.records, -finding.difference % MODULUS
    sums = [0]
    for digest in digests:
        sums.append(sums[-1] + int.from_bytes(digest, "big"))
    for at in range(len(digests) - count + 1):
        if (sums[at + count] - sums[at]) % MODULUS == extra:
            stop = at + count
            return replace(finding, extra=tuple(offsets[at:stop]), digests=tuple(digests[at:stop]))
    return finding


def moved(findings: Iterable[Finding]) -> list[Finding]:
    """Give the findings with what is gone in one place and there in another told as reordered.

    Their differences add up to nothing, which those of other records do not.
    """
    told = list(findings)
    seen: dict[int, int] = {}
    for at, finding in enumerate(told):
        if not finding.difference:
            continue
        other = seen.pop(-finding.difference % MODULUS, None)
        if other is None:
            seen[finding.difference] = at
            continue
        for each in (at, other):
            told[each] = replace(told[each], kind=Kind.REORDERED, extra=(), digests=())
    return told


def resolved(finding: Finding, delivered: Collection[bytes]) -> Finding:
    """Tell what is too many as duplicated, where one of its record digests is among those ``delivered`` elsewhere."""
    if finding.kind is Kind.ADDED and any(digest in delivered for digest in finding.digests):
        return replace(finding, kind=Kind.DUPLICATED)
    return finding
