"""PROTOCOL.md's tables of a source partition's states, made from the code: `python tests/house/states_table.py`.

With ``--write`` they are put between their marks. A test beside this asks whether they stand there.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from sealwire.keys.cursor import TABLE, Sight, Step
from sealwire.keys.order import Expected, Kind, possible
from sealwire.keys.outlook import LATE, Sign
from sealwire.keys.reason import Reason
from sealwire.keys.source import Span
from sealwire.keys.standing import State

PROTOCOL: Final = Path(__file__).resolve().parents[2] / "agents/PROTOCOL.md"
MARKS: Final = re.compile(r"(?<=<!-- states -->\n).*?(?=<!-- /states -->)", re.DOTALL)
ADVERBS: Final = {State.FLOWING: "flows", State.WAITING: "waits", State.HELD: "is held"}
STAYS: Final = {State.FLOWING: "flows on", State.WAITING: "waits on", State.HELD: "stays held"}
ORDERS: Final = {Kind.ACCEPT_GAP: "flows from the end of what is named", Kind.REWIND: "flows from where it is told"}
SIGNS: Final = {
    Sign.BEHIND: "half of `stale_after` after a word that the cursor does not reach",
    Sign.SILENT: f"{LATE // 1000} s after the next word was due; after a start, `stale_after` and {LATE // 1000} s",
}
SEEN_ELSEWHERE: Final = (Reason.SINK_REFUSED, Reason.SINK_CHANGED)  # what holds, and no envelope shows
GAP: Final = Span(10, 20)


def transitions() -> list[str]:
    """What each sight does to a source partition in each state."""
    lines = [
        f"| an envelope that | {' | '.join(f'one that {ADVERBS[state]}' for state in State)} |",
        f"| --- |{' --- |' * len(State)}",
    ]
    return lines + [f"| {sight} | {' | '.join(_cell(state, sight) for state in State)} |" for sight in Sight]


def _cell(state: State, sight: Sight) -> str:
    step, reason = TABLE[state, sight]
    filled = " when its gap is filled" if state is State.WAITING else ""
    return {
        Step.DELIVER: f"is delivered: flows{filled}",
        Step.TRIM: f"is delivered from the cursor on: flows{filled}",
        Step.DROP: f"is dropped: {STAYS[state]}",
        Step.WAIT: f"waits: `{reason}`" if state is State.FLOWING else f"waits on (alone: `{reason}`)",
        Step.HOLD: f"is held: `{reason}`",
        Step.STAY: STAYS[state],
    }[step]


def orders() -> list[str]:
    """What a person may order in each state, and what follows."""
    lines = [f"| one that | {' | '.join(f'`{kind}`' for kind in Kind)} |", f"| --- |{' --- |' * len(Kind)}"]
    for state in State:
        kinds: dict[tuple[str, ...], list[Reason]] = {}
        for reason in _reasons(state):
            kinds.setdefault(tuple(_order(kind, state, reason) for kind in Kind), []).append(reason)
        if state is State.FLOWING:
            kinds = {tuple(_order(kind, state, None) for kind in Kind): []}
        for cells, reasons in kinds.items():
            why = ": " + ", ".join(f"`{reason}`" for reason in reasons) if reasons else ""
            lines.append(f"| {ADVERBS[state]}{why} | {' | '.join(cells)} |")
    return lines


def _reasons(state: State) -> list[Reason]:
    steps = {State.WAITING: Step.WAIT, State.HELD: Step.HOLD}
    found = {reason for step, reason in TABLE.values() if step is steps.get(state) and reason is not None}
    found |= set(SEEN_ELSEWHERE) if state is State.HELD else set()
    return sorted(found, key=list(Reason).index)


def _order(kind: Kind, state: State, reason: Reason | None) -> str:
    gap = None if state is State.FLOWING else GAP
    to = GAP.next if kind is Kind.ACCEPT_GAP else 0
    return ORDERS[kind] if possible(kind, Expected(state, reason, GAP.first, gap), to) else "is refused"


def staleness() -> list[str]:
    """What makes one stale, beside its state."""
    return ["| stale | from when on |", "| --- | --- |", *(f"| {sign} | {SIGNS[sign]} |" for sign in Sign)]


def tables() -> str:
    """All of it, as it stands in PROTOCOL.md."""
    parts = [
        transitions(),
        ["A person's orders, once each:"],
        orders(),
        ["Beside its state a source partition may be stale:"],
        staleness(),
    ]
    return "\n" + "\n".join("\n".join(part) + "\n" for part in parts) + "\n"


def written(text: str) -> str:
    """Give PROTOCOL.md with the tables in their place."""
    assert MARKS.search(text), "PROTOCOL.md has no <!-- states --> ... <!-- /states -->"
    return MARKS.sub(lambda _: tables(), text)


def main() -> int:
    """Print the tables, or write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put them into agents/PROTOCOL.md")
    if parser.parse_args().write:
        PROTOCOL.write_text(written(PROTOCOL.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(tables())
    return 0


if __name__ == "__main__":
    sys.exit(main())
