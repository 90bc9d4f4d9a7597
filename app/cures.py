"""What a source partition waits for or is held for, in words for a person, and what helps: a line for each Reason."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealwire.keys.order import Expected, Kind, possible
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.keys.source import SourcePartition

REASON_GIVEN: Final = "..."  # what a person has to fill in


@dataclass(frozen=True)
class Cure:
    """What happened, and what a person can do; ``order`` is the kind that helps, if one does.

    ``itself``: it goes on by itself when its cause is gone, so an order is the last resort.
    """

    happened: str
    do: str
    order: Kind | None = None
    itself: bool = False


CURES: Final = {
    Reason.GAP: Cure(
        "the cloud does not serve what comes next",
        "the sending site is asked to seal it again; accept the gap only if it has it no more",
        Kind.ACCEPT_GAP,
        itself=True,
    ),
    Reason.NO_START: Cure(
        "this site came later than the source partition's beginning, or the cloud lost that",
        "let it begin where it can, or have the sending site raise the channel's backfill",
        Kind.ACCEPT_GAP,
        itself=True,
    ),
    Reason.BELOW_FLOOR: Cure(
        "the cloud serves it only from a session too old to be believed",
        "the sending site is asked to seal it again; accept the gap only if it has it no more",
        Kind.ACCEPT_GAP,
        itself=True,
    ),
    Reason.LOST_SPAN: Cure(
        "the source itself has it no more: deleted there before it was sealed, or before it was sealed again",
        "look at the source's retention; then accept the gap",
        Kind.ACCEPT_GAP,
    ),
    Reason.IMPLAUSIBLE: Cure(
        "an envelope of a member says what cannot be: a fault of its worker, or somebody has its keys",
        "ask who runs the sender; then leave that envelope: what is missing is sealed again",
        Kind.REWIND,
    ),
    Reason.REGRESSED: Cure(
        "the source went back behind what was delivered: it was truncated, restored or failed over uncleanly",
        "go back to where it gives other records now: these follow, at the sink, behind what stands there",
        Kind.REWIND,
    ),
    Reason.SINK_REFUSED: Cure(
        "the sink refuses a record for good, in its own words",
        "mend the sink topic's settings and it goes on by itself within a minute; else pass the record",
        Kind.ACCEPT_GAP,
        itself=True,
    ),
    Reason.SINK_CHANGED: Cure(
        "the sink is another one than was delivered to, or ends earlier: restored, failed over, made anew",
        "go on with this sink as it is, or go back to what it still has: rewind --to OFFSET",
        Kind.REWIND,
    ),
    Reason.CURSORS_LOST: Cure(
        "the local topic of cursors was emptied, cut or written by somebody else",
        "sealwire site restore NODE.yaml builds it again from the ledger",
    ),
    Reason.CHARTER_OLD: Cure(
        "the charter known here is older than it may be, or than one that is known to be signed: the authority is "
        "away, or the cloud keeps it, or a root, back",
        "let the authority run (sealwire authority run); it goes on by itself",
        itself=True,
    ),
}


def cure(reason: Reason | None) -> Cure | None:
    """Give what is known of a Reason; None where there is none to be decided about."""
    return None if reason is None else CURES.get(reason)


def command(node: Path | str, source: SourcePartition, expects: Expected, *, topic_id: bool = False) -> str:
    """Give the very command that helps a source partition in this state; empty where no order does.

    ``topic_id`` names that too: another source partition has the same name.
    """
    known = cure(expects.reason)
    gap = expects.gap
    if known is None or known.order is None:
        return ""
    words = ["sealwire", str(known.order), str(node), "--channel", source.channel, "--site", source.site]
    words += ["--topic", source.topic, "--partition", str(source.partition)]
    words += ["--topic-id", source.topic_id.hex()] if topic_id else []
    if known.order is Kind.ACCEPT_GAP:
        if gap is None or not possible(Kind.ACCEPT_GAP, expects, gap.next):
            return ""
    elif expects.reason is Reason.IMPLAUSIBLE:
        words.append("--from-here")
    elif gap is not None and expects.next is not None:
        words += ["--to", str(min(gap.first, expects.next))]
    return shlex.join([*words, "--why", REASON_GIVEN])
