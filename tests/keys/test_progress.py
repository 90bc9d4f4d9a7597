from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, HOUR, MINUTE, NOW, PROJECT, ROOT, Draws, Member, flips

from sealwire.keys import credential, primitives, progress, session, wire
from sealwire.keys.primitives import NONCE_ZERO
from sealwire.keys.progress import PartitionProgress, Progress, State, TopicProgress
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.keys.session import InboundSession, OutboundSession


def granted(of: Member, **how: object) -> tuple[OutboundSession, InboundSession]:
    outbound, statement = of.session(**how)
    claim = session.read(statement, PROJECT, lambda inner: credential.read(inner, ROOT, NOW), NOW)
    return outbound, session.proven(claim, outbound.secret)


OUTBOUND, INBOUND = granted(ANNA)
TOPICS = (
    TopicProgress(
        "orders",
        b"t" * 16,
        4,
        (PartitionProgress(0, 10, 12, State.LIVE), PartitionProgress(3, 0, -1, State.SOURCE_AWAY)),
    ),
    TopicProgress("returns", b"u" * 16, 1, ()),
)
STATEMENT = progress.make(OUTBOUND, 7, NOW, NOW + MINUTE, False, TOPICS, Draws())


def refusal(statement: bytes, now: int = NOW, inbound: InboundSession = INBOUND) -> Reason:
    with pytest.raises(Rejected) as caught:
        progress.read(statement, inbound, now)
    return caught.value.reason


def test_readers_of_the_session_learn_how_far_the_sender_is() -> None:
    assert progress.read(STATEMENT, INBOUND, NOW) == Progress(OUTBOUND.id, 7, NOW, NOW + MINUTE, False, TOPICS)
    last = progress.make(OUTBOUND, 8, NOW, NOW + HOUR, True, (), Draws())
    assert progress.read(last, INBOUND, NOW).final is True
    assert progress.peek(STATEMENT, PROJECT).session_id == OUTBOUND.id


def test_everybody_else_sees_no_topic_and_no_offset() -> None:
    assert b"orders" not in STATEMENT
    shown = progress.peek(STATEMENT, PROJECT)
    key = primitives.hkdf(OUTBOUND.secret, shown.salt, "sealwire v1 progress", OUTBOUND.id, ANNA.id)
    before = STATEMENT[: -97 - len(shown.ciphertext)]
    assert primitives.aead_open(key, NONCE_ZERO, shown.ciphertext, before) == wire.pack(TOPICS)


def test_clones_that_draw_the_same_random_bytes_seal_two_contents_under_two_keys() -> None:
    others = [
        progress.make(OUTBOUND, 8, NOW, NOW + MINUTE, False, TOPICS, Draws()),
        progress.make(OUTBOUND, 7, NOW + 1, NOW + MINUTE, False, TOPICS, Draws()),
        progress.make(OUTBOUND, 7, NOW, NOW + MINUTE, True, TOPICS, Draws()),
        progress.make(OUTBOUND, 7, NOW, NOW + MINUTE, False, TOPICS[:1], Draws()),
    ]
    salts = {progress.peek(statement, PROJECT).salt for statement in [STATEMENT, *others]}
    assert len(salts) == 5
    assert progress.make(OUTBOUND, 7, NOW, NOW + MINUTE, False, TOPICS, Draws()) == STATEMENT


def test_an_altered_bit_anywhere_in_progress_is_rejected() -> None:
    for altered in flips(STATEMENT):
        refusal(altered)


def test_a_reader_that_holds_the_secret_cannot_speak_for_the_sender() -> None:
    forger = dataclasses.replace(OUTBOUND, signing=BERT.identity.signing)
    forged = progress.make(forger, 8, NOW, NOW + MINUTE, False, TOPICS, Draws())
    assert refusal(forged) is Reason.UNKNOWN_SIGNER


def test_progress_of_another_session_or_ahead_of_our_clock_is_not_believed() -> None:
    _, other = granted(ANNA, number=2)
    assert refusal(STATEMENT, inbound=other) is Reason.SPLICED
    assert refusal(STATEMENT, NOW - 5 * MINUTE - 1) is Reason.AHEAD
    assert progress.read(STATEMENT, INBOUND, NOW - 5 * MINUTE).number == 7


