"""What an authentic envelope does to the cursor of its source partition.

``advance`` is a pure function. It looks at an opened envelope once, says in one word what it sees (``Sight``), and
reads from ``TABLE`` what follows for a cursor in each state. The cursor that it returns is adopted only when the
batches are where they belong: a caller that fails keeps the old one.

The rules are those of continuity: spans touch, so what begins behind the cursor is known and what begins beyond it
leaves a gap. Only authenticated evidence comes here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealwire.keys.inner import Kind
from sealwire.keys.reason import Misuse, Reason
from sealwire.keys.source import Span
from sealwire.keys.standing import CloudPlace, Cursor, State

if TYPE_CHECKING:
    from sealwire.keys.inner import Inner
    from sealwire.keys.opening import Opened

__all__ = [
    "END_ALLOWANCE",
    "FLOOR_ALLOWANCE",
    "TABLE",
    "CloudPlace",
    "Cursor",
    "Decision",
    "Deliver",
    "Duplicate",
    "Gap",
    "Hold",
    "Rules",
    "Sight",
    "State",
    "Step",
    "Trim",
    "advance",
    "look",
]

MINUTE: Final = 60 * 1000
FLOOR_ALLOWANCE: Final = 65 * MINUTE
"""A session's longest life and two clocks, in ms: what was made earlier than this before the floor moves nothing."""
END_ALLOWANCE: Final = 5 * MINUTE + 10_000
"""Two clocks, and the age in ms that a source's end may have when it is sealed: two sealers may overlap for as long."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a mapping allows, and what is known from a source partition's neighbours.

    ``max_hole`` is the most offsets that may lie between two records of a span; ``lost_span`` the most that a source
    may lose without a person being asked; ``site_floor`` (ms) the highest session floor of the site in this cloud
    partition, for a source partition met for the first time; ``begin_anywhere`` a person's word that it may begin
    without its log start.
    """

    max_hole: int = 2**20
    lost_span: int = 2**20
    site_floor: int = 0
    begin_anywhere: bool = False


@dataclass(frozen=True, slots=True)
class Deliver:
    """The whole envelope comes next. A ``lost`` one has no batches: the span is passed."""


@dataclass(frozen=True, slots=True)
class Trim:
    """What lies before ``from_offset`` was delivered; the rest comes next."""

    from_offset: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """All of it was delivered."""


