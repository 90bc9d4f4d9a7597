"""Apache Kafka on this machine: clusters of one process each, and the Java tools that come with it.

Run by hand it starts clusters, prints the bootstrap of each on a line of its own and stays until Ctrl-C:
``python tests/integration/kafka_cluster.py --clusters 3``.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from kafka_secured import Secured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE: Final = Path(__file__).resolve().parent
BUILD: Final = HERE.parents[1] / "build"
LIBS: Final = BUILD / "kafka-libs"
UP_WITHIN: Final = 180.0  # seconds, also on a machine with much other work
TOOL_WITHIN: Final = 60.0

STORAGE: Final = "kafka.tools.StorageTool"
BROKER: Final = "kafka.Kafka"
PRODUCER: Final = "org.apache.kafka.tools.ConsoleProducer"
CONSUMER: Final = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GROUPS: Final = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
TOPICS: Final = "org.apache.kafka.tools.TopicCommand"
CONFIGS: Final = "kafka.admin.ConfigCommand"

_LOG: Final = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
_QUICK_JVM: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_PR_SET_PDEATHSIG: Final = 1


def libraries() -> Path:
    """The folder of Kafka's jars; Maven brings what tests/integration/pom.xml names where they are not there yet."""
    pom, stamp = HERE / "pom.xml", LIBS / ".brought"
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "kafka-libs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests and bench may come at once
        if not stamp.exists() or stamp.stat().st_mtime < pom.stat().st_mtime:
            shutil.rmtree(LIBS, ignore_errors=True)
            goal = ("dependency:copy-dependencies", f"-DoutputDirectory={LIBS}")
            subprocess.run(["mvn", "-B", "-q", "-f", str(pom), *goal], check=True, stdin=subprocess.DEVNULL)
            stamp.touch()
    return LIBS


def free_port() -> int:
    """A port that nobody listens on now, and that the system gives to no client: a restart finds it free again."""
    while True:
        port = random.randrange(20_000, 30_000)  # noqa: S311
        with suppress(OSError), closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _java(main: str, *arguments: str, memory: str = "256m", flags: Sequence[str] = _QUICK_JVM) -> list[str]:
    return ["java", f"-Xmx{memory}", *flags, *_LOG, "-cp", f"{libraries()}/*", main, *arguments]


