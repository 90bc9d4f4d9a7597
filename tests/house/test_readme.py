"""The README is run: its walk line by line on embedded brokers, and every other command by the test that it names."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.app.embedded import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MARKED = re.compile(
    r"(?:<!-- (?P<what>run|walk): (?P<which>\S+) -->\n)?```(?P<language>sh|yaml)\n(?P<body>.*?)```", re.DOTALL
)
TEST_ID = re.compile(r"tests/[a-z_]+/(?:test_)?[a-z_]+\.py(?:::test_[a-z0-9_]+)?")
LINKS = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


NEW_TOPIC_WITHIN = 30.0  # seconds, on the embedded broker


class Block(NamedTuple):
    what: str
    which: str
    language: str
    body: str


BLOCKS = [Block(*match.group("what", "which", "language", "body")) for match in MARKED.finditer(README)]
WALK = {block.which: block.body for block in BLOCKS if block.what == "walk"}


def test_every_command_is_run_by_the_walk_or_names_its_test() -> None:
    assert [block.body for block in BLOCKS if block.language == "sh" and not block.what] == []
    assert README.count("```sh") == sum(block.language == "sh" for block in BLOCKS)


@pytest.mark.parametrize("named", sorted(set(TEST_ID.findall(README))))
def test_every_test_that_the_readme_names_is_there(named: str) -> None:
    file, _, function = named.partition("::")
    assert (ROOT / file).is_file()
    assert not function or f"def {function}(" in (ROOT / file).read_text()


def test_every_promise_names_its_test_or_says_not_yet() -> None:
    table = README.split("| promise |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) >= 9
    assert [row for row in table if not TEST_ID.search(row) and "**not yet**" not in row] == []


@pytest.mark.parametrize("text", ["README.md", "agents/PROTOCOL.md", "keys/FORMAT.md"])
def test_every_link_leads_somewhere(text: str) -> None:
    path = ROOT / text
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    assert [link for link in LINKS.findall(prose) if not (path.parent / link).exists()] == []


class Site:
    """A directory and a shell in which the README's lines are typed, for three brokers of our own."""

    def __init__(self, directory: Path, source: EmbeddedBroker, cloud: EmbeddedBroker, sink: EmbeddedBroker) -> None:
        self.directory = directory
        self.addresses = {"berlin": source.bootstrap, "lisbon": sink.bootstrap, "admin": "", "watch": source.bootstrap}
        self.cloud = cloud.bootstrap
        self.background: list[subprocess.Popen[bytes]] = []

    def ours(self, text: str, local: str) -> str:
        for theirs, mine in (
            ("localhost:9092", local),
            ("cloud.example:9092", self.cloud),
            ("--kafka-config kafka.config", "--embedded"),
            ("kafka_config: kafka.config", "broker: embedded"),
            ("broker: kafka", "broker: embedded"),
        ):
            text = text.replace(theirs, mine)
        return text

    def type_lines(self, part: str) -> None:
        for line in self.ours(WALK[part], self.addresses[part]).splitlines():
            if line.endswith("&"):
                self.background.append(self._begin(line.removesuffix("&")))
            else:
                self.type_line(line)

    def type_line(self, line: str) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            line,
            shell=True,
            cwd=self.directory,
            env=self._environment,
            input="y\n",
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}{self._logs()}"
        return ended

    def _begin(self, line: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{len(self.background)}.log").open("wb") as log:
            return subprocess.Popen(
                f"exec {line}",
                shell=True,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "HOME": str(self.directory),
            "SEALWIRE_STATE": str(self.directory / "state"),
        }

    def _logs(self) -> str:
        return "".join(f"\n--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.directory.glob("*.log")))

    def end(self) -> None:
        for process in self.background:
            process.send_signal(signal.SIGTERM)
        for process in self.background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with EmbeddedBroker() as source, EmbeddedBroker() as cloud, EmbeddedBroker() as sink:
        made = Site(tmp_path, source, cloud, sink)
        try:
            yield made
        finally:
            made.end()


def test_the_walk_through_two_sites_delivers_a_record(site: Site) -> None:
    source, sink = site.addresses["berlin"], site.addresses["lisbon"]
    admin = AdminClient({"bootstrap.servers": source})
    admin.create_topics([NewTopic("orders", 3, 1)])["orders"].result(10)
    for name in ("berlin", "lisbon"):
        (site.directory / f"{name}.yaml").write_text(site.ours(WALK[f"{name}.yaml"], site.addresses[name]))
    for part in ("admin", "berlin", "lisbon"):
        site.type_lines(part)

    produce, consume, status, inspect = site.ours(WALK["watch"], source).splitlines()
    spoken = re.search(r"echo '([^']+)'", produce)
    assert spoken is not None
    assert "console-consumer" in consume
    producer = Producer({"bootstrap.servers": source, "log_level": 0})
    producer.produce("orders", spoken[1].encode())
    assert producer.flush(10) == 0

    assert _first_value(sink, "orders") == spoken[1].encode(), site._logs()
    shown = site.type_line(status).stdout
    assert "producer1" in shown
    assert "ready" in shown
    dump = site.type_line(
        re.sub("--topic acme.orders", f"--topic acme.orders --partition {_where(site)}", inspect)
    ).stdout
    assert "session id" in dump
    assert spoken[1] not in dump

    create, apply = site.ours(WALK["more"], source).splitlines()
    made = re.search(r"--topic (\S+) --partitions (\d)", create)
    assert made is not None
    admin.create_topics([NewTopic(made[1], int(made[2]), 1)])[made[1]].result(10)
    site.type_line(apply)
    producer.produce(made[1], b"a topic made while workers run")
    assert producer.flush(10) == 0
    assert _first_value(sink, made[1], NEW_TOPIC_WITHIN) == b"a topic made while workers run", site._logs()


def _first_value(bootstrap: str, topic: str, deadline_s: float = 60.0) -> bytes | None:
    consumer = _reader(bootstrap, topic)
    until = time.monotonic() + deadline_s
    try:
        while time.monotonic() < until:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                return bytes(message.value())
    finally:
        consumer.close()
    return None


def _where(site: Site) -> int:
    consumer = _reader(site.cloud, "acme.orders")
    try:
        while True:
            message = consumer.poll(10)
            assert message is not None
            if message.error() is None:
                return int(message.partition())
    finally:
        consumer.close()


def _reader(bootstrap: str, topic: str) -> Consumer:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody", "log_level": 0})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(3)])
    return consumer
