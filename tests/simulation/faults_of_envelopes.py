"""What the cloud does to envelopes that it holds."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from batch_made import bomb
from hand import fault
from hostile_cloud import ENVELOPES
from sim_kafka import span

if TYPE_CHECKING:
    from hand import Hand

BOMB_BYTES = 1024 * 1024 + 65_536  # more than any batch may open to
MAD = ((">i", 57, 1 << 30), (">i", 57, -1), (">h", 21, 7), (">i", 23, 5), (">b", 61, 1))  # count, codec, last delta
_bombs: dict[int, bytes] = {}


@fault
def drop(hand: Hand) -> None:
    """An envelope that was shown, or would have been, is there no more."""
    for log in hand.logs()[:1]:
        offset = hand.recent(log)
        log.drop(offset)
        log.note(offset, "drop")


@fault
def swallow(hand: Hand) -> None:
    """The next envelopes of a topic are acknowledged and never shown."""
    history = hand.history()
    history.swallow[hand.dice.choice(ENVELOPES)] = hand.dice.randint(1, 2)


@fault
def repeat(hand: Hand) -> None:
    """An old envelope comes again."""
    for log in hand.logs()[:1]:
        hand.inject(log, hand.value(log), "repeat")


@fault
def repeat_all(hand: Hand) -> None:
    """A whole log comes again, in its order."""
    for log in hand.logs()[:1]:
        for value in log.values()[-20:]:
            hand.inject(log, value, "repeat_all")


@fault
def swap(hand: Hand) -> None:
    """Two envelopes change places."""
    for log in hand.logs()[:1]:
        one, other = hand.recent(log), hand.recent(log)
        if one != other:
            log.swap(one, other)
            log.note(max(one, other), "swap")


@fault
def hide_tail(hand: Hand) -> None:
    """The end of a log is not shown until something else is appended behind it, perhaps never."""
    for log in hand.logs()[:1]:
        log.visible = max(log.start, log.end - hand.dice.randint(0, 2))
        log.hidden = "hide_tail"
        log.wake()


@fault
def show_tail(hand: Hand) -> None:
    """The end of a log is hidden for a moment, and shown when others were."""
    for log in hand.logs()[:1]:
        log.visible = max(log.start, log.end - 1)
        log.note(log.visible, "show_tail")
        log.wake()
        hand.loop.call_later(hand.dice.choice((0.05, 1.0)), log.show)


@fault
def splice_partition(hand: Hand) -> None:
    """An envelope stands in another partition than it was sealed for."""
    for log in hand.logs()[:1]:
        other = hand.dice.choice(log.home.topics[log.where[0]][1])  # type: ignore[union-attr]
        if other is not log:
            hand.inject(other, hand.value(log), "splice_partition")  # type: ignore[arg-type]


@fault
def splice_topic(hand: Hand) -> None:
    """An envelope stands in another topic, of another channel."""
    for log in hand.logs()[:1]:
        (name,) = [each for each in ENVELOPES if each != log.where[0]]
        hand.inject(log.home.at(name), hand.value(log), "splice_topic")  # type: ignore[union-attr, arg-type]


@fault
def splice_project(hand: Hand) -> None:
    """An envelope of another project stands in our topic."""
    hand.inject(hand.log(), hand.dice.choice(hand.foreign.envelopes), "splice_project")


@fault
def truncate(hand: Hand) -> None:
    """The beginning of a log is deleted, as retention does."""
    for log in hand.logs()[:1]:
        offset = hand.recent(log)
        log.note(offset, "truncate")
        log.pending.append("truncate")
        log.truncate(offset)


@fault
def roll_back(hand: Hand) -> None:
    """The end of a log is taken back: what comes next stands at offsets that others had."""
    for log in hand.logs()[:1]:
        offset = hand.recent(log)
        log.batches = [batch for batch in log.batches if span(batch)[0] < offset]
        log.end = offset
        log.note(offset, "roll_back")
        log.pending.append("roll_back")
        log.wake()


@fault
def recreate(hand: Hand) -> None:
    """A cloud topic is made anew under its old name: empty, or with what was in the old one."""
    history = hand.history()
    topic = hand.dice.choice(ENVELOPES)
    before = [log.values() for log in history.topics[topic][1]]
    keep = hand.dice.random() < 0.5
    history.make(topic, len(before))
    for log, values in zip(history.topics[topic][1], before, strict=True):
        log.pending.append("recreate")  # type: ignore[attr-defined]
        for value in values if keep else ():
            log.inject(value)
        log.wake()


@fault
def fork(hand: Hand) -> None:
    """One mirror is shown a history of its own from now on."""
    views = [view for name, view in hand.cloud.members.items() if name.startswith("r") and view.history is hand.cloud]
    if views and len(hand.cloud.forks) < 2:
        history = hand.cloud.fork(hand.dice.choice(views).name)
        for topic in ENVELOPES:
            for log in history.topics[topic][1]:
                log.pending.append("fork")  # type: ignore[attr-defined]
        history.swallow[hand.dice.choice(ENVELOPES)] = hand.dice.randint(0, 2)


@fault
def freeze(hand: Hand) -> None:
    """Nothing new is shown for a while; then all of it, or none."""
    history, show = hand.history(), hand.dice.random() < 0.7
    if not history.frozen:
        history.frozen = "freeze"
        hand.loop.call_later(hand.dice.choice((0.5, 3.0, 70.0)), lambda: history.thaw(show=show))


@fault
def delay(hand: Hand) -> None:
    """One member is served late."""
    view = hand.dice.choice([view for name, view in hand.cloud.members.items() if name.startswith("r")])
    view.lag = hand.dice.choice((0.3, 2.0, 10.0))
    for _id, logs in view.topics.values():
        for log in logs:
            log.pending.append("delay")
    hand.loop.call_later(hand.dice.choice((1.0, 15.0)), setattr, view, "lag", 0.0)


@fault
def inject_garbage(hand: Hand) -> None:
    """Bytes of anybody's, with our magic before them or not; or nothing at all."""
    size = hand.dice.choice((0, 1, 40, 300))
    value = hand.dice.choice((b"", b"SW", b"SW\x01\x01")) + hand.dice.randbytes(size)
    hand.inject(hand.log(), hand.dice.choice((value, None)), "inject_garbage", hand.dice.choice((None, b"k")))


