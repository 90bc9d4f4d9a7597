"""How `sealwire status` looks: for each worker its state, channels, source partitions, and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from sealwire.agents.words import are, count
from sealwire.app import screen
from sealwire.app.status import now_ms, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sealwire.app.status import Word

SESSION_SHOWN = 8  # hexadecimal digits of a session id: enough to tell sessions apart


def show(console: Console, words: Sequence[Word]) -> None:
    """Print what is known of a node's workers, and what is not as it should be last, where the eye ends."""
    for word in words:
        _worker(console, word)
    troubles = [trouble for word in words for trouble in word.troubles]
    for trouble in troubles:
        console.print(Text(f"! {trouble}", style="bold red"))
    if not troubles:
        console.print(Text("All flows.", style="green"))


def _worker(console: Console, word: Word) -> None:
    title = f"{word.direction} {word.identity}"
    snapshot = word.snapshot
    if word.answers and snapshot is not None:
        state = "ready" if snapshot.get("ready") else "not ready"
        since = _number(snapshot.get("since_ms"))
        running = f", running for {screen.ago(now_ms() - since)}" if since else ""  # not known while it starts
        console.print(Text(f"{title}: {state}{running}", style="bold"))
    elif snapshot is not None and word.written_ms:
        away = f"no answer at port {word.port}; its last word is {screen.ago(now_ms() - word.written_ms)} old:"
        console.print(Text(f"{title}: {away}", style="bold"))
    else:
        console.print(
            Text(f"{title}: no answer at port {word.port}, and no word of it: never started here?", style="bold")
        )
        return
    _tables(console, snapshot or {})
    console.print()


def _tables(console: Console, snapshot: dict[str, Any]) -> None:
    channels = [
        (
            _text(entry, "channel"),
            _session(entry),
            _text(entry, "readers") or _text(entry, "sessions"),
            _age(entry),
            _text(entry, "why"),
        )
        for entry in rows(snapshot, "channels")
    ]
    if channels:
        count_of = "readers#" if snapshot.get("direction") == "seal" else "sessions#"
        console.print(screen.table("Channels", ("channel", "session", count_of, "age#", "why"), channels))
    partitions = [
        (
            _text(entry, "channel"),
            _text(entry, "site"),
            f"{entry.get('topic', '?')}-{entry.get('partition', '?')}",
            _text(entry, "position") or _text(entry, "cursor"),
            _text(entry, "lag"),
            _session(entry),
            ", ".join(each for each in (_text(entry, "state"), "stale" if entry.get("stale") else "") if each),
            "; ".join(each for each in (_text(entry, "why"), _text(entry, "stale")) if each),
        )
        for entry in rows(snapshot, "partitions")
    ]
    if partitions:
        sealing = snapshot.get("direction") == "seal"
        columns = (
            "channel",
            "site",
            "source",
            "position#" if sealing else "cursor#",
            "lag#",
            "session",
            "state",
            "why",
        )
        console.print(screen.table("Source partitions", columns, partitions))
    for title, name in (("Refused", "refused"), ("Counted", "counters")):
        counted = snapshot.get(name)
        if isinstance(counted, dict) and counted:
            words = ", ".join(f"{what} {many}" for what, many in sorted(counted.items(), key=str))
            console.print(Text(f"{title}: {screen.plain(words)}"))
    for entry in rows(snapshot, "parked"):
        since = _number(entry.get("since_ms"))
        first = f", the first for {screen.ago(now_ms() - since)}" if since else ""
        place = f"{_text(entry, 'topic')}[{_text(entry, 'partition')}]"
        many = _number(entry.get("sessions"))
        words = f"envelopes of {count(many, 'session')} that {are(many)} not known here{first}"
        console.print(Text(f"Parked: {screen.plain(place)}: {words}"))


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    return "" if value is None else str(value)


def _session(entry: dict[str, Any]) -> str:
    return str(entry.get("session") or entry.get("session_id") or "")[:SESSION_SHOWN]


def _age(entry: dict[str, Any]) -> str:
    age = entry.get("session_age_ms", entry.get("age_ms"))
    return screen.ago(_number(age)) if age is not None else ""


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
