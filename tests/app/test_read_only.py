"""A worker writes into its state directory and nowhere else: a read-only image, a unit with ProtectSystem=strict."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from confined import confined, deny_write_execute, environment, may_confine  # noqa: E402

from sealwire.app import cli  # noqa: E402

WITHIN = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def health(port: int, what: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", f"/health/{what}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def admit(directory: Path, state: Path) -> None:
    """Make a project and a member of it, by hand and offline."""
    project, request = ("--directory", str(directory / "acme")), directory / "producer1.request"
    who = ("--identity", "producer1", "--state", str(state))
    about = ("--attribute", "role=member", "--attribute", "site=berlin", "--bootstrap", "localhost:1")
    for words in (
        ("project", "create", "acme", *project),
        ("ticket", "create", *project, *about, "--out", directory / "ticket"),
        ("enroll", directory / "ticket", *who, "--request-file", request),
        ("authority", "admit", request, *project, "--answer", directory / "answer"),
        ("enroll", "--answer", directory / "answer", *who),
    ):
        assert cli.main([str(word) for word in words]) == 0, words


@pytest.mark.skipif(not may_confine(), reason="no mount namespaces here")
def test_a_worker_needs_nothing_writable_but_its_state_no_home_and_no_broker_to_be_alive_and_to_end(
    tmp_path: Path,
) -> None:
    state, port, nobody = tmp_path / "state", free_port(), free_port()
    admit(tmp_path, state)
    node = tmp_path / "node.yaml"
    node.write_text(
        f"project: acme\nsite: berlin\nidentity: producer1\nstate: {state}\nweb_port: {port}\nlog_format: json\n"
        f'local: {{bootstrap: "127.0.0.1:{nobody}"}}\ncloud: {{bootstrap: "127.0.0.1:{nobody}"}}\n'
        "mappings:\n  - {channel: orders, seal: orders, to: acme.orders}\n"
    )
    words = [sys.executable, "-m", "faust", "--quiet", "-A", "sealwire.app.seal", "worker", "--loglevel", "info"]
    with subprocess.Popen(
        confined(words, state),
        env=environment(SEALWIRE_NODE=str(node)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=deny_write_execute,  # noqa: PLW1509 - one prctl
    ) as process:
        try:
            until = time.monotonic() + WITHIN
            while health(port, "live")[0] != 200:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < until
                time.sleep(0.05)
            status, body = health(port, "ready")
            assert status == 503
            assert json.loads(body)["why"]
        finally:
            process.terminate()
        said = process.communicate(timeout=30)[0]
    lines = [json.loads(line) for line in said.splitlines()]
    assert any(line["event"].startswith("no broker answers at") for line in lines), said
    assert not [line for line in lines if "Read-only" in str(line) or line["level"] == "error"], said
