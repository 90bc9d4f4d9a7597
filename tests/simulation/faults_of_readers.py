"""What a reader does that has gone over to the cloud: it knows session secrets, and no signing key of a sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_made import Made, build
from hand import fault
from model import PARTS
from vector_world import Forge, inner_bytes

from sealwire.keys.envelope import Place
from sealwire.keys.inner import LOG_START, Compression, Inner, Kind, Layout
from sealwire.keys.primitives import SigningKey

if TYPE_CHECKING:
    from hand import Hand


@fault
def forge(hand: Hand) -> None:
    """A reader that has gone over to the cloud seals records of its own in a session that it may read."""
    sessions = [
        session
        for name, vault in sorted(hand.run.vaults.items())
        if name.startswith("r")
        for session in vault.secrets.inbound.values()
    ]
    for session in sessions[-2:]:
        log = hand.log(topics=(f"acme.{session.channel}",))
        topic, partition = session.channel, log.where[1]
        part, model = PARTS.index((topic, partition)), hand.run.model
        first = hand.dice.choice((model.got[part], len(model.source[part])))
        batch = build([Made(1, None, f"{topic}/{partition}/{first}".encode(), [])], first)
        inner = Inner(
            kind=Kind.RECORDS,
            layout=Layout.BATCH,
            compression=Compression.NONE,
            flags=LOG_START if first == 0 else 0,
            site=session.site,
            topic=topic,
            topic_id=hand.run.world.berlin.kafka.topics[topic][0],
            partition=partition,
            first=first,
            next=first + 1,
            last_stable=first + 1,
            leader_epoch=0,
            sealed_at=session.made_at,
            record_count=1,
            batch_count=1,
            uncompressed_size=len(batch),
        )
        place = Place(session.project_id, session.channel, log.where[0], partition)
        signing = SigningKey.from_seed(hand.dice.randbytes(32))
        value = Forge(session, place, member_id=session.member_id, signing=signing).build(inner_bytes(inner), batch)
        hand.inject(log, value, "forge")
