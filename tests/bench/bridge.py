"""A whole bridge on three real clusters: a project with a sealing and an opening member, and their workers at will."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from confluent_kafka.admin import AdminClient
from kafka_cluster import KafkaCluster, start_together
from measure import Spent, cpu_seconds, peak_mb

from sealwire.app.config import require
from sealwire.app.up import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sealwire.agents.settings import Direction

PROJECT: Final = "bench"
CHANNEL: Final = "records"
SITES: Final[dict[Direction, str]] = {"seal": "berlin", "open": "lisbon"}
IDENTITIES: Final[dict[Direction, str]] = {"seal": "sealer", "open": "mirror"}
COMMAND_S: Final = 60.0
_MAX_BYTES: Final = 10 << 20
WAIT_S: Final = 60.0

_YAML: Final = """\
project: {project}
site: {site}
identity: {identity}
state: {state}
local: {{bootstrap: "{local}"}}
cloud: {{bootstrap: "{cloud}"}}
web_port: {port}
log_level: warning
mappings:
{mappings}
"""


class BenchFailed(Exception):
    """Something that is measured did not come up or did not come to its end; the text says what and its last words."""


@dataclass(frozen=True)
class State:
    """What a worker said at one moment, and what its process had used by then."""

    said: dict[str, Any]
    cpu_s: float
    at_s: float

    @property
    def records(self) -> int:
        """Records sealed or opened since the worker's start."""
        return int(self.said.get("counters", {}).get("records", 0))

    def settled(self, topic: str) -> int:
        """Source offsets of a topic that the other cluster has acknowledged, over all its partitions."""
        rows = [row for row in self.said.get("partitions", ()) if row["topic"] == topic]
        return sum(max(row.get("position") or row.get("cursor") or 0, 0) for row in rows)


