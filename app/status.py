"""What a node's workers say of themselves: asked at their local ports, else read from what they last wrote down."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.agents.settings import Direction
    from sealwire.app.config import Node

TIMEOUT_S: Final = 3.0
LARGEST: Final = 16 << 20  # bytes of an answer: 20,000 source partitions and room to spare
SHOWN: Final = 3  # source partitions named of those that wait for one reason
FLOWING: Final = frozenset({"flowing", "live", "idle"})


@dataclass(frozen=True)
class Word:
    """What is known of one worker: ``snapshot`` is its own word, of now (``answers``) or as of ``written_ms``."""

    direction: Direction
    identity: str
    port: int
    answers: bool
    snapshot: dict[str, Any] | None
    written_ms: int | None = None

    @property
    def troubles(self) -> list[str]:
        """Say, in a line each, what is not as it should be; empty when all flows."""
        name = f"{self.direction} {self.identity}"
        if not self.answers:
            return [f"{name} does not answer"]
        snapshot = self.snapshot or {}
        found = (
            [] if snapshot.get("ready") else [f"{name} is not ready: {snapshot.get('why') or 'it does not say why'}"]
        )
        if snapshot.get("ready"):  # else `why` has them
            found += [f"{name}: {words}" for words in _words(snapshot.get("troubles"))]
        found += [
            f"{name}: channel {channel.get('channel')}: {channel['why']}"
            for channel in rows(snapshot, "channels")
            if channel.get("why")
        ]
        stuck: dict[tuple[str, str], list[str]] = {}
        stale: dict[str, list[dict[str, Any]]] = {}
        for entry in rows(snapshot, "partitions"):
            state = str(entry.get("state", ""))
            if state.split("(", maxsplit=1)[0] not in FLOWING:
                place = f"{entry.get('channel')} {entry.get('site')} {entry.get('topic')}-{entry.get('partition')}"
                stuck.setdefault((state, str(entry.get("why") or "it does not say why")), []).append(place)
            if entry.get("stale"):
                topic = f"{entry.get('channel')} {entry.get('site')} {entry.get('topic')}"
                stale.setdefault(topic, []).append(entry)
        for (state, why), places in stuck.items():
            more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
            found.append(f"{name}: {', '.join(places[:SHOWN])}{more}: {state}: {why}")
        for topic, entries in stale.items():
            numbers = ", ".join(str(entry.get("partition")) for entry in entries[:SHOWN])
            more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
            found.append(f"{name}: {topic}-{numbers}{more}: stale: {entries[0]['stale']}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Give it as `status --json` prints it."""
        about = {"direction": self.direction, "identity": self.identity, "port": self.port, "answers": self.answers}
        return {**about, "written_ms": self.written_ms, "troubles": self.troubles, "snapshot": self.snapshot}


def ask(node: Node) -> list[Word]:
    """Ask every worker of a node; takes a few seconds at most, and raises nothing for workers that are away."""
    return [_ask(node, way) for way in node.directions]


def _ask(node: Node, way: Direction) -> Word:
    identity, port = node.identities[way], node.web_ports[way]
    snapshot = fetch(port, reached_at(node.web_host))
    # Another program, or another node's worker, may sit on that port: only our own word counts.
    if snapshot is not None and all(
        snapshot.get(name) == value
        for name, value in (("identity", identity), ("direction", way), ("project", node.project))
    ):
        return Word(way, identity, port, answers=True, snapshot=snapshot)
    written, written_ms = last_word(node.directory(way) / "worker.json")
    return Word(way, identity, port, answers=False, snapshot=written, written_ms=written_ms)


def reached_at(web_host: str) -> str:
    """Give the address at which this machine reaches a port that is open at `web_host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web_host, web_host)  # noqa: S104 - asked, not opened


def fetch(port: int, host: str = "127.0.0.1") -> dict[str, Any] | None:
    """Ask the worker at a port for its snapshot; None where nothing of the kind answers in time."""
    status, told = _get(host, port, "/status/")
    return told if status == http.client.OK else None


def unhealthy(node: Node, *, ready: bool = False) -> list[str]:
    """Ask every worker of a node whether it is alive, or ready; gives a line for each that is not."""
    found = []
    what = "ready" if ready else "live"
    for way in node.directions:
        status, told = _get(reached_at(node.web_host), node.web_ports[way], f"/health/{what}")
        if status != http.client.OK:
            why = (told or {}).get("why") or f"no answer at port {node.web_ports[way]}"
            found.append(f"{way} {node.identities[way]} is not {what}: {why}")
    return found


def _get(host: str, port: int, path: str) -> tuple[int, dict[str, Any] | None]:
    """Give the status and the JSON object that came; 0 and None where nothing of the kind answers in time."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, _snapshot(answer.read(LARGEST))
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


def last_word(file: Path) -> tuple[dict[str, Any] | None, int | None]:
    """Read what a worker last wrote down, and when (ms since 1970); None where there is nothing to be read."""
    try:
        with file.open("rb") as opened:
            return _snapshot(opened.read(LARGEST)), int(file.stat().st_mtime * 1000)
    except OSError:
        return None, None


def rows(snapshot: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Give the entries of a list in a snapshot, whatever else may stand there."""
    listed = (snapshot or {}).get(name)
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _words(troubles: object) -> list[str]:
    return sorted({str(words) for words in troubles.values()}) if isinstance(troubles, dict) else []


def now_ms() -> int:
    """Give the time in ms since 1970."""
    return time.time_ns() // 1_000_000


def _snapshot(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
