"""A topic of ours at a site's own cluster, read by a command: within a time, and in words where it fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from sealwire.agents.admin import Admin
from sealwire.agents.reader import OffsetOutOfRange, RawReader, ReadRefused
from sealwire.app.faults import CONFIGURATION, Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sealwire.app.config import Node

WITHIN: Final = 60.0  # seconds for all that is done with one reader


@asynccontextmanager
async def local_reader(node: Node, topic: str) -> AsyncIterator[tuple[RawReader, int]]:
    """Give a reader of committed records, and how many partitions a topic has; raises `Failure`, also in its block."""
    facts = (await Admin(node.local).describe([topic])).get(topic)
    if facts is None:
        raise Failure(
            f"There is no topic {topic} at {node.local.bootstrap}.",
            f"Is it the receiving site, and may this login see it? sealwire site init {node.path} makes it.",
            code=CONFIGURATION,
        )
    reader = RawReader(node.local, client_id="sealwire-look", linger_ms=0)
    try:
        async with asyncio.timeout(WITHIN):
            await reader.start()
            yield reader, facts.partitions
    except TimeoutError:
        raise Failure(
            f"{topic} could not be read at {node.local.bootstrap} within {WITHIN:.0f} s.",
            "May this login read it? docs/RIGHTS.md has the lines; --kafka-config gives another login.",
        ) from None
    except (OffsetOutOfRange, ReadRefused, ValueError) as error:
        raise Failure(f"{topic} cannot be read at {node.local.bootstrap}: {error}.") from None
    finally:
        await reader.stop()
