"""Signatures checked many at a time, on two threads: libsodium works without Python's lock.

Which ones are checked, and what follows, is decided in keys/.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Final

from sealwire.keys import primitives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.keys.proofs import Check

_THREADS: Final = 2


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS - 1, thread_name_prefix="signatures")


def verify_many(checks: Sequence[Check]) -> list[bool]:
    """Tell of each check, in their order, whether the signature is good: half of them here, the others beside."""
    half = len(checks) // _THREADS
    beside = _pool().submit(_verify, checks[:half]) if half else None
    mine = _verify(checks[half:])
    return [*(beside.result() if beside is not None else ()), *mine]


def _verify(checks: Sequence[Check]) -> list[bool]:
    return [primitives.verify(*check) for check in checks]
