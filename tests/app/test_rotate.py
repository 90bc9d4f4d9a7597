"""`sealwire rotate` writes orders into the workers' directories and tells what came of them."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sealwire.agents.rotation import ANSWER, ORDER, Rotation
from sealwire.app.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = """\
project: acme
site: berlin
identity: {seal: producer1, open: consumer1}
state: state
local: {bootstrap: "localhost:9092"}
cloud: {bootstrap: "cloud.example:9092"}
mappings:
  - {channel: orders, seal: orders, to: acme.orders}
  - {channel: invoices, open: acme.invoices, to: invoices}
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    file = tmp_path / "node.yaml"
    file.write_text(NODE)
    for name in ("producer1", "consumer1"):
        (tmp_path / "state" / name).mkdir(parents=True)
    return file


@contextmanager
def workers(node: Path, *names: str) -> Iterator[None]:
    """Workers that carry orders out, as far as their files are concerned."""
    end = threading.Event()

    async def live(directory: Path) -> None:
        async def done() -> str:
            return "done"

        rotation = Rotation(directory, lambda: dict.fromkeys(("sessions", "receiving", "credential", "identity"), done))
        while not end.is_set():
            await rotation.look()
            await asyncio.sleep(0.01)

    threads = []
    for name in names:
        directory = node.parent / "state" / name
        (directory / "lock").write_text(f"pid {os.getpid()}, faust\n")
        threads.append(threading.Thread(target=lambda directory=directory: asyncio.run(live(directory))))
        threads[-1].start()
    yield
    end.set()
    for thread in threads:
        thread.join()


def test_both_workers_of_a_node_make_all_that_is_theirs_anew(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with workers(node, "producer1", "consumer1"):
        assert main(["rotate", str(node), "all"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "seal producer1: sessions: done",
        "seal producer1: credential: done",
        "seal producer1: identity: done",
        "open consumer1: receiving: done",
        "open consumer1: credential: done",
        "open consumer1: identity: done",
    ]


def test_sessions_are_asked_of_the_sealing_worker_alone(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with workers(node, "producer1"):
        assert main(["rotate", str(node), "sessions"]) == 0
    assert capsys.readouterr().out == "seal producer1: sessions: done\n"
    assert not (node.parent / "state/consumer1" / ORDER).exists()


def test_a_worker_that_does_not_run_finds_the_order_at_its_start(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (node.parent / "state/consumer1/lock").write_text("pid 999999999, faust\n")
    assert main(["rotate", str(node), "receiving"]) == 1
    words = "open consumer1: ordered; it does not run: it will be done at its next start\n"
    assert capsys.readouterr().out == words
    order = json.loads((node.parent / "state/consumer1" / ORDER).read_text())
    assert order["what"] == ["receiving"]
    assert (node.parent / "state/consumer1" / ORDER).stat().st_mode & 0o777 == 0o600


def test_a_worker_that_is_busy_is_waited_for_so_long_and_an_old_answer_is_not_its(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = node.parent / "state/consumer1"
    (directory / "lock").write_text(f"pid {os.getpid()}, faust\n")
    (directory / ANSWER).write_text(json.dumps({"id": "old", "at_ms": 1, "done": []}))
    assert main(["rotate", str(node), "receiving", "--within", "1"]) == 1
    assert capsys.readouterr().out == "open consumer1: ordered; it has not answered yet\n"


def test_what_no_worker_of_the_node_has_is_refused(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = NODE.replace("  - {channel: orders, seal: orders, to: acme.orders}\n", "")
    node.write_text(text.replace("{seal: producer1, open: consumer1}", "consumer1"))
    assert main(["rotate", str(node), "sessions"]) == 2
    assert "has no sealing mapping: no worker of it has sessions" in capsys.readouterr().err
    assert main(["rotate", str(node), "session"]) == 2


def test_an_identity_that_is_not_there_is_named(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (node.parent / "state/consumer1").rmdir()
    assert main(["rotate", str(node), "receiving"]) == 2
    assert "There is no identity in" in capsys.readouterr().err
