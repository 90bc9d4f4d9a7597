"""Speaking to a cluster: the raw client here, the administrator and the positions beside it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from sealwire.agents.admin import Admin, TopicFacts, TopicPlan
from sealwire.agents.advice import advice
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.driver import FRAME_CAP, BoundedClient
from sealwire.agents.positions import Position, Positions
from sealwire.agents.security import REQUEST_TIMEOUT_MS, librdkafka_settings, stock_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.settings import Cluster

__all__ = [
    "REQUEST_TIMEOUT_MS",
    "Admin",
    "ClusterAway",
    "ClusterRefused",
    "Position",
    "Positions",
    "TopicFacts",
    "TopicPlan",
    "close",
    "connect",
    "diagnose",
    "librdkafka_settings",
    "stock_settings",
]

_BACKOFF_TO = 2.0  # seconds
_CLOSED = "it takes the connection and closes it: does it want a login (security.protocol, sasl.mechanism)?"

_log = logging.getLogger(__name__)


async def connect(
    cluster: Cluster,
    client_id: str,
    *,
    frame_cap: int = FRAME_CAP,
    deadline: float | None = None,
    say: Callable[[str], None] = lambda _words: None,
) -> BoundedClient:
    """Connect a raw client, waiting with back-off while no broker answers (said once in the log, with what helps).

    A login or certificate that is refused is waited for as well: it may be granted, or renewed, at any time.
    ``deadline``: seconds after which ClusterAway is raised, in words; None waits for as long as it takes. ``say`` is
    told the words as well.
    """
    loop = asyncio.get_running_loop()
    until = None if deadline is None else loop.time() + deadline
    tls = cluster.security.get("security.protocol", "").endswith("SSL")
    pause, said = 0.1, ""
    while True:
        client = BoundedClient(
            frame_cap=frame_cap,
            bootstrap_servers=cluster.bootstrap,
            client_id=client_id,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=60_000,
            **stock_settings(cluster),
        )
        try:
            await client.bootstrap()
        except (KafkaError, OSError, TimeoutError) as error:
            await close(client)
            why = advice(client.cause, tls=tls) if client.cause else _CLOSED
            words = f"{cluster.bootstrap}: {why}" if why else f"no broker answers at {cluster.bootstrap}"
            if until is not None and loop.time() + pause > until:
                raise ClusterAway(words) from error
            if words != said:
                _log.warning("%s: waiting for it", words)
                said = words
                say(words)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACKOFF_TO)
        except BaseException:
            await close(client)
            raise
        else:
            if said:
                _log.warning("a broker answers at %s", cluster.bootstrap)
            return client


async def close(client: BoundedClient, within: float = 2.0) -> None:
    """Close a client; a connection that does not close in time is left to the operating system."""
    with suppress(TimeoutError, KafkaError, OSError):
        async with asyncio.timeout(within):
            await client.close()


async def diagnose(cluster: Cluster, within: float = 3.0) -> str:
    """Try to connect, for so many seconds, and say in a sentence why that fails; empty when it does not.

    librdkafka tells many causes in the same words, and some in none: this asks again in another way.
    """
    try:
        async with asyncio.timeout(within):
            await close(await connect(cluster, "sealwire-diagnosis", deadline=0))
    except (ClusterAway, ValueError) as error:
        return str(error)
    except TimeoutError:
        return f"no broker answers at {cluster.bootstrap} within {within:.0f} s"
    return ""
