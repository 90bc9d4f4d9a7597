"""What a YAML says of its machine: where the port is open, how logs look, and what opens the vault."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from sealwire.app import cli
from sealwire.app.config import Node, load
from sealwire.app.custody import Custody, Kind, make_key_file, read_key_file
from sealwire.app.faults import Failure
from sealwire.app.status import reached_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write(directory: Path, *lines: str) -> Path:
    path = directory / "node.yaml"
    path.write_text(
        "project: acme\nsite: berlin\nidentity: s\nstate: state\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: orders, seal: orders, to: acme.orders}\n" + "".join(f"{line}\n" for line in lines)
    )
    return path


def node(directory: Path, *lines: str) -> Node:
    found = load(write(directory, *lines))
    assert isinstance(found, Node), found
    return found


def fault(directory: Path, *lines: str) -> str:
    found = load(write(directory, *lines))
    assert not isinstance(found, Node)
    (only,) = found
    return str(only)


def test_left_out_the_port_is_on_localhost_and_logs_are_text(tmp_path: Path) -> None:
    found = node(tmp_path)
    assert found.settings("seal").web_host == "127.0.0.1"
    assert (found.log_format, found.log_level) == ("text", "info")


@pytest.mark.parametrize(
    ("said", "opened", "asked"),
    [
        ("0.0.0.0", "0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "::", "::1"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.3"),
        ("localhost", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_port_is_opened_where_the_yaml_says_and_asked_where_it_is_reached(
    tmp_path: Path, said: str, opened: str, asked: str
) -> None:
    found = node(tmp_path, f'web_host: "{said}"')
    assert found.settings("seal").web_host == opened
    assert reached_at(found.web_host) == asked


def test_a_host_name_is_refused_with_what_to_write(tmp_path: Path) -> None:
    assert "web_host: 'kafka.example' is no IP address (0.0.0.0 for all" in fault(tmp_path, "web_host: kafka.example")


def test_logs_are_json_where_the_yaml_says_so_and_a_slip_is_named(tmp_path: Path) -> None:
    assert node(tmp_path, "log_format: json").log_format == "json"
    assert "log_format: must be text or json, not 'jsn' (did you mean 'json'?)" in fault(tmp_path, "log_format: jsn")


def test_a_credential_of_the_unit_opens_the_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "credentials"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    found = node(tmp_path, "vault: {credential: vault.key}")
    assert found.custody == Custody(credential="vault.key")
    make_key_file(given / "vault.key")
    assert len(read_key_file(given / "vault.key")) == 32
    (given / "vault.key").chmod(0o440)  # an access list of systemd's shows so
    assert len(read_key_file(given / "vault.key")) == 32
    (given / "vault.key").chmod(0o444)
    with pytest.raises(Failure, match="too open"):
        read_key_file(given / "vault.key")


def test_outside_of_a_unit_the_yaml_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert node(tmp_path, "vault: {credential: vault.key}").custody.kind is Kind.CREDENTIAL


def test_a_credential_is_a_name_and_stands_alone(tmp_path: Path) -> None:
    assert "is a path" in fault(tmp_path, "vault: {credential: /etc/vault.key}")
    assert "stands beside" in fault(tmp_path, "vault: {credential: vault.key, key_file: x}")


def test_a_command_is_a_list_of_words_and_its_program_a_name_or_a_path_beside_the_yaml(tmp_path: Path) -> None:
    found = node(tmp_path, "vault: {command: [tpm2_unseal, -c, '0x81018001', --auth=pcr:sha256:7]}").custody
    assert found.command == ("tpm2_unseal", "-c", "0x81018001", "--auth=pcr:sha256:7")
    found = node(tmp_path, "vault:", "  command:", "  - bin/unseal", "  - some/path", "  - ''").custody
    assert found.command == (str(tmp_path / "bin/unseal"), "some/path", "")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("{command: tpm2_unseal -c 1}", "9:18: vault.command: must be a list, not text (the program and each of its"),
        ("{command: []}", "vault.command: is an empty list"),
        ("{command: [tpm2_unseal, 0x81018001]}", "9:32: vault.command[1]: must be text, not a number (quote it: '0x8"),
        ("{command: [[a]]}", "vault.command[0]: must be text, not a list"),
        ("{command: ['', x]}", "vault.command: names no program"),
        ("{command: }", "vault.command: is empty"),
        ("{command: [a], key_file: x}", "9:18: vault.command: stands beside key_file"),
        ("{comand: [a]}", "did you mean 'command'?"),
    ],
)
def test_a_command_that_cannot_be_is_told_with_its_line(tmp_path: Path, said: str, told: str) -> None:
    found = load(write(tmp_path, f"vault: {said}"))
    assert not isinstance(found, Node)
    assert told in " | ".join(map(str, found))


def test_all_that_stand_beside_the_first_are_named_at_once(tmp_path: Path) -> None:
    found = load(write(tmp_path, "vault:", "  key_file: a", "  credential: b", "  command: [c]", "  passphrase: ask"))
    assert not isinstance(found, Node)
    assert [(fault.line, fault.setting) for fault in found] == [
        (11, "vault.credential"),
        (12, "vault.command"),
        (13, "vault.passphrase"),
    ]


def test_up_can_be_asked_to_look_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--check", str(write(tmp_path))]) == 0
    assert "seal s: no faults" in capsys.readouterr().out
    assert cli.main(["up", "--check", str(write(tmp_path, "web_prt: 1"))]) == 2
    assert "did you mean 'web_port'?" in capsys.readouterr().err


class Worker:
    """Something that answers as a worker's health pages do."""

    def __init__(self) -> None:
        self.status, self.why = 200, ""
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(json.dumps({"why": outer.why}).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def worker() -> Iterator[Worker]:
    answering = Worker()
    thread = threading.Thread(target=answering.server.serve_forever, args=(0.01,))
    thread.start()
    yield answering
    answering.server.shutdown()
    answering.server.server_close()
    thread.join()


def test_health_is_an_exit_code_with_its_why(
    worker: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, f"web_port: {worker.server.server_port}")
    monkeypatch.setenv("SEALWIRE_NODE", str(file))
    assert cli.main(["health"]) == 0
    assert cli.main(["health", "--ready", str(file)]) == 0
    assert worker.asked == ["/health/live", "/health/ready"]
    worker.status, worker.why = 503, "the cloud cluster does not answer"
    assert cli.main(["health", "--ready"]) == 1
    assert "seal s is not ready: the cloud cluster does not answer" in capsys.readouterr().err


def test_a_worker_that_does_not_answer_is_not_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["health", str(write(tmp_path, "web_port: 1"))]) == 1
    assert "seal s is not live: no answer at port 1" in capsys.readouterr().err
