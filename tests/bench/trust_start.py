"""How long a worker takes to believe a control log of 100,000 statements, and a session start for 500 readers.

    python tests/bench/trust_start.py [live members] [members that left]

Each member has a credential and a key package of 29 windows (35 kB), handed on 16 MB at a time as a worker does.
No Kafka takes part: what is measured is keys/ alone, on two threads, under the worker's settings of the collector.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "keys"))

from statement_world import ANNA, AUTHORITY, BERT, DAY, NOW, PROJECT, ROOT, Draws

from sealwire.agents import garbage
from sealwire.agents.proving import verify_many
from sealwire.keys import credential, grant, identity, keypackage, wire
from sealwire.keys.keypackage import KeyPackageFields
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator

TOGETHER = 16 << 20  # as agents/following.py hands them on
WINDOWS = keypackage.peek(BERT.package, PROJECT).windows


def statements(names: range, at: int) -> Iterator[bytes]:
    """Make the credentials and key packages of members that were admitted then."""
    for number in names:
        who = identity.create(Draws(f"member {number}"), at)
        yield credential.make(
            ROOT,
            AUTHORITY,
            member_id=who.member_id,
            identity_key=who.public,
            name=f"member-{number}",
            attributes={"role": "member", "site": "paris"},
            serial=1,
            now=at,
        )
        fields = KeyPackageFields(who.member_id, 1, at, WINDOWS)
        yield wire.write(wire.Type.KEY_PACKAGE, PROJECT, fields, [who.signing])


def fetched(log: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Serve a log as a worker takes it."""
    batch: list[bytes] = []
    for statement in log:
        batch.append(statement)
        if sum(map(len, batch)) >= TOGETHER:
            yield batch
            batch = []
    yield batch


def main(live: int, left: int) -> None:
    """Measure, and say what came of it."""
    garbage.begin()  # as a worker does first of all
    trust, count, spent, wall = Trust.begin(ANNA.secrets, NOW), 0, 0.0, 0.0
    log = (
        each
        for names, at in ((range(left), NOW - 90 * DAY), (range(left, left + live), NOW))
        for each in statements(names, at)
    )
    for batch in fetched(log):
        began, cpu = time.perf_counter(), time.process_time()
        trust, _ = trust.learn(batch, NOW, verify_many)
        wall, spent, count = wall + time.perf_counter() - began, spent + time.process_time() - cpu, count + len(batch)
    began, cpu = time.perf_counter(), time.process_time()
    readers = trust.readers("orders", "acme.orders", NOW)
    print(f"{count} statements, {len(readers)} readers: {wall:.2f} s, {spent:.2f} CPU s; ", end="")
    print(f"finding the readers {time.process_time() - cpu:.3f} CPU s")
    outbound, _ = ANNA.session()
    cpu = time.process_time()
    grants = grant.wrap(outbound, readers[:500], 1, NOW, os.urandom)
    size = sum(map(len, grants))
    print(f"a session for {len(readers[:500])} readers: {1000 * (time.process_time() - cpu):.0f} CPU ms, {size} bytes")


if __name__ == "__main__":
    main(*(int(each) for each in (sys.argv[1:] or (500, 49_500))))
