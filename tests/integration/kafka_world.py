"""A project on real clusters, made as an operator makes it: by the command line, each command a process."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kafka_cluster import KafkaCluster, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# Seconds. Of two machines one is three times as slow; a deadline costs nothing where all is well.
COMMAND_WITHIN: Final = 120.0
WITHIN: Final = 150.0
LANES: Final = 16
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


def await_(what: Callable[[], Any], words: str, within: float = WITHIN, every: float = 0.1) -> Any:  # noqa: ANN401
    """Wait until `what` gives something true, and give that; an assertion with `words` when time is up."""
    until = time.monotonic() + within
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < until, f"not within {within:.0f} s: {words}; last seen: {found!r}"
        time.sleep(every)


def _with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def environment() -> dict[str, str]:
    """What every command runs under: nothing of the caller's own settings of the bridge."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SEALWIRE")},
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def sealwire(*words: str | Path, within: float = COMMAND_WITHIN, code: int = 0) -> str:
    """Run a command of the bridge to its end; gives its standard output, and what it said of what was wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "sealwire.app", *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
        env=environment(),
    )
    assert done.returncode == code, (
        f"sealwire {' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout if code == 0 else done.stdout + done.stderr


@dataclass
class Running:
    """A command that goes on until it is told to stop. Its output is in `log`."""

    words: Sequence[str | Path]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Running:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sealwire.app", *map(str, self.words)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
                preexec_fn=_with_parent,  # noqa: PLW1509
            )
        return self

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, within: float = 30.0) -> tuple[int, float]:
        """Send SIGTERM and wait; gives the exit code and the seconds it took. Killed, and an assertion, when late."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"{self.words} did not stop within {within} s:\n{self.text[-3000:]}") from None
        return code, time.monotonic() - begun

    def end(self) -> None:
        """End it whatever it does, with its children (they get SIGTERM from the kernel, then take some seconds)."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass
class Node:
    """A YAML of one site with one worker, and `sealwire up` of it."""

    file: Path
    direction: str
    identity: str
    port: int
    up: Running

    def start(self, *, ready: bool = True) -> Node:
        self.up.start()
        if ready:
            self.await_ready()
        return self

    def await_ready(self, within: float = WITHIN) -> None:
        until = time.monotonic() + within
        while not self.status.get("ready"):
            assert time.monotonic() < until, f"{self.identity} is not ready: {self.status}\n{self.up.text[-3000:]}"
            time.sleep(0.1)

    @property
    def status(self) -> dict[str, Any]:
        """What the worker says at its port now; {} where nothing answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3)
        with suppress(OSError, http.client.HTTPException, ValueError):
            connection.request("GET", "/status/")
            answer = connection.getresponse()
            found = json.loads(answer.read()) if answer.status == http.client.OK else {}
            return found if found.get("identity", self.identity) == self.identity else {}
        return {}

    def rows(self, topic: str) -> dict[int, dict[str, Any]]:
        """The source partitions of a topic as the worker's status has them."""
        return {row["partition"]: row for row in self.status.get("partitions", ()) if row["topic"] == topic}

    def channel(self, name: str) -> dict[str, Any]:
        return next((each for each in self.status.get("channels", ()) if each["channel"] == name), {})

    @property
    def pid(self) -> int:
        """The worker's process id, as `sealwire up` told it last."""
        return int(re.findall(r"worker started.*?pid=(\d+)", self.up.text)[-1])

    def kill_worker(self) -> int:
        """Kill the worker, not its keeper (kill -9)."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def said(self, words: str) -> int:
        """How many lines of the log hold these words."""
        return sum(words in line for line in self.up.text.splitlines())


@dataclass
class World:
    """A project, its authority, and sites around three clusters. Everything started here ends with `close`.

    `ways` has other addresses than the clusters' own for workers of a direction: of ("seal", "cloud"), for one.
    """

    project: str
    directory: Path
    source: KafkaCluster
    cloud: KafkaCluster
    sink: KafkaCluster
    running: list[Running] = field(default_factory=list)
    ways: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def found(self) -> World:
        """Make the project and let its authority run."""
        self.directory.mkdir(parents=True, exist_ok=True)
        sealwire("project", "create", self.project, "--directory", self._home)
        sealwire("project", "cloud", "--directory", self._home, "--bootstrap", self.cloud.bootstrap)
        words = ("authority", "run", "--directory", self._home, "--bootstrap", self.cloud.bootstrap)
        self._run("authority", *words)
        return self

    def ticket(self, site: str, name: str) -> Path:
        file = self.directory / f"{name}.ticket"
        attributes = ("--attribute", "role=member", "--attribute", f"site={site}")
        file.write_text(sealwire("ticket", "create", "--directory", self._home, *attributes))
        return file

    def admit(self, site: str, name: str) -> None:
        """Spend a ticket for an identity, over Kafka."""
        ticket = self.ticket(site, name)
        sealwire(
            *("enroll", ticket, "--identity", name, "--state", self.state(name)),
            *("--bootstrap", self.cloud.bootstrap),
        )

    def state(self, name: str) -> Path:
        return self.directory / f"state-{name}"

    def sealing(
        self,
        name: str,
        topics: Sequence[str],
        *,
        site: str = "berlin",
        local: str | None = None,
        channels: Mapping[str, str] | None = None,
    ) -> Node:
        """The YAML of a worker that seals topics, each under a channel of its name, or as `channels` has it."""
        of = channels or {}
        maps = [f"  - {{channel: {of.get(each, each)}, seal: {each}, to: {self.cloud_topic(each)}}}" for each in topics]
        return self._node("seal", site, name, local or self.source.bootstrap, maps)

    def opening(
        self,
        name: str,
        topics: Sequence[str],
        *,
        site: str = "lisbon",
        local: str | None = None,
        channels: Mapping[str, str] | None = None,
    ) -> Node:
        """The YAML of a worker that opens topics to topics of the same name; `channels` as for sealing."""
        of = channels or {}
        maps = [f"  - {{channel: {of.get(each, each)}, open: {self.cloud_topic(each)}, to: {each}}}" for each in topics]
        return self._node("open", site, name, local or self.sink.bootstrap, maps)

    def mapped(self, direction: str, name: str, site: str, local: KafkaCluster, *maps: str, more: str = "") -> Node:
        """The YAML of a worker with mappings of one's own, each as it stands between braces; `more` lines before."""
        lines = [f"  - {{{each}}}" for each in maps]
        node = self._node(direction, site, name, local.bootstrap, lines)
        node.file.write_text(more + node.file.read_text())
        return node

    def cloud_topic(self, topic: str) -> str:
        return f"{self.project}.{topic}"

    def make_source_topics(self, topics: Sequence[str], partitions: int = 3) -> None:
        for topic in topics:
            self.source.make_topic(topic, partitions)

    def close(self) -> None:
        """End everything, all at once."""
        for each in self.running:
            if each.process is not None and each.process.poll() is None:
                each.process.terminate()
        for each in self.running:
            each.end()

    @property
    def _home(self) -> Path:
        return self.directory / "project"

    def _run(self, name: str, *words: str | Path) -> Running:
        running = Running(words, self.directory / f"{name}.log")
        self.running.append(running)
        return running.start()

    def _node(self, direction: str, site: str, name: str, local: str, maps: Sequence[str]) -> Node:
        file, port = self.directory / f"{name}.yaml", free_port()
        local = self.ways.get((direction, "local"), local)
        cloud = self.ways.get((direction, "cloud"), self.cloud.bootstrap)
        head = [
            f"project: {self.project}",
            f"site: {site}",
            f"identity: {name}",
            f"state: {self.state(name)}",
            f'local: {{bootstrap: "{local}", broker: kafka}}',
            f'cloud: {{bootstrap: "{cloud}", broker: kafka}}',
            f"web_port: {port}",
            f"lanes: {LANES}",
            "mappings:",
        ]
        file.write_text("\n".join([*head, *maps, ""]))
        up = Running(("up", file), self.directory / f"{name}.log")
        self.running.append(up)
        return Node(file, direction, name, port, up)
