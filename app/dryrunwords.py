"""A dry run in words: who may send and read where, before and after, by name; and what nobody is likely to want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.app import duration
from sealwire.keys import dryrun

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealwire.keys.charter import CharterFields
    from sealwire.keys.dryrun import Change, Concern, Place, Rights

BACKLOG = (
    "The produce policy of today judges the old backlog too: what a member sealed while it might, and that is not "
    "delivered yet, is refused once it may not."
)


def differences(changes: Sequence[Change]) -> list[str]:
    """Tell what changes for whom, a line each; places where the same changes are told together."""
    lines: list[str] = []
    for (before, after), places in _grouped(changes).items():
        if before == after:
            continue
        lines.append(f"{'; '.join(places)}:")
        lines += [
            f"  {verb}: {_moved(was, is_)}"
            for verb, was, is_ in (("send", before.produce, after.produce), ("read", before.consume, after.consume))
        ]
        if before.backfill != after.backfill:
            lines.append(f"  backfill: {_length(before.backfill)} becomes {_length(after.backfill)}")
    if not lines:
        return ["Nobody gains or loses a right."]
    if any(before == after for before, after in _grouped(changes)):
        lines.append("All else stays as it is.")
    if any(change.before.produce - change.after.produce for change in changes):
        lines.append(BACKLOG)
    return lines


def rights(changes: Sequence[Change]) -> list[str]:
    """Tell who may do what everywhere, a line each."""
    lines: list[str] = []
    for (_, after), places in _grouped(changes).items():
        lines.append(f"{'; '.join(places)}:")
        lines += [f"  send: {_names(after.produce)}", f"  read: {_names(after.consume)}"]
        if after.backfill:
            lines.append(f"  backfill: {_length(after.backfill)}")
    return lines


def warnings(concerns: Sequence[Concern], charter: CharterFields) -> list[str]:
    """Tell what nobody is likely to want, a line each."""
    lines = []
    for concern in concerns:
        if concern.where is not None:
            lines.append(f"{_place(concern.where)}: {concern.trouble.value}")
        else:
            row = charter.policies[concern.row - 1]
            where = row.channel if row.cloud_topic == "*" else f"{row.channel} through {row.cloud_topic}"
            right = f", {concern.right}" if concern.right else ""
            lines.append(f"policy {concern.row} ({where}{right}): {concern.trouble.value}")
    return lines


def _grouped(changes: Sequence[Change]) -> dict[tuple[Rights, Rights], list[str]]:
    found: dict[tuple[Rights, Rights], list[str]] = {}
    for place, before, after in changes:
        found.setdefault((before, after), []).append(_place(place))
    return found


def _place(place: Place) -> str:
    """Write a place; where no narrower channel pattern covers a channel it is one of all (other) channels."""
    text = str(place)
    if place.channels.pattern != dryrun.ALL:
        return text
    return text.replace(str(place.channels), "all other channels" if place.channels.narrower else "all channels", 1)


def _moved(before: frozenset[str], after: frozenset[str]) -> str:
    if before == after:
        return f"as before: {_names(after)}"
    parts = [f"+ {_names(after - before)}"] if after - before else []
    parts += [f"- {_names(before - after)}"] if before - after else []
    return f"{', '.join(parts)} (then {_names(after)})"


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"


def _length(ms: int) -> str:
    return duration.shown(ms // 1000) if ms else "none"
