"""The steps of deploy/compose/compose.yaml on real clusters, in order, with nothing writable but its volumes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
import yaml
from confined import confined, deny_write_execute, environment, may_confine
from kafka_cluster import free_port
from kafka_world import await_
from traffic import await_count, differences, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Clusters

DIRECTORY = Path(__file__).parents[2] / "deploy/compose"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DIRECTORY / "compose.yaml").read_text())["services"]
STEPS = ("project", "authority", "berlin-admission", "lisbon-admission", "berlin", "lisbon")


class Composed:
    """What compose would do with the services of ours: each a process that sees only its volumes."""

    def __init__(self, directory: Path, clusters: Clusters) -> None:
        self.directory = directory
        self.ports = {name: free_port() for name in ("berlin", "lisbon")}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._words = {
            "kafka-berlin:9092": clusters.source.bootstrap,
            "kafka-cloud:9092": clusters.cloud.bootstrap,
            "kafka-lisbon:9092": clusters.sink.bootstrap,
            "acme": "composed",  # the clusters are shared: a project and topics of its own
            "orders": "parcels",
            "0.0.0.0": "127.0.0.1",  # noqa: S104
        }

    def run(self, name: str) -> None:
        """Run a step to its end; begin what goes on."""
        service = SERVICES[name]
        paths = self._volumes(name, service)
        words = self._theirs(service, paths)
        writable = [path for path in paths.values() if path.is_dir()]
        settings = {"SEALWIRE_STATE": str(paths.get("/var/lib/sealwire", "/nonexistent"))}
        if "/etc/sealwire/node.yaml" in paths:
            settings["SEALWIRE_NODE"] = str(paths["/etc/sealwire/node.yaml"])
        command, surroundings = confined(words, *writable), environment(**settings)
        if service["restart"] == "no":
            done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
            return
        with self.log(name, "ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                env=surroundings,
                stdout=log,
                stderr=log,
                preexec_fn=deny_write_execute,  # noqa: PLW1509 - one prctl
            )

    def told(self, name: str) -> list[dict[str, Any]]:
        with self.log(name) as log:
            return [json.loads(line) for line in log if line.endswith("\n")]

    def log(self, name: str, mode: str = "r") -> IO[Any]:
        return (self.directory / f"{name}.log").open(mode)

    def healthy(self, name: str) -> bool:
        """Ask as the image's HEALTHCHECK does."""
        words = ["sealwire", "health"]
        surroundings = environment(SEALWIRE_NODE=str(self.directory / f"{name}.yaml"))
        return subprocess.run(words, env=surroundings, capture_output=True, check=False).returncode == 0

    def end(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(35)
            except subprocess.TimeoutExpired:
                process.kill()

    def _volumes(self, name: str, service: dict[str, Any]) -> dict[str, Path]:
        found = {}
        for volume in service["volumes"]:
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                found[target] = self.directory / Path(source).name
                text = (DIRECTORY / source).read_text()
                state = f"state: {self.directory / Path(source).stem}-volume"
                text = text.replace("state: /var/lib/sealwire", state).replace(
                    "6066", str(self.ports[Path(source).stem])
                )
                found[target].write_text(self._ours(text))
            else:
                found[target] = self.directory / f"{source}-volume"
                found[target].mkdir(mode=0o700, exist_ok=True)
        return found

    def _theirs(self, service: dict[str, Any], paths: dict[str, Path]) -> list[str]:
        words = [*service.get("entrypoint", ["sealwire"]), *service["command"]]
        ours = [self._ours(word) for word in words]
        return [re.sub("|".join(paths), lambda found: str(paths[found[0]]), word) for word in ours]

    def _ours(self, text: str) -> str:
        for theirs, mine in self._words.items():
            text = text.replace(theirs, mine)
        return text


@pytest.fixture
def composed(clusters: Clusters, tmp_path: Path) -> Iterator[Composed]:
    made = Composed(tmp_path, clusters)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.skipif(not may_confine(), reason="no mount namespaces here")
def test_what_the_compose_file_says_delivers_records_and_writes_nowhere_but_into_its_volumes(
    clusters: Clusters, composed: Composed
) -> None:
    clusters.source.make_topic("parcels", 3)
    for name in STEPS:
        composed.run(name)
    clusters.source.produce("parcels", [f"parcel {number}" for number in range(30)])
    await_count(clusters.sink, "parcels", 30)
    assert differences(read_all(clusters.source, "parcels"), read_all(clusters.sink, "parcels")) == []
    for name in ("berlin", "lisbon"):
        await_(lambda name=name: composed.healthy(name), f"{name} healthy")
        await_(lambda name=name: "ready" in [line["event"] for line in composed.told(name)], f"{name} says ready")
    for name in ("project", "berlin-admission", "lisbon-admission"):
        composed.run(name)  # every step may be repeated

    for name in ("berlin", "lisbon"):
        composed.running[name].send_signal(signal.SIGTERM)
    for name in ("berlin", "lisbon"):
        assert composed.running[name].wait(35) == 0
        told = composed.told(name)
        assert "worker stopped" in [line["event"] for line in told]
        assert not [line for line in told if "exception" in line or "Read-only" in str(line)]
