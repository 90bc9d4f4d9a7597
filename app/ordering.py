"""What a person decides, from the command line to the cursors: chosen, written into the site's orders, waited for."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import time
from typing import TYPE_CHECKING, Final

from sealwire.app import topics
from sealwire.app.cloudlog import CloudLog
from sealwire.app.faults import CONFIGURATION, Failure, did_you_mean
from sealwire.app.held import reading
from sealwire.app.options import say
from sealwire.app.project import now_ms
from sealwire.keys.order import WORDS_CAP, Kind, Order, give, possible
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sealwire.app.config import Node
    from sealwire.app.held import Partition, Site

WITHIN: Final = 30.0  # seconds for a worker to carry an order out
_LOOK_EVERY: Final = 0.5  # seconds
_WRITE_WITHIN: Final = 20.0  # seconds
_SHOWN: Final = 5  # source partitions that are named where too many fit


class Where:
    """Which source partition is meant: its channel, and as much of the rest as is needed to tell it."""

    def __init__(
        self, channel: str, site: str | None, topic: str | None, partition: int | None, topic_id: str | None
    ) -> None:
        self.channel = channel
        self._named = {"site": site, "topic": topic, "partition": partition}
        self._topic_id = (topic_id or "").lower()

    def __str__(self) -> str:
        """Name it as far as it was named."""
        named = [f"{name} {value}" for name, value in self._named.items() if value is not None]
        named += [f"topic id {self._topic_id}"] if self._topic_id else []
        return ", ".join([f"channel {self.channel}", *named])

    def among(self, partitions: Iterable[Partition]) -> list[Partition]:
        """Give those that are meant."""
        return [
            each
            for each in partitions
            if each.source.channel == self.channel
            and each.source.topic_id.hex().startswith(self._topic_id)
            and all(value is None or getattr(each.source, name) == value for name, value in self._named.items())
        ]


def gaps(site: Site, where: Where, up_to: int | None, *, all_no_start: bool) -> list[tuple[Partition, int]]:
    """Give the source partitions whose gap is to be accepted, and the next source offset of each afterwards.

    Raises `Failure` where there is none, more than one (but with ``all_no_start``), or not so far.
    """
    meant = _meant(site, where)
    found = [
        each
        for each in meant
        if each.expects.gap is not None and possible(Kind.ACCEPT_GAP, each.expects, each.expects.gap.next)
    ]
    if all_no_start:
        found = [each for each in found if each.expects.reason is Reason.NO_START]
    if not found:
        stuck = [each for each in meant if each.stuck]
        words = "; ".join(f"{each.source} is {each.expects.state} ({each.expects.reason})" for each in stuck[:_SHOWN])
        lacks = "its start" if all_no_start else "a span that can be passed"
        raise Failure(
            f"Nothing of {where} waits for {lacks}" + (f": {words}." if stuck else "; all of it flows."),
            "sealwire held NODE.yaml names what waits, and the command that helps.",
        )
    if not all_no_start:
        _one(found, where)
    chosen = []
    for each in found:
        gap, to = each.expects.gap, up_to
        assert gap is not None  # noqa: S101 - see above
        to = gap.next if to is None else to
        if not possible(Kind.ACCEPT_GAP, each.expects, to):
            raise Failure(f"{each.source} waits for {gap}: it cannot be passed up to {to}.", code=CONFIGURATION)
        chosen.append((each, to))
    return chosen


def back(site: Site, where: Where, to: int | None) -> tuple[Partition, int | None]:
    """Give the source partition that is to go back, and its next source offset afterwards (None given: where it is).

    Raises `Failure` where there is none, more than one, or it never was there.
    """
    found = _meant(site, where)
    if len(found) > 1 and len([each for each in found if each.stuck]) == 1:
        found = [each for each in found if each.stuck]
    one = _one(found, where)
    here = one.expects.next
    to = here if to is None else to
    if not possible(Kind.REWIND, one.expects, to):
        at = "nothing of it was delivered yet" if here is None else f"it stands at {here}"
        raise Failure(f"{one.source} cannot go back to {to}: {at}.", code=CONFIGURATION)
    if not one.stuck and to == here:
        raise Failure(f"{one.source} flows, and stands at {here}: there is nothing to go back over.", "Give --to.")
    return one, to


def _meant(site: Site, where: Where) -> list[Partition]:
    found = where.among(site.partitions)
    if not found:
        known = sorted({each.source.channel for each in site.partitions})
        hint = did_you_mean(where.channel, known) if where.channel not in known else ""
        raise Failure(
            f"No source partition of {where} is known at this site.",
            hint or "sealwire status NODE.yaml names those that are.",
            code=CONFIGURATION,
        )
    return found


def _one(found: Sequence[Partition], where: Where) -> Partition:
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{each.source} (topic id {each.source.topic_id.hex()})" for each in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise Failure(
        f"{len(found)} source partitions fit {where}: {names}{more}.",
        "Name one, with --site, --topic, --partition and, if need be, --topic-id.",
        code=CONFIGURATION,
    )


def who_orders() -> str:
    """Say who gives an order where nobody is named: the user and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def make(kind: Kind, chosen: Sequence[tuple[Partition, int | None]], who: str, why: str, *, again: bool) -> list[Order]:
    """Make the orders, one for each source partition. Raises `Failure` where there are no words, or too many."""
    for name, words in (("--who", who), ("--why", why)):
        if not 0 < len(words.strip()) <= WORDS_CAP or words.strip() == "...":
            raise Failure(
                f"{name} says nothing, or more than {WORDS_CAP} characters.",
                "It is kept with what was decided: say it for whoever asks in a year.",
                code=CONFIGURATION,
            )
    now = now_ms()
    return [
        give(kind, each.source, each.expects, to, who.strip(), why.strip(), now, os.urandom, again=again)
        for each, to in chosen
    ]


def write(node: Node, orders: Sequence[Order]) -> None:
    """Write orders where this site's workers read them. Raises `Failure`."""
    with CloudLog(node.local, say) as log:
        for order in orders:
            topic = node.settings("open").orders_topic
            log.publish(topic, order.source.encode(), order.encode(), seconds=_WRITE_WITHIN)


def await_all(node: Node, orders: Sequence[Order], within: float = WITHIN) -> list[Order]:
    """Wait until the cursors say that orders were carried out; give those that were not, after ``within`` seconds."""
    return topics.run(node.local, _await_all(node, orders, within))


async def _await_all(node: Node, orders: Sequence[Order], within: float) -> list[Order]:
    until = time.monotonic() + within
    async with reading(node) as cursors:
        while True:
            done = {each.cursor.order for each in cursors.found.values()}
            left = _left(orders, done)
            if not left or time.monotonic() >= until:
                return left
            await asyncio.sleep(_LOOK_EVERY)
            await cursors.read()


def _left(orders: Sequence[Order], done: Collection[bytes | None]) -> list[Order]:
    return [order for order in orders if order.id not in done]