class Worker:
    """A worker's process, started as `sealwire up` starts it."""

    def __init__(self, node: Path, direction: Direction, log: Path) -> None:
        self.direction = direction
        config = require(node)
        self.port = config.web_ports[direction]
        (worker,) = workers(config)
        self._log = log
        with log.open("wb") as output:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                list(worker.command),
                env=dict(worker.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)

    def __enter__(self) -> Self:
        """Give the worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def peak_mb(self) -> float:
        """The most memory that it has held."""
        return peak_mb(self.pid)

    def look(self) -> State | None:
        """Ask how far it is; None while it does not answer. Raises BenchFailed when it has ended."""
        if self._process.poll() is not None:
            message = f"the worker ended with {self._process.returncode}:\n{self.tail()}"
            raise BenchFailed(message)
        try:
            self._link.request("GET", "/status/")
            said = json.loads(self._link.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            self._link.close()
            return None
        return State(said, cpu_seconds(self.pid), time.monotonic())

    def wait(self, what: str, holds: Callable[[State], bool], every_s: float = 0.05, within_s: float = WAIT_S) -> State:
        """Ask until ``holds``; raises BenchFailed when that does not come about in time."""
        until = time.monotonic() + within_s
        state: State | None = None
        while time.monotonic() < until:
            state = self.look() or state
            if state is not None and holds(state):
                return state
            time.sleep(every_s)
        message = f"{what} did not come within {within_s:.0f} s: {state and state.said}\n{self.tail()}"
        raise BenchFailed(message)

    def moved(self, topic: str, count: int) -> Spent:
        """Follow it from a tenth of a topic to its acknowledged end."""
        begun = self.wait("the first tenth", lambda state: state.records >= count // 10, every_s=0.02)
        ended = self.wait("the end", lambda state: state.settled(topic) >= count)
        return Spent(count - begun.records, ended.cpu_s - begun.cpu_s, ended.at_s - begun.at_s, self.peak_mb)

    def tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        self._link.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Bridge:
    """Three clusters and a project; entered it stands, left it is gone."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.source, self.cloud, self.sink = KafkaCluster("source"), KafkaCluster("cloud"), KafkaCluster("sink")
        self._clusters = (self.source, self.cloud, self.sink)
        self.directory = Path(tempfile.mkdtemp(prefix="sealwire-bench-"))
        self._ports = {way: _free_port() for way in SITES}
        self._runs = 0
        self._delivery = "exactly-once"
        self._readers: tuple[str, ...] | None = None

    def __enter__(self) -> Self:
        """Start everything but the workers."""
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything and remove it."""
        for cluster in self._clusters:
            cluster.__exit__()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _begin(self) -> None:
        self._say("starting three Kafka clusters: source, cloud, sink")
        start_together(self._clusters)
        self._say("making a project with a sealing and an opening member")
        project, cloud = str(self.directory / "project"), ("--bootstrap", self.cloud.bootstrap)
        self._command("project", "create", PROJECT, "--directory", project)
        self._command("project", "cloud", "--directory", project, *cloud)
        authority = self._start("authority", "run", "--directory", project, *cloud)
        try:
            for way, site in SITES.items():
                ticket = self.directory / f"{site}.ticket"
                attributes = ("--attribute", "role=member", "--attribute", f"site={site}")
                ticket.write_bytes(self._command("ticket", "create", "--directory", project, *attributes))
                state = ("--state", str(self.directory / site))
                self._command("enroll", str(ticket), "--identity", IDENTITIES[way], *state, *cloud)
        finally:
            authority.terminate()
            authority.wait()
        self.make(["nothing.yet"], 1)
        for way in SITES:
            self._command("site", "init", str(self.node(way, ["nothing.yet"])))
        # A reader's receiving keys are published by its worker: once, so that there is somebody to seal for.
        with self.worker("open", ["nothing.yet"]) as mirror:
            mirror.wait("the mirror's start", lambda state: bool(state.said.get("ready")))
            until = time.monotonic() + WAIT_S
            while not self._receives(IDENTITIES["open"]):
                if time.monotonic() > until:
                    message = f"the mirror has announced no receiving keys:\n{mirror.tail()}"
                    raise BenchFailed(message)

    def make(
        self,
        topics: Sequence[str],
        partitions: int,
        clusters: Sequence[KafkaCluster] = (),
        max_bytes: Mapping[str, int] | None = None,
    ) -> None:
        """Make topics of these names at all three clusters, or at some, and wait for them.

        ``max_bytes`` is the largest batch that they take at a cluster, by its name.
        """
        for topic in topics:
            for cluster in clusters or self._clusters:
                name = cloud_topic(topic) if cluster is self.cloud else topic
                most = (max_bytes or {}).get(cluster.name, _MAX_BYTES)
                cluster.make_topic(name, partitions, max_message_bytes=str(most), file_delete_delay_ms="1000")

    def drop(self, topics: Sequence[str], clusters: Sequence[KafkaCluster] = ()) -> None:
        """Remove topics again, at all clusters or at some: the disk is not ours alone."""
        for cluster in clusters or self._clusters:
            names = [cloud_topic(topic) for topic in topics] if cluster is self.cloud else list(topics)
            admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
            for dropped in admin.delete_topics(names).values():
                with suppress(Exception):
                    dropped.result(10)

    def deliver(self, delivery: str) -> None:
        """Have mirrors started from now on deliver `exactly-once`, as by default, or `at-least-once`."""
        self._delivery = delivery

    def grant(self, readers: tuple[str, ...] | None) -> None:
        """Have sealers started from now on grant their sessions to these alone, or to all that the charter allows."""
        self._readers = readers

    def node(self, way: Direction, topics: Sequence[str]) -> Path:
        """Write the YAML of one site for these topics."""
        site = SITES[way]
        veto = "" if self._readers is None else f", readers: [{', '.join(self._readers)}]"
        lines = [
            f"  - {{channel: {CHANNEL}, seal: {topic}, to: {cloud_topic(topic)}, compress: none{veto}}}"
            if way == "seal"
            else f"  - {{channel: {CHANNEL}, open: {cloud_topic(topic)}, to: {topic}, delivery: {self._delivery}}}"
            for topic in topics
        ]
        local = self.source if way == "seal" else self.sink
        file = self.directory / f"{site}.yaml"
        file.write_text(
            _YAML.format(
                project=PROJECT,
                site=site,
                identity=IDENTITIES[way],
                state=self.directory / site,
                local=local.bootstrap,
                cloud=self.cloud.bootstrap,
                port=self._ports[way],
                mappings="\n".join(lines),
            ),
            encoding="utf-8",
        )
        return file

    def worker(self, way: Direction, topics: Sequence[str]) -> Worker:
        """Start the worker of one side for these topics."""
        self._runs += 1
        return Worker(self.node(way, topics), way, self.directory / f"{self._runs:03}-{way}.log")

    def stored(self, cluster: KafkaCluster, topic: str) -> int:
        """Return the bytes of a topic's log segments on the broker's disk."""
        segments = (cluster.directory / "data").glob(f"{topic}-[0-9]*/*.log")
        return sum(segment.stat().st_size for segment in segments)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "sealwire.app", *words], stderr=subprocess.DEVNULL)

    def _receives(self, name: str) -> bool:
        found = json.loads(self._command("members", str(self.node("seal", ["nothing.yet"])), "--json"))["members"]
        return any(each["name"] == name and each["keys_until_ms"] for each in found)

    def _command(self, *words: str) -> bytes:
        command = [sys.executable, "-m", "sealwire.app", *words]
        done = subprocess.run(command, capture_output=True, timeout=COMMAND_S, check=False)
        if done.returncode:
            message = f"sealwire {' '.join(words)} ended with {done.returncode}:\n{done.stderr.decode()}"
            raise BenchFailed(message)
        return done.stdout


def cloud_topic(topic: str) -> str:
    """Name the cloud topic that a topic is sealed into."""
    return f"{PROJECT}.{topic}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