@fault
def alter(hand: Hand) -> None:
    """One bit of an envelope is another."""
    for log in hand.logs()[:1]:
        offset = hand.recent(log)
        if value := hand.flipped(hand.value(log, offset)):
            log.replace(offset, value)
            log.note(offset, "alter")


@fault
def cut_short(hand: Hand) -> None:
    """An envelope ends early."""
    for log in hand.logs()[:1]:
        offset = hand.recent(log)
        value = hand.value(log, offset)
        log.replace(offset, value[: hand.dice.randrange(len(value) + 1)])
        log.note(offset, "cut_short")


@fault
def inject_bomb(hand: Hand) -> None:
    """A few kilobytes that would open to more memory than a batch may take."""
    codec = hand.dice.choice((1, 4))
    if codec not in _bombs:
        _bombs[codec] = bytes(bomb(codec, BOMB_BYTES))
    log = hand.log()
    log.note(log.end, "inject_bomb")
    log.append(_bombs[codec])


@fault
def mad_batch(hand: Hand) -> None:
    """A batch whose header says what cannot be: counts, lengths, codecs, offsets."""
    log = hand.log()
    log.note(log.end, "mad_batch")
    log.inject(hand.dice.randbytes(30))
    batch = bytearray(log.batches[-1])
    form, at, value = hand.dice.choice(MAD)
    struct.pack_into(form, batch, at, value)
    log.batches[-1] = bytes(batch)