@dataclass(frozen=True, slots=True)
class Gap:
    """``span`` is missing before it. ``reason`` is GAP, NO_START (of an unseen start) or BELOW_FLOOR (not believed)."""

    span: Span
    reason: Reason


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing moves until a person decides."""

    reason: Reason


Decision = Deliver | Trim | Duplicate | Gap | Hold


class Sight(StrEnum):
    """What an envelope is to a cursor; the first that fits, in this order."""

    REGRESSED = "behind, newer, and so is the source's end"
    BEHIND = "ends at or before the cursor"
    TOO_OLD = "of a session below the floor"
    ODD_SPAN = "a span that cannot be"
    ODD_LOSS = "a loss that must not pass in silence"
    START = "no cursor, and it may begin here"
    NO_START = "no cursor, and not the log start"
    NEXT = "begins at the cursor"
    OVER = "begins before the cursor and ends after it"
    BEYOND = "begins after the cursor"


class Step(StrEnum):
    """What follows."""

    DELIVER = "deliver"
    TRIM = "trim"
    DROP = "drop"
    WAIT = "wait"
    HOLD = "hold"
    STAY = "stay"


_OPEN: Final = {
    Sight.REGRESSED: (Step.HOLD, Reason.REGRESSED),
    Sight.BEHIND: (Step.DROP, None),
    Sight.TOO_OLD: (Step.WAIT, Reason.BELOW_FLOOR),
    Sight.ODD_SPAN: (Step.HOLD, Reason.IMPLAUSIBLE),
    Sight.ODD_LOSS: (Step.HOLD, Reason.LOST_SPAN),
    Sight.START: (Step.DELIVER, None),
    Sight.NO_START: (Step.WAIT, Reason.NO_START),
    Sight.NEXT: (Step.DELIVER, None),
    Sight.OVER: (Step.TRIM, None),
    Sight.BEYOND: (Step.WAIT, Reason.GAP),
}
_DROP: Final = (Step.DROP, None)
_STAY: Final = (Step.STAY, None)
_HELD: Final = dict.fromkeys(Sight, _STAY) | {Sight.BEHIND: _DROP, Sight.REGRESSED: _DROP}
TABLE: Final[dict[tuple[State, Sight], tuple[Step, Reason | None]]] = {
    **{(State.FLOWING, sight): row for sight, row in _OPEN.items()},
    **{(State.WAITING, sight): row for sight, row in _OPEN.items()},
    **{(State.HELD, sight): row for sight, row in _HELD.items()},
}
"""(state of the cursor, what is seen) -> (what follows, why). A held cursor stays as it is but for duplicates."""


def advance(
    cursor: Cursor | None, opened: Opened, rules: Rules, place: CloudPlace | None = None
) -> tuple[Cursor, Decision]:
    """Return the cursor after an opened envelope, and what is to be done with its batches.

    ``cursor`` is None, or an empty one, for a source partition met for the first time. ``place`` is where the envelope
    was read: a cursor that begins to wait, or to be held, keeps it.

    Raises:
        Misuse: the envelope is of another source partition than the cursor.
    """
    if cursor is None or (cursor.next is None and cursor == Cursor(opened.source)):
        cursor = Cursor(opened.source, session_floor=rules.site_floor)
    elif cursor.source != opened.source:
        detail = f"an envelope of {opened.source} cannot move the cursor of {cursor.source}"
        raise Misuse(detail)
    step, reason = TABLE[cursor.state, look(cursor, opened, rules)]
    match step, reason:
        case Step.DELIVER, _:
            return _moved(cursor, opened), Deliver()
        case Step.TRIM, _:
            assert cursor.next is not None  # noqa: S101 -- nothing overlaps a cursor that is not there
            return _moved(cursor, opened), Trim(cursor.next)
        case Step.DROP, _:
            return cursor, Duplicate()
        case Step.WAIT, Reason() as why:
            return _waiting(cursor, opened, why, place)
        case Step.HOLD, Reason() as why:
            span, start = opened.span, cursor.next or 0
            if span.first < start < span.next:  # what lies before the cursor stands at the sink
                span = Span(start, span.next)
            held = replace(cursor, state=State.HELD, reason=why, gap=span, place=cursor.place or place)
            return held, Hold(why)
        case _:
            return cursor, Hold(cursor.reason or Reason.IMPLAUSIBLE)


def look(cursor: Cursor, opened: Opened, rules: Rules) -> Sight:  # noqa: PLR0911 -- one return a sight
    """Say what an envelope is to a cursor."""
    inner, made_at = opened.inner, opened.session.made_at
    if cursor.next is not None and inner.next <= cursor.next:
        return Sight.REGRESSED if _regressed(cursor, opened) else Sight.BEHIND
    if made_at < cursor.session_floor - FLOOR_ALLOWANCE:
        return Sight.TOO_OLD
    if _odd_loss(cursor, inner, rules):
        return Sight.ODD_LOSS
    # Each record has at most `max_hole` offsets left out before it, and the last one as many behind it.
    most = inner.record_count + (inner.record_count + 1) * rules.max_hole
    if inner.next > inner.last_stable or (inner.kind is Kind.RECORDS and inner.next - inner.first > most):
        return Sight.ODD_SPAN
    if cursor.next is None:
        # Nothing can lie before offset 0, so what begins there needs no flag.
        return Sight.START if inner.log_start or inner.first == 0 or rules.begin_anywhere else Sight.NO_START
    if inner.first == cursor.next:
        return Sight.NEXT
    return Sight.OVER if inner.first < cursor.next else Sight.BEYOND


def _odd_loss(cursor: Cursor, inner: Inner, rules: Rules) -> bool:
    """Tell whether a loss is one that a person decides about: a large one, or one found when a mirror asked again.

    The last was sealed once, and the cloud lost it: however small, it is not passed over in silence.
    """
    if inner.kind is not Kind.LOST:
        return False
    # Beyond a gap it waits first: what is missing before it may still come, and must not be passed with it.
    beyond = inner.first > (cursor.next or 0)
    if inner.reseal and not beyond:
        return True
    return inner.next - inner.first > rules.lost_span and not (beyond and cursor.next is not None)


def _regressed(cursor: Cursor, opened: Opened) -> bool:
    """Tell whether the source's end went back behind what was delivered: it lost records and gives others now.

    The word of an older session, or one sealed before the cursor's last envelope or soon after it, proves nothing: its
    source end is of its own time, and a sealer that slept or lost its lane seals on beside its successor for a while.
    """
    inner = opened.inner
    later = inner.sealed_at > cursor.sealed_at + END_ALLOWANCE
    newer = opened.session.made_at > cursor.session_floor and later
    return newer and not inner.reseal and cursor.next is not None and inner.last_stable < cursor.next


def _moved(cursor: Cursor, opened: Opened) -> Cursor:
    inner = opened.inner
    gap = cursor.gap
    waits = gap is not None and inner.next < gap.next
    floor = cursor.session_floor
    return replace(
        cursor,
        next=inner.next,
        session_floor=floor if inner.reseal else max(floor, opened.session.made_at),
        sealed_at=max(cursor.sealed_at, inner.sealed_at),
        state=State.WAITING if waits else State.FLOWING,
        reason=cursor.reason if waits else None,
        gap=Span(inner.next, gap.next) if waits and gap is not None else None,
    )


def _waiting(cursor: Cursor, opened: Opened, why: Reason, place: CloudPlace | None) -> tuple[Cursor, Gap]:
    span = opened.span
    start = 0 if cursor.next is None else cursor.next
    missing = Span(start, span.next if why is Reason.BELOW_FLOOR else span.first)
    if cursor.gap is not None:  # it waits already: the first gap is the one to be healed first
        return replace(cursor, place=cursor.place or place), Gap(missing, why)
    waiting = replace(cursor, state=State.WAITING, reason=why, gap=missing, place=cursor.place or place)
    return waiting, Gap(missing, why)
