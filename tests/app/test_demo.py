"""The demo's own promises: its verdict tells the truth, and nothing of it outlives it."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.app import demo_records
from sealwire.app.demo_check import Verdict, compare, read_log
from sealwire.app.demo_process import Child, DemoFailed, finish, stop_all
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.faults import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B, C, D = (bytes([number]) * 16 for number in range(4))
HERE, THERE = ("poems", 0), ("poems", 1)
DEMO = (sys.executable, "-m", "sealwire.app", "demo")


def test_equal_sites_have_nothing_lost_duplicated_or_altered() -> None:
    logs = {HERE: [A, B], THERE: [C]}
    verdict = compare(logs, logs, 3)
    assert str(verdict) == "demo: sealed=3 delivered=3 lost=0 duplicated=0 altered=0"
    assert verdict.good


@pytest.mark.parametrize(
    ("came", "counts"),
    [
        pytest.param({HERE: [A, B]}, (1, 0, 0), id="a record that is missing is lost"),
        pytest.param({}, (3, 0, 0), id="an empty site lost all"),
        pytest.param({HERE: [A, B, B, C]}, (0, 1, 0), id="a record that stands twice is duplicated"),
        pytest.param({HERE: [A, D, C]}, (0, 0, 1), id="a record with other bytes is altered, not lost"),
        pytest.param({HERE: [A, B, C, D]}, (0, 0, 1), id="a record that nobody sent is altered"),
        pytest.param({HERE: [A, C, B]}, (0, 0, 2), id="records out of order are altered"),
        pytest.param({HERE: [A, B], THERE: [C]}, (1, 0, 1), id="a record in another partition is lost and altered"),
        pytest.param({HERE: [A, A, C]}, (1, 1, 0), id="a duplicate hides no loss"),
    ],
)
def test_the_verdict_names_what_became_of_each_record(
    came: dict[tuple[str, int], list[bytes]], counts: tuple[int, int, int]
) -> None:
    verdict = compare({HERE: [A, B, C]}, came, 3)
    assert (verdict.lost, verdict.duplicated, verdict.altered) == counts
    assert not verdict.good


def test_the_independent_reader_sees_key_value_headers_and_timestamp() -> None:
    base = {"key": b"k", "value": b"v", "headers": [("h", b"1"), ("h", None)], "timestamp": 1_000}
    changes: list[dict[str, object]] = [
        {},
        {"key": None},
        {"value": None},
        {"value": b""},
        {"headers": [("h", None), ("h", b"1")]},
        {"headers": [("h", b"1")]},
        {"timestamp": 1_001},
    ]
    with EmbeddedBroker() as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("poems", 2, 1)])["poems"].result(10)
        producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        for change in [*changes, {}]:
            producer.produce("poems", partition=1, **{**base, **change})
        producer.flush(10)
        log = read_log(broker.bootstrap, ["poems"], 2, "the reader")
    digests = log["poems", 1]
    assert len(set(digests[:-1])) == len(changes)
    assert digests[-1] == digests[0]
    assert ("poems", 0) not in log


def test_no_two_lines_of_a_script_are_equal_and_both_topics_are_used() -> None:
    lines = list(demo_records.script(None, 2_000).lines())
    assert len({(line.record_key, line.value) for line in lines}) == 2_000
    assert {line.topic for line in lines} == set(demo_records.TOPICS)
    assert all(line.headers and line.timestamp for line in lines)


def test_a_file_is_sent_once_line_by_line_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_bytes("first\n\n\xff\tthird \r\nlast".encode("latin-1"))
    script = demo_records.script(file, None)
    assert script.count == 4
    assert [line.value for line in script.lines()] == [b"first", b"", b"\xff\tthird ", b"last"]
    assert [line.value for line in demo_records.script(file, 6).lines()][4:] == [b"first", b""]


def test_a_file_without_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(Failure, match="no lines"):
        demo_records.script(tmp_path / "empty", None)


def test_a_script_gives_the_same_lines_each_time() -> None:
    script = demo_records.script(None, 300)
    assert list(script.lines()) == list(script.lines())
    assert list(itertools.islice(script.lines(), 1)) == [next(script.lines())]


def test_the_demo_delivers_every_record_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*DEMO, "--records", "300"], capture_output=True, text=True, timeout=120, check=False, env=_temporary(tmp_path)
    )
    assert ended.stdout.splitlines()[-1] == str(Verdict(300, 300, 0, 0, 0)), ended.stdout + ended.stderr
    assert ended.returncode == 0
    for heading in ("produced at site A", "stored in the cloud", "delivered at site B"):
        assert heading in ended.stdout
    assert list(tmp_path.glob("sealwire-demo-*")) == []


def test_what_is_kept_is_project_identities_yaml_and_logs(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\nthree\nfour\n")
    ended = subprocess.run(
        [*DEMO, "--exit", "--input", tmp_path / "lines", "--keep", tmp_path / "kept"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout.splitlines()[-1] == str(Verdict(4, 4, 0, 0, 0)), ended.stdout + ended.stderr
    (kept,) = (tmp_path / "kept").iterdir()
    assert {"project", "berlin.yaml", "lisbon.yaml", "berlin", "lisbon"} <= {path.name for path in kept.iterdir()}


@pytest.mark.parametrize(
    ("number", "when", "processes"),
    [
        # three brokers, the authority, two supervisors and a worker or two
        pytest.param(signal.SIGINT, b"delivered at site B", 7, id="Ctrl-C while records flow"),
        pytest.param(signal.SIGTERM, b"sealwire ticket create", 3, id="SIGTERM while identities are enrolled"),
    ],
)
def test_a_demo_that_is_stopped_ends_every_process_it_began(
    tmp_path: Path, number: signal.Signals, when: bytes, processes: int
) -> None:
    demo = subprocess.Popen(
        [*DEMO, "--records", "1000000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_temporary(tmp_path)
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if when in line:
            break
    begun = _descendants(demo.pid)
    assert len(begun) >= processes
    demo.send_signal(number)
    demo.stdout.read()
    assert demo.wait(30) == 130
    demo.stdout.close()
    assert [pid for pid in begun if _runs(pid)] == []
    assert list(tmp_path.glob("sealwire-demo-*")) == []


def test_a_killed_demo_takes_its_processes_with_it(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*DEMO, "--records", "1000000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_temporary(tmp_path)
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if b"delivered at site B" in line:
            break
    begun = _descendants(demo.pid)
    demo.kill()
    demo.wait()
    demo.stdout.close()
    until = time.monotonic() + 60  # without brokers a worker stops slowly: its supervisor kills it after 30 s
    while any(map(_runs, begun)) and time.monotonic() < until:
        time.sleep(0.05)
    assert [pid for pid in begun if _runs(pid)] == []


def test_a_broker_that_does_not_come_up_is_named_with_its_last_lines(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no room in the inn\nexit 3\n")
    broken.chmod(0o755)
    ended = subprocess.run(
        DEMO, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "CALF_TANSU_BIN": str(broken)}
    )
    assert ended.returncode == 1
    assert re.search(r"the broker of site berlin ended while starting\s+no room in the inn", ended.stdout)
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_typed_line_is_followed_and_counted_at_the_end(tmp_path: Path) -> None:
    demo, terminal = _on_a_terminal([*DEMO, "--records", "4"], _temporary(tmp_path))
    _until(terminal, b"Ctrl-D ends.")
    _until(terminal, b"> ")
    os.write(terminal, b"hello from here\n")
    assert b"hello from here" in _until(terminal, b"delivered at site B")
    _until(terminal, b"> ")
    os.write(terminal, b"\x04")
    assert str(Verdict(5, 5, 0, 0, 0)).encode() in _until(terminal, b"altered=0")
    assert demo.wait(30) == 0
    os.close(terminal)


def test_a_command_that_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    child = Child("sealwire enroll", ("/bin/sh", "-c", "echo no such ticket >&2; exit 3"), tmp_path / "log")
    child.start()
    with pytest.raises(DemoFailed, match="sealwire enroll failed with exit code 3") as failed:
        finish([child], 10)
    assert failed.value.tail == ["no such ticket"]


def test_a_command_that_takes_too_long_is_named_and_ended(tmp_path: Path) -> None:
    child = Child("sealwire enroll", ("/bin/sh", "-c", "trap '' TERM; echo waiting; sleep 60 & wait"), tmp_path / "log")
    child.start()
    with pytest.raises(DemoFailed, match="did not finish within 0 s"):
        finish([child], 0.2)
    stop_all([child], patience_s=0.1)
    assert child.exit_code is not None


def test_a_missing_input_file_is_a_usage_error() -> None:
    ended = subprocess.run([*DEMO, "--input", "/nowhere/at/all"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "/nowhere/at/all" in ended.stderr


def _on_a_terminal(argv: Sequence[str], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    demo = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "dumb"})
    os.close(theirs)
    return demo, ours


def _until(terminal: int, words: bytes, deadline_s: float = 90.0) -> bytes:
    shown, until = b"", time.monotonic() + deadline_s
    while words not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        assert ready, shown.decode(errors="replace")
        shown += os.read(terminal, 1)  # what comes after the words is for the next one who asks
    return shown


def _temporary(directory: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(directory)}


def _descendants(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                begun = [int(word) for word in children.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue  # that thread has just ended
            found += begun
            waiting += begun
    return found


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