_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class KafkaCluster:
    """One broker that is its own controller (KRaft), on ports and a directory of its own; a context manager.

    Start it from a thread that lives as long as it should: Linux ends a child with the thread that made it.
    ``configuration`` is added to the broker's own, e.g. ``{"message.max.bytes": "1000"}``. With ``secured`` it listens
    on two more ports, where rights count: see kafka_secured.
    """

    def __init__(
        self,
        name: str,
        configuration: Mapping[str, str] | None = None,
        *,
        memory: str = "512m",
        directory: Path | None = None,
        secured: bool = False,
    ) -> None:
        self.name = name
        self.port, self._controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.cluster_id = uuid.uuid4().hex[:22]
        self._made_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"kafka-{name}-"))
        self.log_file = BUILD / "logs" / f"kafka-{name}-{self.port}.log"
        self._memory = memory
        self._configuration = dict(configuration or {})
        self._secured = Secured(name, self.directory, (free_port(), free_port())) if secured else None
        self._formatted = False
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._made_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start it, on what its directory holds; it answers when this returns."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it, without waiting; formats the directory the first time."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        properties = self.directory / "server.properties"
        if not properties.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            if self._secured is not None:
                self._secured.write()
            properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        # Formatting starts a Java too: in the child, so that several clusters format side by side.
        formatting = _java(STORAGE, "format", "-t", self.cluster_id, "-c", str(properties), "--ignore-formatted")
        broker = _java(BROKER, str(properties), memory=self._memory, flags=("-XX:+UseSerialGC", "-Xshare:auto"))
        script = f"{'' if self._formatted else f'{shlex.join(formatting)} && '}exec {shlex.join(broker)}"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C on the terminal is ours to pass on
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - only a prctl through an already loaded libc
            )

    def wait(self) -> None:
        """Wait until it has answered with its metadata."""
        deadline = time.monotonic() + UP_WITHIN
        while not self.answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka {self.name} does not answer:\n{self.log_file.read_text()[-2000:]}")

    def answers(self, within: float = 1.0) -> bool:
        """Whether it gives its metadata within so many seconds; an error where its process has ended."""
        from confluent_kafka import KafkaException  # noqa: PLC0415 - starting Kafka by hand needs no client
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        assert self.process is not None
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 250})
        with suppress(KafkaException):
            if admin.list_topics(timeout=within).brokers:
                self._formatted = True
                return True
        if self.process.poll() is not None:
            raise RuntimeError(f"Kafka {self.name} ended:\n{self.log_file.read_text()[-2000:]}")
        return False

    def stop(self) -> None:
        """Stop it in good order; its directory stays, and start() goes on from there."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut would but for the disk."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End it in good order if it runs, and start it again on the same port and data."""
        self.stop()
        self.start()

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def secured(self) -> Secured:
        """Its listeners where rights count; an assertion where it was made without."""
        assert self._secured is not None, f"Kafka {self.name} has no secured listeners"
        return self._secured

    def _settings(self) -> dict[str, str]:
        secured = self._secured.settings() if self._secured is not None else {}
        doors = [f"PLAINTEXT://{self.bootstrap}", *(self._secured.listeners if self._secured is not None else ())]
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": ",".join([*doors, f"CONTROLLER://127.0.0.1:{self._controller}"]),
            "advertised.listeners": ",".join(doors),
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "log.dirs": str(self.directory / "data"),
            "num.partitions": "1",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "message.max.bytes": str(16 << 20),
            "replica.fetch.max.bytes": str(16 << 20),
            "log.segment.bytes": str(256 << 20),
            "log.cleaner.backoff.ms": "250",  # compacted topics are waited for
            "log.retention.ms": "-1",  # records that say they are of 1970 stay
            "controlled.shutdown.enable": "false",
            "broker.session.timeout.ms": "3000",  # after a kill it may register again only when this is over
            "broker.heartbeat.interval.ms": "500",
            **secured,
            **self._configuration,
        }

    # Java's own tools, each a process that is waited for (but the consumer that follows).

    def topics(self, *arguments: str) -> str:
        """Run kafka-topics; what it printed."""
        return self._tool(TOPICS, *arguments)

    def groups(self, *arguments: str) -> str:
        """Run kafka-consumer-groups; what it printed."""
        return self._tool(GROUPS, *arguments)

    def configs(self, *arguments: str) -> str:
        """Run kafka-configs; what it printed."""
        return self._tool(CONFIGS, *arguments)

    def make_topic(self, topic: str, partitions: int = 1, **settings: str) -> None:
        """Make a topic; settings with _ for the dots of their names. Takes no Java's start."""
        from confluent_kafka.admin import AdminClient, NewTopic  # noqa: PLC0415

        config = {name.replace("_", "."): value for name, value in settings.items()}
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        (made,) = admin.create_topics([NewTopic(topic, partitions, -1, config=config)]).values()
        made.result(30)
        while len(admin.list_topics(topic, timeout=10).topics[topic].partitions) < partitions:
            time.sleep(0.02)

    def produce(self, topic: str, lines: Sequence[str], *, properties: Mapping[str, str] | None = None) -> None:
        """Produce lines with Java's console producer; ``properties`` are those of its line reader."""
        arguments = ["--topic", topic]
        for name, value in (properties or {}).items():
            arguments += ["--reader-property", f"{name}={value}"]
        self._tool(PRODUCER, *arguments, feed="".join(line + "\n" for line in lines))

    def consume(
        self,
        topic: str,
        count: int,
        *,
        properties: Mapping[str, str] | None = None,
        committed: bool = False,
        within: float = TOOL_WITHIN,
    ) -> list[str]:
        """Read the first ``count`` records of a topic with Java's console consumer, as lines; fewer when time is up."""
        arguments = ["--topic", topic, "--from-beginning", "--max-messages", str(count)]
        arguments += ["--timeout-ms", str(int(within * 1000))]
        if committed:
            arguments += ["--isolation-level", "read_committed"]
        for name, value in (properties or {}).items():
            arguments += ["--formatter-property", f"{name}={value}"]
        printed = self._tool(CONSUMER, *arguments, within=within + TOOL_WITHIN, check=False)
        return printed.splitlines()

    def _tool(self, main: str, *arguments: str, feed: str = "", within: float = TOOL_WITHIN, check: bool = True) -> str:
        done = subprocess.run(
            _java(main, "--bootstrap-server", self.bootstrap, *arguments),
            input=feed,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{main} {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


def start_together(clusters: Sequence[KafkaCluster]) -> None:
    """Start several, each while the others come up."""
    for cluster in clusters:
        cluster.begin()
    for cluster in clusters:
        cluster.wait()


def main(out: IO[str] = sys.stdout) -> int:
    """Start clusters and stay up until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--memory", default="512m", help="each one's heap (default: 512m)")
    asked = parser.parse_args()
    names = ["source", "cloud", "sink", *(f"cluster{n}" for n in range(4, asked.clusters + 1))][: asked.clusters]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        clusters = [KafkaCluster(name, memory=asked.memory) for name in names]
        for cluster in clusters:
            stack.callback(cluster.__exit__)
        start_together(clusters)
        for cluster in clusters:
            print(cluster.bootstrap, file=out, flush=True)
        while True:  # in short sleeps: a signal that comes just before one is looked at after it
            time.sleep(0.5)


if __name__ == "__main__":
    raise SystemExit(main())
