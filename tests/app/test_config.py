"""A node's YAML is read whole: right, or refused with every fault at its place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sealwire.app.config import Node, load
from sealwire.app.custody import Custody

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
project: acme
site: berlin
identity: {seal: producer1, open: consumer1}
state: state
local: {bootstrap: "localhost:9092", broker: kafka}
cloud: {bootstrap: "cloud.example:9092"}
mappings:
  - {channel: orders, seal: orders, to: acme.orders}
  - {channel: invoices, open: acme.invoices, to: invoices}
"""


def write(directory: Path, text: str | bytes) -> Path:
    path = directory / "node.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def node_of(directory: Path, text: str) -> Node:
    node = load(write(directory, text))
    assert isinstance(node, Node), "\n".join(map(str, node))
    return node


def faults_of(directory: Path, text: str | bytes) -> list[str]:
    """Give the faults as they are printed, without the path of the file."""
    path = write(directory, text)
    found = load(path)
    assert not isinstance(found, Node), "it was taken as right"
    return [str(fault).removeprefix(f"{path}:").strip() for fault in found]


def test_the_example_of_the_design_is_read_as_it_says(tmp_path: Path) -> None:
    node = node_of(tmp_path, GOOD)
    assert node.directions == ("seal", "open")
    assert node.directory("seal") == tmp_path / "state" / "producer1"
    assert [mapping.cloud_topic for mapping in node.mappings] == ["acme.orders", "acme.invoices"]
    settings = node.settings("open")
    assert (settings.identity, settings.lanes, settings.linger_ms) == ("consumer1", 16, 10)
    assert settings.seal == ()
    assert settings.open[0].sink_topic == "invoices"


def test_what_is_left_out_has_a_default_that_never_changes_by_itself(tmp_path: Path) -> None:
    first, again = node_of(tmp_path, GOOD), node_of(tmp_path, GOOD)
    assert first.web_ports == again.web_ports
    assert all(24_000 <= port < 28_001 for port in first.web_ports.values())
    assert first.web_ports["seal"] != first.web_ports["open"]
    assert first.custody == Custody(key_file=tmp_path / "state" / "vault.key")


def test_one_direction_takes_one_name(tmp_path: Path) -> None:
    text = GOOD.replace("{seal: producer1, open: consumer1}", "producer1")
    node = node_of(tmp_path, text.replace("  - {channel: invoices, open: acme.invoices, to: invoices}\n", ""))
    assert node.identities == {"seal": "producer1"}
    assert node.directions == ("seal",)


def test_every_fault_is_named_at_once_with_its_line_and_column(tmp_path: Path) -> None:
    text = """\
projct: acme
site: no
identity: x
local: {bootstrap: "localhost"}
cloud: {bootstrap: "cloud.example:9092", broker: kafak}
lanes: 0
mappings:
  - {channel: orders, seal: orders, to: acme.orders}
  - {channel: orders, sael: more, to: acme.more}
"""
    faults = faults_of(tmp_path, text)
    assert faults[0] == "1:1: projct: is not a setting (did you mean 'project'?)"
    assert faults[1].startswith("2:7: site: must be text, not a truth value (quote it: 'no')")
    assert "4:20: local.bootstrap: 'localhost' is not host:port" in faults[2]
    assert faults[3] == "5:50: cloud.broker: must be kafka or embedded, not 'kafak' (did you mean 'kafka'?)"
    assert faults[4] == "6:8: lanes: must be from 1 to 256, not 0"
    assert any("mappings[1].sael: is not a setting (did you mean 'seal'?)" in fault for fault in faults)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("project: acme\n\tsite: x\n", 2, "a tab is not allowed here (indent with spaces)"),
        ("project: [acme\nsite: x\n", 2, "is not YAML"),
        ('project: "acme\n', 2, "is not YAML"),
        ("project: a: b\n", 1, "mapping values are not allowed here"),
        ("project: @acme\n", 1, "put the value in quotes"),
        ("project: *acme\n", 1, "undefined alias"),
        ("project: acme\n---\nsite: b\n", 2, "more than one document"),
        ("- project\n", 1, "must be settings, 'name: value', not a list"),
        ("just words\n", 1, "must be settings"),
        ("project: acme\x00\n", 1, "character that cannot be in a YAML file"),
    ],
)
def test_malformed_yaml_is_one_fault_at_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    (fault,) = faults_of(tmp_path, text)
    assert fault.startswith(f"{line}:")
    assert words in fault


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe\x00", b"[" * 5000, b"a: 1\n" * 300_000])
def test_a_file_that_is_something_else_is_a_fault_and_never_an_exception(tmp_path: Path, content: bytes) -> None:
    assert faults_of(tmp_path, content)


def test_a_missing_file_and_a_directory_are_faults(tmp_path: Path) -> None:
    missing = load(tmp_path / "nope.yaml")
    assert not isinstance(missing, Node)
    assert "there is no such file" in str(missing[0])
    directory = load(tmp_path)
    assert not isinstance(directory, Node)
    assert "cannot be read" in str(directory[0])


def test_a_truth_value_is_true_or_false_and_nothing_that_yaml_takes_for_it(tmp_path: Path) -> None:
    assert node_of(tmp_path, GOOD + "manage_topics: true\n").settings("seal").manage_topics
    assert not node_of(tmp_path, GOOD).settings("seal").manage_topics
    for value in ("yes", "on", '"true"', "1", "True"):
        (fault,) = faults_of(tmp_path, GOOD + f"manage_topics: {value}\n")
        assert "manage_topics: must be true or false" in fault


def test_each_missing_setting_is_named(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, "state: state\n")
    for setting in ("project", "site", "identity", "local", "cloud", "mappings"):
        assert any(f"{setting}: is missing" in fault for fault in faults), setting


def test_a_setting_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    assert "10:1: site: stands twice, first in line 2 (keep one of them)" in faults_of(tmp_path, GOOD + "site: paris\n")


@pytest.mark.parametrize("value", ["12", "1.5", "true", "[a]", "{a: b}", "2026-11-25", "", "~"])
def test_a_name_of_another_type_is_refused(tmp_path: Path, value: str) -> None:
    (fault,) = faults_of(tmp_path, GOOD.replace("project: acme", f"project: {value}"))
    assert "project" in fault


@pytest.mark.parametrize("value", ["x", "'16'", "1.5", "0x10", "1_6", "-1", "257", "9" * 400, "[1]", "true"])
def test_lanes_are_a_whole_number_within_bounds(tmp_path: Path, value: str) -> None:
    (fault,) = faults_of(tmp_path, GOOD + f"lanes: {value}\n")
    assert fault.startswith("10:8: lanes: must be")


@pytest.mark.parametrize("name", ["a b", "a/b", "..", ".hidden", "-x", "a.b", "x" * 65, "ü"])
def test_a_project_name_that_could_not_be_part_of_topic_names_is_refused(tmp_path: Path, name: str) -> None:
    (fault,) = faults_of(tmp_path, GOOD.replace("project: acme", f'project: "{name}"'))
    assert fault.startswith("1:10: project:")


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "a b"])
def test_an_identity_whose_name_could_leave_the_state_directory_is_refused(tmp_path: Path, name: str) -> None:
    (fault,) = faults_of(tmp_path, GOOD.replace("producer1", f'"{name}"'))
    assert "identity.seal" in fault


