"""What the cloud does to the project's statements: credentials, key packages, sessions, grants, progress, requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hand import fault
from hostile_cloud import STATEMENTS
from sim_kafka import span

if TYPE_CHECKING:
    from hand import Hand


@fault
def old_statement(hand: Hand) -> None:
    """A statement comes again, as if it were news."""
    for log in hand.statements()[:1]:
        hand.inject(log, hand.value(log), "old_statement", b"again")


@fault
def old_statements(hand: Hand) -> None:
    """All statements of a topic come again, the newest first."""
    for log in hand.statements()[:1]:
        for value in log.values()[:-20:-1]:
            hand.inject(log, value, "old_statements", b"again")


@fault
def drop_statement(hand: Hand) -> None:
    """A statement that was there is there no more."""
    for log in hand.statements()[:1]:
        offset = hand.recent(log)
        log.drop(offset)
        log.note(offset, "drop_statement")


@fault
def swallow_statement(hand: Hand) -> None:
    """The next statement is acknowledged and never shown."""
    hand.history().swallow[hand.dice.choice(STATEMENTS)] = 1


@fault
def alter_statement(hand: Hand) -> None:
    """One bit of a statement is another."""
    for log in hand.statements()[:1]:
        offset = hand.recent(log)
        if value := hand.flipped(hand.value(log, offset)):
            log.replace(offset, value)
            log.note(offset, "alter_statement")


@fault
def altered_again(hand: Hand) -> None:
    """A statement comes again with one bit another, beside the true one."""
    for log in hand.statements()[:1]:
        if value := hand.flipped(hand.value(log)):
            hand.inject(log, value, "altered_again", b"again")


@fault
def splice_statement(hand: Hand) -> None:
    """A statement stands in another topic of the project."""
    for log in hand.statements()[:1]:
        other = hand.log(topics=STATEMENTS)
        hand.inject(other, hand.value(log), "splice_statement")


@fault
def foreign_statement(hand: Hand) -> None:
    """A true statement of another project: its root, its members, its sessions."""
    hand.inject(hand.log(topics=STATEMENTS), hand.dice.choice(hand.foreign.statements), "foreign_statement")


@fault
def statement_for_envelope(hand: Hand) -> None:
    """A statement stands among envelopes, or an envelope among statements."""
    for log in hand.statements()[:1]:
        for other in hand.logs()[:1]:
            if hand.dice.random() < 0.5:
                hand.inject(other, hand.value(log), "statement_for_envelope")
            else:
                hand.inject(log, hand.value(other), "statement_for_envelope")


@fault
def roll_back_statements(hand: Hand) -> None:
    """The end of a topic of statements is taken back: what was said last was never said."""
    for log in hand.statements()[:1]:
        offset = hand.recent(log)
        log.batches = [batch for batch in log.batches if span(batch)[0] < offset]
        log.end = offset
        log.note(offset, "roll_back_statements")
        log.pending.append("roll_back_statements")
        log.wake()


@fault
def freeze_statements(hand: Hand) -> None:
    """Nothing new is shown of one topic of statements for a while."""
    log = hand.log(topics=STATEMENTS)
    log.visible, log.hidden = log.end, "freeze_statements"
    log.wake()
    hand.loop.call_later(hand.dice.choice((2.0, 70.0)), log.show)
