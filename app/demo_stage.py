"""The demo's stage: three brokers, a project with two members, and a worker at each site, in one directory."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in its __all__

from sealwire.app import status
from sealwire.app.config import require
from sealwire.app.demo_process import Child, DemoFailed, finish, stop_all
from sealwire.app.demo_records import PARTITIONS, TOPICS
from sealwire.app.embedded import BrokerFailed, EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

PROJECT: Final = "demo"
SEALER: Final = "sealer"
MIRROR: Final = "mirror"
SITES: Final = ("berlin", "lisbon")  # site A seals, site B opens
COMMAND_S: Final = 60.0
READY_S: Final = 90.0

_YAML: Final = """\
project: {project}
site: {site}
identity: {identity}
state: {state}
local: {{bootstrap: "{local}", broker: embedded}}
cloud: {{bootstrap: "{cloud}", broker: embedded}}
web_port: {port}
mappings:
{mappings}
"""


def cloud_topic(topic: str) -> str:
    """Name the cloud topic that a local topic of the demo is sealed into."""
    return f"{PROJECT}.{topic}"


@dataclass
class Stage:
    """Everything that the demo starts. `step` shows what is being done; leaving the block ends and removes it all."""

    step: Callable[[str], AbstractContextManager[None]]
    keep: Path | None = None
    source: EmbeddedBroker = field(init=False)
    cloud: EmbeddedBroker = field(init=False)
    sink: EmbeddedBroker = field(init=False)
    directory: Path = field(init=False)
    workers: list[Child] = field(default_factory=list, init=False)
    _children: list[Child] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        """Make the directory; nothing is started yet."""
        if self.keep is not None:
            self.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory = Path(tempfile.mkdtemp(prefix="demo-", dir=self.keep)).absolute()
        else:
            self.directory = Path(tempfile.mkdtemp(prefix="sealwire-demo-"))
        names = (
            f"the broker of site {SITES[0]}",
            "the broker of the cloud",
            f"the broker of site {SITES[1]}",
        )
        logs = (self.directory / f"broker-{name}.log" for name in (SITES[0], "cloud", SITES[1]))
        self.source, self.cloud, self.sink = (
            EmbeddedBroker(name, log=log) for name, log in zip(names, logs, strict=True)
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End every process, workers before the brokers they speak to, and remove the directory unless it is kept."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)  # asked twice it would end in the middle; this takes seconds at most
        stop_all(self._children)
        for broker in (self.source, self.cloud, self.sink):
            broker.stop()
        if self.keep is None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def build(self) -> None:
        """Bring everything up to two workers that are ready. Raises DemoFailed, BrokerMissing."""
        with self.step("three embedded brokers: site A, the cloud, site B"):
            self._start_brokers()
        with self.step(f"sealwire project create {PROJECT}"):
            self._run(self._command("project", "create", PROJECT, "--directory", self._project))
            self._make_topics()
        with self.step(f"sealwire project cloud --bootstrap {self.cloud.bootstrap}"):
            self._run(
                self._command(
                    "project",
                    "cloud",
                    "--directory",
                    self._project,
                    *self._cloud_options,
                ),
            )
        with self.step(
            f"sealwire ticket create --attribute role=member --attribute site={SITES[0]}   (and {SITES[1]})"
        ):
            self._start(
                self._command(
                    "authority",
                    "run",
                    "--directory",
                    self._project,
                    *self._cloud_options,
                )
            )
            self._run(*(self._ticket(site) for site in SITES))
        with self.step(f"sealwire enroll {SEALER}.ticket --identity {SEALER}   (and {MIRROR}; answered over Kafka)"):
            self._write_yaml()
            # Neither needs the other's: what only wants brokers is made while the authority answers.
            self._run(
                *(self._enroll(site, name) for site, name in zip(SITES, (SEALER, MIRROR), strict=True)),
                self._command("topics", "apply", "--yes", self._node(SITES[0])),
                self._command("site", "init", self._node(SITES[0])),
            )
        with self.step(f"sealwire topics apply, sealwire site init {SITES[0]}.yaml   (and {SITES[1]}.yaml)"):
            self._run(self._command("site", "init", self._node(SITES[1])))
        with self.step(f"sealwire up {SITES[0]}.yaml   (and {SITES[1]}.yaml: a Faust worker each)"):
            self.workers = [self._start(self._command("up", self._node(site))) for site in SITES]
            self._await_workers()

    def check(self) -> None:
        """Raise DemoFailed if any process has ended."""
        for child in self._children:
            child.check()
        for broker in (self.source, self.cloud, self.sink):
            if not broker.alive:
                raise DemoFailed(broker.name, "ended", broker.tail())

    @property
    def reader_state(self) -> Path:
        """Where the mirror's identity lives."""
        return self.directory / SITES[1]

    @property
    def _project(self) -> str:
        return str(self.directory / "project")

    @property
    def _cloud_options(self) -> tuple[str, ...]:
        return ("--bootstrap", self.cloud.bootstrap, "--embedded")

    def _node(self, site: str) -> str:
        return str(self.directory / f"{site}.yaml")

    def _start_brokers(self) -> None:
        brokers = (self.source, self.cloud, self.sink)
        try:
            for broker in brokers:
                broker.launch()
            for broker in brokers:
                broker.wait_ready()
        except BrokerFailed as failed:
            words, *tail = str(failed).splitlines()
            raise DemoFailed("an embedded broker:", words, tail) from None

    def _make_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.source.bootstrap, "log_level": 0})
        try:
            for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in TOPICS]).values():
                made.result(COMMAND_S)
        except (KafkaException, TimeoutError) as error:
            raise DemoFailed(self.source.name, f"made no topics: {error}", self.source.tail()) from None

    def _command(self, *words: str) -> Child:
        number = len(list(self.directory.glob("*.log")))
        log = self.directory / f"{number:02d}-{words[0]}-{words[1] if words[1].isalpha() else Path(words[1]).stem}.log"
        log.touch()
        name = " ".join(word for word in ("sealwire", *words[:2]) if "/" not in word)
        if words[0] == "up":
            name = f"the worker of site {Path(words[1]).stem}"
        return Child(name, (sys.executable, "-m", "sealwire.app", *words), log)

    def _ticket(self, site: str) -> Child:
        attributes = ("--attribute", "role=member", "--attribute", f"site={site}")
        child = self._command("ticket", "create", "--directory", self._project, *attributes)
        child.output = self.directory / f"{site}.ticket"
        return child

    def _enroll(self, site: str, identity: str) -> Child:
        ticket, state = (
            str(self.directory / f"{site}.ticket"),
            str(self.directory / site),
        )
        child = self._command(
            "enroll",
            ticket,
            "--identity",
            identity,
            "--state",
            state,
            *self._cloud_options,
        )
        child.name = f"sealwire enroll of {identity}"
        return child

    def _start(self, child: Child) -> Child:
        self._children.append(child)  # before it runs: an interruption in between must find it
        child.start()
        return child

    def _run(self, *children: Child) -> None:
        # They end by themselves, but stand among the others until then: Ctrl-C must end them as well.
        for child in children:
            self._start(child)
        finish(children, COMMAND_S)
        for child in children:
            self._children.remove(child)

    def _write_yaml(self) -> None:
        seal = [f"  - {{channel: {topic}, seal: {topic}, to: {cloud_topic(topic)}}}" for topic in TOPICS]
        opens = [f"  - {{channel: {topic}, open: {cloud_topic(topic)}, to: {topic}}}" for topic in TOPICS]
        for site, identity, broker, mappings in (
            (SITES[0], SEALER, self.source, seal),
            (SITES[1], MIRROR, self.sink, opens),
        ):
            text = _YAML.format(
                project=PROJECT,
                site=site,
                identity=identity,
                state=self.directory / site,
                local=broker.bootstrap,
                cloud=self.cloud.bootstrap,
                port=_free_port(),
                mappings="\n".join(mappings),
            )
            Path(self._node(site)).write_text(text)

    def _await_workers(self) -> None:
        until = time.monotonic() + READY_S
        for site, worker in zip(SITES, self.workers, strict=True):
            node = require(Path(self._node(site)))
            while True:
                self.check()
                (word,) = status.ask(node)
                if word.answers and (word.snapshot or {}).get("ready"):
                    break
                if time.monotonic() > until:
                    why = (word.snapshot or {}).get("why") if word.answers else "it does not answer"
                    raise DemoFailed(
                        worker.name,
                        f"was not ready within {READY_S:.0f} s: {why}",
                        worker.tail(),
                    )
                time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