def test_both_directions_need_an_identity_each(tmp_path: Path) -> None:
    one = faults_of(tmp_path, GOOD.replace("{seal: producer1, open: consumer1}", "producer1"))
    same = faults_of(tmp_path, GOOD.replace("consumer1", "producer1"))
    half = faults_of(tmp_path, GOOD.replace("{seal: producer1, open: consumer1}", "{seal: producer1}"))
    assert "one name for two workers" in one[0]
    assert "is the sealing identity too" in same[0]
    assert "identity.open: is missing" in half[0]


def test_a_state_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    (fault,) = faults_of(tmp_path, GOOD)
    assert fault.startswith("4:8: state:")
    assert "is not a directory" in fault


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_state_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o500)
    (fault,) = faults_of(tmp_path, GOOD)
    assert "cannot write" in fault


def test_the_client_file_is_found_beside_the_yaml_and_may_give_the_address(tmp_path: Path) -> None:
    (tmp_path / "kafka.config").write_text("bootstrap.servers=cloud.example:9092\nsecurity.protocol=SSL\n")
    node = node_of(tmp_path, GOOD.replace('{bootstrap: "cloud.example:9092"}', "{kafka_config: kafka.config}"))
    assert node.cloud.bootstrap == "cloud.example:9092"
    assert node.cloud.security["security.protocol"] == "SSL"


def test_faults_of_the_client_file_stand_among_those_of_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "kafka.config").write_text("\nsecurity.protocoll=SSL\n")
    text = GOOD.replace('{bootstrap: "cloud.example:9092"}', '{bootstrap: "c:1", kafka_config: kafka.config}')
    faults = faults_of(tmp_path, text + "lanes: x\n")
    assert any("kafka.config:2: security.protocoll: is not a setting" in fault for fault in faults)
    assert any(fault.startswith("10:8: lanes") for fault in faults)


def test_a_missing_client_file_is_refused_where_it_is_named(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, GOOD.replace('"cloud.example:9092"', '"c:1", kafka_config: nope.config'))
    assert fault.startswith("6:41: cloud.kafka_config:")
    assert "there is no such file" in fault


def test_two_different_addresses_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka.config").write_text("bootstrap.servers=other:9092\n")
    (fault,) = faults_of(tmp_path, GOOD.replace('"cloud.example:9092"', '"c:1", kafka_config: kafka.config'))
    assert "is another one than bootstrap.servers" in fault


def test_a_nodes_secrets_are_not_in_its_repr(tmp_path: Path) -> None:
    login = 'PlainLoginModule required username="u" password="hunter2";'
    (tmp_path / "kafka.config").write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n"
        f"sasl.jaas.config=org.apache.kafka.common.security.plain.{login}\n"
    )
    node = node_of(tmp_path, GOOD.replace('"cloud.example:9092"', '"c:1", kafka_config: kafka.config'))
    assert node.cloud.security["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(node)
    assert "hunter2" not in repr(node.settings("seal"))


def test_a_vault_is_under_a_key_file_or_a_passphrase_file_and_not_both(tmp_path: Path) -> None:
    assert node_of(tmp_path, GOOD + "vault: {passphrase_file: p}\n").custody == Custody(passphrase_file=tmp_path / "p")
    assert node_of(tmp_path, GOOD + "vault: {passphrase: ask}\n").custody == Custody()
    assert "stands beside" in faults_of(tmp_path, GOOD + "vault: {key_file: k, passphrase_file: p}\n")[0]
    assert "never stands in a YAML" in " ".join(faults_of(tmp_path, GOOD + "vault: {passphrase: hunter2}\n"))


def test_two_workers_need_two_ports(tmp_path: Path) -> None:
    assert node_of(tmp_path, GOOD + "web_port: {seal: 1000, open: 1001}\n").web_ports == {"seal": 1000, "open": 1001}
    assert "one port for two workers" in faults_of(tmp_path, GOOD + "web_port: 1000\n")[0]
    assert "is the sealing worker's port too" in faults_of(tmp_path, GOOD + "web_port: {seal: 1, open: 1}\n")[0]
