"""Opening: the order of the checks, and what each failure is called."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import vector_people as people
import vector_world as world
from vector_world import NOW, PLACE, Forge, Seeded, batch, inner, inner_bytes, seeded

from sealwire.keys import compression
from sealwire.keys.envelope import seal
from sealwire.keys.inner import Compression
from sealwire.keys.opening import ELSEWHERE_CAP, Caps, Opened, UnknownSession, open_envelope
from sealwire.keys.primitives import SigningKey, digest
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.secrets import Secrets
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.keys.envelope import Place
    from sealwire.keys.inner import Inner
    from sealwire.keys.session import InboundSession

MINE = world.outbound()
KNOWN = world.inbound(MINE)
BATCH = batch()
SAID = inner(BATCH)
GOOD = Forge(MINE).build(inner_bytes(SAID), BATCH)


class Policy:
    """A Trust that answers one thing, and remembers what it was asked."""

    def __init__(self, refusal: Rejected | None = None) -> None:
        self.refusal = refusal
        self.asked: list[tuple[bytes, str]] = []

    def may_produce(self, inbound: InboundSession, cloud_topic: str, now: int) -> None:
        assert now == NOW
        self.asked.append((inbound.id, cloud_topic))
        if self.refusal:
            raise self.refusal


def opened(
    envelope: bytes = GOOD,
    *,
    place: Place = PLACE,
    known: InboundSession = KNOWN,
    policy: Policy | None = None,
    room: int = 0,
    caps: Caps = Caps(),  # noqa: B008
    elsewhere: Iterable[Place] = (),
) -> Opened | UnknownSession:
    out = memoryview(bytearray(room or len(envelope)))
    trust = cast("Trust", policy or Policy())
    return open_envelope(envelope, place, None, {known.id: known}, trust, NOW, out, caps, elsewhere)


def refusal(envelope: bytes, **more: object) -> Reason:
    with pytest.raises(Rejected) as refused:
        opened(envelope, **more)  # type: ignore[arg-type]
    return refused.value.reason


def test_what_was_sealed_comes_out_and_can_be_restamped_in_place() -> None:
    result = opened()
    assert isinstance(result, Opened)
    assert (result.inner, result.session, bytes(result.batches)) == (SAID, KNOWN, BATCH)
    assert str(result.source) == "orders/berlin/orders.eu/2"
    assert result.body_digest == digest(GOOD[52:-64])
    assert not result.batches.readonly


def test_the_policy_is_asked_after_the_signature_and_before_decrypting() -> None:
    policy = Policy(Rejected(Reason.NOT_AUTHORISED, "no"))
    assert refusal(GOOD[:-1] + b"\0", policy=policy) is Reason.BAD_SIGNATURE
    assert policy.asked == []
    spoiled = Forge(MINE, nonce=b"\1" * 12).build(inner_bytes(SAID), BATCH)
    assert refusal(spoiled, policy=policy) is Reason.NOT_AUTHORISED
    assert policy.asked == [(MINE.id, "acme.orders")]


def test_an_unknown_session_is_told_before_any_signature_is_checked() -> None:
    assert opened(known=replace(KNOWN, id=bytes(32))) == UnknownSession(MINE.id)


def test_an_envelope_copied_to_another_partition_is_refused_as_misplaced() -> None:
    here = replace(PLACE, cloud_partition=0)
    partitions = [replace(PLACE, cloud_partition=number) for number in range(3)]
    assert refusal(GOOD, place=here, elsewhere=partitions) is Reason.MISPLACED
    assert refusal(GOOD, place=here) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("channel", ["orders", "invoices"])
def test_what_a_member_truly_signed_for_another_place_is_proven_and_what_only_names_its_session_is_not(
    channel: str,
) -> None:
    here = replace(PLACE, channel=channel, cloud_partition=0)
    for envelope, elsewhere, proven in ((GOOD, [PLACE], True), (GOOD, [], False), (GOOD[:-1] + b"\0", [PLACE], False)):
        with pytest.raises(Rejected) as refused:
            opened(envelope, place=here, elsewhere=elsewhere)
        assert refused.value.proven is proven
        assert proven is (str(refused.value) == "misplaced: sealed for acme.orders/2")


@pytest.mark.parametrize(
    ("said", "policy", "reason"),
    [
        (SAID, Policy(Rejected(Reason.NOT_AUTHORISED, "no")), Reason.NOT_AUTHORISED),
        (SAID, Policy(Rejected(Reason.REFUSED_MEMBER, "no")), Reason.REFUSED_MEMBER),
        (replace(SAID, partition=1), None, Reason.MISPLACED),
        (replace(SAID, site="rome"), None, Reason.NOT_AUTHORISED),
        (replace(SAID, sealed_at=NOW + 10**6), None, Reason.AHEAD),
        (replace(SAID, sealed_at=1), None, Reason.EXPIRED),
    ],
)
def test_whatever_is_refused_behind_a_good_signature_is_proven_to_be_its_senders(
    said: Inner, policy: Policy | None, reason: Reason
) -> None:
    with pytest.raises(Rejected) as refused:
        opened(Forge(MINE).build(inner_bytes(said), BATCH), policy=policy)
    assert (refused.value.reason, refused.value.proven) == (reason, True)


def test_bytes_that_anybody_could_have_written_are_not_proven() -> None:
    for envelope in (b"", b"hello", GOOD[:60], GOOD[:-1] + b"\0"):
        with pytest.raises(Rejected) as refused:
            opened(envelope, room=4096)
        assert not refused.value.proven


def test_no_more_than_64_other_places_are_tried() -> None:
    asked: list[int] = []

    def places() -> Iterable[Place]:
        for number in range(1000):
            asked.append(number)
            yield replace(PLACE, cloud_partition=1000 + number)

    assert refusal(GOOD, place=replace(PLACE, cloud_partition=0), elsewhere=places()) is Reason.BAD_SIGNATURE
    assert len(asked) == ELSEWHERE_CAP == 64


def test_places_of_other_channels_and_projects_are_passed_over_on_the_way_to_the_right_one() -> None:
    foreign = [replace(PLACE, channel="payments"), replace(PLACE, project_id=bytes(32))]
    assert refusal(GOOD, place=replace(PLACE, cloud_partition=0), elsewhere=[*foreign, PLACE]) is Reason.MISPLACED


@pytest.mark.parametrize(
    "there",
    [replace(PLACE, channel="payments"), replace(PLACE, project_id=bytes(32))],
    ids=["channel", "project"],
)
def test_a_session_says_nothing_in_another_channel_or_project_even_where_its_member_signs_it(there: Place) -> None:
    for place, elsewhere in ((there, []), (replace(PLACE, cloud_partition=0), [there])):
        with pytest.raises(Rejected) as refused:
            opened(Forge(MINE, place=there).build(inner_bytes(SAID), BATCH), place=place, elsewhere=elsewhere)
        assert not refused.value.proven


def test_an_envelope_is_sealed_while_its_session_lives_to_the_millisecond() -> None:
    for begun, ended, good in ((0, 0, True), (1, 1, False), (-1, -1, False)):
        known = replace(KNOWN, made_at=SAID.sealed_at + begun, not_after=SAID.sealed_at + ended)
        if good:
            assert isinstance(opened(known=known), Opened)
        else:
            assert refusal(GOOD, known=known) is Reason.EXPIRED


@pytest.mark.parametrize("ahead", ["envelope", "session"])
def test_what_is_sealed_or_made_more_than_two_clocks_ahead_is_not_believed_yet(ahead: str) -> None:
    for more, reason in ((0, None), (1, Reason.AHEAD)):
        date = NOW + 5 * 60_000 + more
        said = replace(SAID, sealed_at=date) if ahead == "envelope" else SAID
        known = replace(KNOWN, made_at=date if ahead == "session" else KNOWN.made_at, not_after=date)
        envelope = Forge(MINE).build(inner_bytes(said), BATCH)
        if reason is None and ahead == "envelope":
            assert isinstance(opened(envelope, known=known), Opened)
        else:
            assert refusal(envelope, known=known) is (reason or Reason.EXPIRED)


def test_an_envelope_may_be_so_large_and_state_so_much() -> None:
    assert Caps() == Caps(16 << 20, 64 << 20, 4 << 20, 128 << 10)


def test_other_places_are_not_looked_at_while_the_signature_is_good() -> None:
    def places() -> Iterable[Place]:
        raise AssertionError
        yield PLACE

    assert isinstance(opened(elsewhere=places()), Opened)


def test_a_buffer_too_small_is_misuse_and_never_the_clouds_fault() -> None:
    with pytest.raises(Misuse):
        opened(room=100)


def test_compressed_batches_land_behind_the_frame_where_there_is_room() -> None:
    text = b"again and again " * 1000
    said = inner(text, compression=Compression.ZSTD)
    sealed = Forge(MINE).build(inner_bytes(said), compression.compress([text]))
    out = memoryview(bytearray(len(sealed) + len(text)))
    result = open_envelope(sealed, PLACE, None, {KNOWN.id: KNOWN}, cast("Trust", Policy()), NOW, out)
    assert isinstance(result, Opened)
    assert result.batches == text
    assert result.batches.obj is out.obj
    used = len(inner_bytes(said)) + len(compression.compress([text]))
    exact, short = (opened(sealed, room=used + len(text) - less) for less in (0, 1))
    assert isinstance(exact, Opened)
    assert isinstance(short, Opened)
    assert bytes(exact.batches) == bytes(short.batches) == text
    assert len(cast("bytearray", exact.batches.obj)) == used + len(text)
    assert len(cast("bytearray", short.batches.obj)) == len(text)
    small = opened(sealed)
    assert isinstance(small, Opened)
    assert small.batches == text
    assert not small.batches.readonly


def test_compressed_batches_land_behind_the_padding_too() -> None:
    text = b"again and again " * 1000
    said = inner(text, compression=Compression.ZSTD, padding_size=30)
    frame = compression.compress([text])
    sealed = Forge(MINE).build(inner_bytes(said), frame + bytes(30))
    used = len(inner_bytes(said)) + len(frame) + 30
    for room, own in ((used + len(text), False), (used + len(text) - 1, True)):
        result = opened(sealed, room=room)
        assert isinstance(result, Opened)
        assert bytes(result.batches) == text
        assert (len(cast("bytearray", result.batches.obj)) == len(text)) is own


@pytest.mark.parametrize("caps", [Caps(envelope=100), Caps(uncompressed=90), Caps(records=2), Caps(batches=0)], ids=str)
def test_each_cap_refuses_what_is_above_it(caps: Caps) -> None:
    assert refusal(GOOD, caps=caps) is Reason.TOO_LARGE


def test_caps_are_inclusive() -> None:
    exact = Caps(envelope=len(GOOD), uncompressed=len(BATCH), records=3, batches=1)
    assert isinstance(opened(caps=exact), Opened)


def test_neither_the_secret_nor_a_batch_shows_in_what_is_printed() -> None:
    result = opened()
    for word in (KNOWN.secret, BATCH):
        assert repr(word)[2:-1] not in repr(result)
    assert "Rejected" not in repr(result)


def test_a_reader_cannot_speak_for_the_sender_whose_secret_it_knows() -> None:
    forged = Forge(MINE, signing=SigningKey.from_seed(seeded("reader"))).build(inner_bytes(SAID), BATCH)
    assert refusal(forged) is Reason.BAD_SIGNATURE


def test_what_a_member_seals_at_one_site_a_granted_reader_opens_at_another() -> None:
    trust = Trust(people.ROOT, me=people.BERT.member_id)
    with people.stored_hpke():
        told = [people.ANNA_BYTES, people.BERT_BYTES, people.PACKAGE_BYTES, people.SESSION_BYTES, people.granted()]
    trust, _ = trust.learn(told, NOW)
    remembered = Secrets.begin(people.BERT).holding((people.HELD,))
    trust, remembered, _ = trust.unwrap_new(remembered, NOW)
    place = replace(PLACE, project_id=people.PROJECT)
    out = memoryview(bytearray(4096))
    size = seal(people.MINE, place, SAID, [BATCH], Seeded("end to end"), out)
    result = open_envelope(
        out[:size], place, None, remembered.inbound, trust, NOW, memoryview(bytearray(size)), elsewhere=[]
    )
    assert isinstance(result, Opened)
    assert bytes(result.batches) == BATCH
    assert trust.name_of(result.session.member_id) == "anna"
