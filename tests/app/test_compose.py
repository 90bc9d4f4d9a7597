"""The compose file: every service is whole, and every command in it is one of ours with options that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from sealwire.app import cli
from sealwire.app.config import Node, load

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "deploy/compose"
FILE = DIRECTORY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"].startswith("sealwire:")}
KNOWN = {
    *("image", "build", "read_only", "tmpfs", "cap_drop", "security_opt", "entrypoint", "command", "restart"),
    *("healthcheck", "stop_grace_period", "mem_limit", "pids_limit", "environment", "ports", "volumes", "depends_on"),
}


def lines(service: dict[str, Any]) -> list[list[str]]:
    """The commands of a service, each as words."""
    if "entrypoint" not in service:
        return [["sealwire", *service["command"]]]
    (script,) = service["command"]
    return [shlex.split(line.split("||")[-1]) for line in script.splitlines() if line.strip()]


def test_it_has_three_clusters_an_authority_and_a_worker_a_site() -> None:
    assert {"kafka-berlin", "kafka-cloud", "kafka-lisbon", "authority", "berlin", "lisbon"} <= SERVICES.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_uses_what_is_declared(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= KNOWN
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no"
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert (DIRECTORY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_is_confined_and_its_commands_are_taken(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (FILE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    for words in lines(service):
        if words[0] == "touch":
            continue
        assert words[0] == "sealwire"
        assert cli.main([*words[1:], "--help"]) == 0, words


def test_what_ends_in_time_is_given_the_time() -> None:
    for name in ("berlin", "lisbon"):
        assert int(re.findall(r"\d+", OURS[name]["stop_grace_period"])[0]) >= 35


@pytest.mark.parametrize("name", ["berlin", "lisbon"])
def test_a_node_names_the_clusters_and_ports_that_the_file_has(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "node.yaml"
    copy.write_text((DIRECTORY / f"{name}.yaml").read_text().replace("/var/lib/sealwire", str(tmp_path)))
    node = load(copy)
    assert isinstance(node, Node), node
    inside = {f"{each}:9092" for each in SERVICES if each.startswith("kafka-")}
    assert {node.local.bootstrap, node.cloud.bootstrap} <= inside
    (port,) = node.web_ports.values()
    assert any(published.endswith(f":{port}") for published in SERVICES[name]["ports"])
    assert node.web_host == "0.0.0.0"  # noqa: S104
    assert node.log_format == "json"


def test_what_a_cluster_tells_its_clients_is_what_is_published() -> None:
    for name, service in SERVICES.items():
        if name.startswith("kafka-"):
            told = service["environment"]["KAFKA_ADVERTISED_LISTENERS"]
            outside = re.findall(r"HOST://localhost:(\d+)", told)[0]
            assert f"INSIDE://{name}:9092" in told
            assert service["ports"] == [f"127.0.0.1:{outside}:9094"]
