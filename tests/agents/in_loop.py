"""Tests that need a running loop, and waiting for what must come to pass."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WITHIN = 30.0  # seconds, for anything at all


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in a loop of its own, with an end to it."""

    @functools.wraps(test)
    def run(*args: object, **named: object) -> None:
        async def whole() -> None:
            async with asyncio.timeout(2 * WITHIN):
                await test(*args, **named)

        asyncio.run(whole())

    return run


async def until(holds: Callable[[], object], within: float = WITHIN) -> None:
    """Wait until ``holds()`` is true."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.005)
