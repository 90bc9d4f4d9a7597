"""`status` shows what workers say, tells when they last said it, and ends with 1 when something does not flow."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from sealwire.app import cli
from sealwire.app.status import fetch, last_word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SNAPSHOT: dict[str, Any] = {
    "direction": "seal",
    "identity": "s",
    "project": "acme",
    "site": "berlin",
    "since_ms": 1_700_000_000_000,
    "ready": True,
    "why": "",
    "channels": [{"channel": "orders", "session": "0123456789abcdef", "readers": 2, "session_age_ms": 61_000}],
    "partitions": [
        {"channel": "orders", "site": "berlin", "topic": "orders", "partition": 0, "state": "flowing", "position": 17}
    ],
    "refused": {"malformed": 3},
    "counters": {"records": 100},
}


class Answering:
    """A small HTTP server on a free local port that gives one answer to everything."""

    def __init__(self) -> None:
        self.body = b""
        self.code = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(outer.code)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port


@pytest.fixture
def worker() -> Iterator[Answering]:
    answering = Answering()
    thread = threading.Thread(target=answering.server.serve_forever, args=(0.01,))
    thread.start()
    yield answering
    answering.server.shutdown()
    answering.server.server_close()
    thread.join()


def node(directory: Path, port: int) -> str:
    path = directory / "node.yaml"
    path.write_text(
        f"project: acme\nsite: berlin\nidentity: s\nstate: state\nweb_port: {port}\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: orders, seal: orders, to: acme.orders}\n"
    )
    return str(path)


def status(worker: Answering, directory: Path, *options: str) -> int:
    return cli.main(["status", node(directory, worker.port), *options])


def test_a_worker_whose_partitions_flow_is_shown_and_ends_with_0(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.body = json.dumps(SNAPSHOT).encode()
    assert status(worker, tmp_path) == 0
    shown = capsys.readouterr().out
    for words in ("seal s: ready", "orders-0", "17", "01234567", "malformed", "All flows."):
        assert words in shown


@pytest.mark.parametrize("state", ["waiting(gap)", "held", "stale"])
def test_a_partition_that_does_not_flow_is_named_with_its_why_and_ends_with_1(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    partition = {**SNAPSHOT["partitions"][0], "state": state, "why": "no reader is enrolled"}
    worker.body = json.dumps({**SNAPSHOT, "partitions": [partition]}).encode()
    assert status(worker, tmp_path) == 1
    assert f"orders berlin orders-0: {state}: no reader is enrolled" in capsys.readouterr().out


def test_a_thousand_partitions_that_wait_for_one_reason_are_one_line(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {**SNAPSHOT["partitions"][0], "state": "waiting", "why": "the topic is missing"}
    partitions = [{**base, "partition": number} for number in range(1000)]
    worker.body = json.dumps({**SNAPSHOT, "partitions": partitions}).encode()
    assert status(worker, tmp_path) == 1
    shown = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("!") for line in shown) == 1
    assert "and 997 more: waiting: the topic is missing" in " ".join(shown)


def test_what_is_stale_is_one_line_a_topic_and_shown_beside_its_state(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {**SNAPSHOT["partitions"][0], "state": "flowing", "stale": "its sender spoke last at noon"}
    partitions = [{**base, "partition": number} for number in range(5)]
    worker.body = json.dumps({**SNAPSHOT, "partitions": partitions}).encode()
    assert status(worker, tmp_path) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "! seal s: orders berlin orders-0, 1, 2 and 2 more: stale: its sender spoke last at noon" in shown
    assert "flowing, stale" in shown


def test_what_is_parked_is_shown_with_how_many_and_since_when(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parked = [{"topic": "acme.orders", "partition": 3, "sessions": 2, "since_ms": 1_700_000_000_000}, {"topic": "x"}]
    worker.body = json.dumps({**SNAPSHOT, "parked": parked}).encode()
    assert status(worker, tmp_path) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Parked: acme.orders[3]: envelopes of 2 sessions that are not known here, the first for " in shown


def test_a_channel_without_readers_says_so(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = {**SNAPSHOT["channels"][0], "session": "", "readers": 0, "why": "no reader is enrolled yet"}
    worker.body = json.dumps({**SNAPSHOT, "channels": [channel]}).encode()
    assert status(worker, tmp_path) == 1
    assert "! seal s: channel orders: no reader is enrolled yet" in capsys.readouterr().out


def test_a_worker_that_is_not_ready_says_why(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.body = json.dumps({**SNAPSHOT, "ready": False, "why": "the cloud does not answer"}).encode()
    assert status(worker, tmp_path) == 1
    assert "is not ready: the cloud does not answer" in capsys.readouterr().out


def test_where_none_answers_the_last_word_is_shown_with_its_age(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.code = 404
    own = tmp_path / "state" / "s"
    own.mkdir(parents=True)
    (own / "worker.json").write_text(json.dumps(SNAPSHOT))
    assert status(worker, tmp_path) == 1
    shown = capsys.readouterr().out
    assert "its last word is" in shown
    assert "orders-0" in shown
    assert "! seal s does not answer" in shown


def test_another_program_on_the_port_is_not_taken_for_the_worker(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.body = json.dumps({**SNAPSHOT, "identity": "somebody else"}).encode()
    assert status(worker, tmp_path) == 1
    assert "never started here?" in capsys.readouterr().out


def test_json_has_the_snapshot_and_the_troubles(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.body = json.dumps(SNAPSHOT).encode()
    assert status(worker, tmp_path, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["workers"]
    assert found["answers"] is True
    assert found["troubles"] == []
    assert found["snapshot"] == SNAPSHOT


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"<html>", b"[" * 100_000])
def test_an_answer_that_is_no_snapshot_is_none(worker: Answering, body: bytes) -> None:
    worker.body = body
    assert fetch(worker.port) is None


def test_a_snapshot_of_another_shape_is_shown_as_far_as_it_goes(worker: Answering, tmp_path: Path) -> None:
    worker.body = json.dumps(
        {**SNAPSHOT, "partitions": [1, {}], "channels": 3, "refused": [], "since_ms": "x"}
    ).encode()
    assert status(worker, tmp_path) == 1


def test_a_name_from_elsewhere_cannot_paint_the_terminal(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = {"channel": "\x1b[31m[bold]x", "session": "", "readers": 0}
    worker.body = json.dumps({**SNAPSHOT, "channels": [channel]}).encode()
    status(worker, tmp_path)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]x" in shown


def test_a_missing_or_damaged_last_word_is_none(tmp_path: Path) -> None:
    assert last_word(tmp_path / "worker.json") == (None, None)
    (tmp_path / "worker.json").write_text("{")
    assert last_word(tmp_path / "worker.json")[0] is None


def test_what_topics_wait_for_is_told_of_a_worker_that_is_ready_otherwise(
    worker: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.body = json.dumps({**SNAPSHOT, "troubles": {"acme.x": "cloud topic acme.x is missing"}}).encode()
    assert status(worker, tmp_path) == 1
    assert "! seal s: cloud topic acme.x is missing" in capsys.readouterr().out