def one(topic: str, number: int, count: int, topic_id: bytes = bytes(16)) -> TopicProgress:
    return TopicProgress(topic, topic_id, count, (PartitionProgress(number, 0, -1, State.LIVE),))


@pytest.mark.parametrize(
    ("next_by", "topics"),
    [
        (NOW, TOPICS),  # due at once
        (NOW + HOUR, TOPICS),
        (NOW, (one("a", 0, 1),)),  # the highest below the count
        (NOW, (one("a", 2**31 - 1, 2**31),)),
        (NOW, (TopicProgress("a", bytes(16), 0, ()),)),
        (NOW, (one("a", 0, 1), one("a", 0, 1, b"1" * 16))),  # made anew under its name
        (NOW, (one("a", 0, 1, b"1" * 16), one("b", 0, 1))),
    ],
)
def test_the_most_and_the_least_that_progress_may_say_is_read(next_by: int, topics: tuple[TopicProgress, ...]) -> None:
    statement = progress.make(OUTBOUND, 0, NOW, next_by, False, topics, Draws())
    assert progress.read(statement, INBOUND, NOW).topics == topics


def test_progress_under_another_secret_is_not_decrypted() -> None:
    changed = msgspec.structs.replace(progress.peek(STATEMENT, PROJECT), salt=bytes(16))
    resigned = wire.write(Type.PROGRESS, PROJECT, changed, [OUTBOUND.signing])
    assert refusal(resigned) is Reason.BAD_CIPHERTEXT


@pytest.mark.parametrize(
    ("next_by", "topics"),
    [
        (NOW - 1, TOPICS),
        (NOW + HOUR + 1, TOPICS),
        (NOW, TOPICS[::-1]),
        (NOW, TOPICS[:1] * 2),
        (NOW, (one("a", 0, 1, b"1" * 16), one("a", 0, 1))),
        (NOW, (one("a", 0, 0),)),
        (NOW, (TopicProgress("a", bytes(16), 2**31 + 1, ()),)),
        (NOW, (TopicProgress("a", bytes(16), 5, (*one("a", 0, 5).partitions, *one("a", 5, 5).partitions)),)),
        (NOW, (one("a", 2**31, 2**31),)),
        (NOW, (TopicProgress("a", bytes(16), 1, (PartitionProgress(1, 0, 0, State.LIVE),)),)),
        (NOW, (TopicProgress("a", bytes(16), 2, (PartitionProgress(1, 0, 0, State.LIVE),) * 2),)),
        (NOW, (TopicProgress("a", bytes(15), 2, ()),)),
        (NOW, (TopicProgress("a b", bytes(16), 2, ()),)),
        (NOW, (TopicProgress("a", bytes(16), 2, (PartitionProgress(1, -1, 0, State.LIVE),)),)),
        (NOW, (TopicProgress("a", bytes(16), 2, (PartitionProgress(1, 0, 0, 9),)),)),
    ],
)
def test_progress_that_cannot_be_is_misuse_to_make_and_malformed_to_read(
    next_by: int, topics: tuple[TopicProgress, ...]
) -> None:
    with pytest.raises(Misuse):
        progress.make(OUTBOUND, 0, NOW, next_by, False, topics, Draws())
    fields = progress.ProgressFields(OUTBOUND.id, 0, NOW, next_by, 0, b"", b"")
    lied = progress.lastfield.write(
        Type.PROGRESS,
        PROJECT,
        fields,
        progress.LABEL,
        OUTBOUND.secret,
        OUTBOUND.id,
        ANNA.id,
        wire.pack(topics),
        OUTBOUND.signing,
        Draws(),
    )
    assert refusal(lied) is Reason.MALFORMED


def test_states_have_the_numbers_of_the_wire() -> None:
    assert [(state.name, int(state)) for state in State] == [("LIVE", 0), ("SOURCE_AWAY", 1), ("HELD", 2), ("GONE", 3)]


@given(st.binary(max_size=400))
def test_any_bytes_are_progress_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.PROGRESS, wire.head(Type.PROGRESS, PROJECT, noise), [OUTBOUND.signing])
    for statement in (noise, STATEMENT[:41] + noise, framed):
        refusal(statement)
