"""From YAML and vault to the agents: what a worker is built of, and what stops it before anything is started."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sealwire.app import factory, membership
from sealwire.app.config import Node, load
from sealwire.app.custody import Custody, make_key_file
from sealwire.app.faults import Failure
from sealwire.app.trail_check import check
from sealwire.app.vault import create_vault
from sealwire.keys import identity as identities
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.agents.settings import Settings
    from sealwire.app.trail import Trail


def node(directory: Path, vault: str = "") -> Node:
    path = directory / "node.yaml"
    path.write_text(
        f"project: acme\nsite: berlin\nidentity: s\nstate: state\nlanes: 3\n{vault}"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: a, seal: x, to: c.x}\n"
    )
    found = load(path)
    assert isinstance(found, Node), found
    return found


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, Any]]:
    """Stand in for the agents, and collect what they are given."""
    given: list[tuple[Settings, Any]] = []
    agents = ModuleType("sealwire.agents.worker")

    def build(settings: Settings, store: Any, trail: Trail) -> SimpleNamespace:  # noqa: ANN401
        given.append((settings, store))
        return SimpleNamespace(conf=SimpleNamespace(), trail=trail)

    agents.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sealwire.agents.worker", agents)
    monkeypatch.setattr("sealwire.agents.worker", agents, raising=False)
    monkeypatch.setattr(membership, "check", lambda *_: None)
    return given


def identity_in(found: Node, custody: Custody) -> None:
    begun = Secrets.begin(identities.create(os.urandom, 1))
    create_vault(found.directory("seal") / "vault", custody, begun).close()


def test_a_worker_is_given_its_settings_and_its_open_vault(tmp_path: Path, built: list[tuple[Settings, Any]]) -> None:
    found = node(tmp_path)
    make_key_file(tmp_path / "state" / "vault.key")
    identity_in(found, found.custody)
    app = factory.build(found, "seal")
    ((settings, store),) = built
    assert settings.lanes == 3
    assert settings.state == tmp_path / "state" / "s"
    assert store.load().identity.made_at == 1
    assert app.conf.logging_config["root"]["handlers"]
    store.close()


def test_a_worker_keeps_its_audit_trail_beside_its_vault(tmp_path: Path, built: list[tuple[Settings, Any]]) -> None:
    found = node(tmp_path)
    make_key_file(tmp_path / "state" / "vault.key")
    identity_in(found, found.custody)
    trail: Any = factory.build(found, "seal").trail
    assert not (tmp_path / "state/s/trail.jsonl").exists()  # what is built may never run
    trail.note("admitted", name="s")
    trail.settle()
    assert check([tmp_path / "state/s/trail.jsonl"]).parts[0].lines == 1
    built[0][1].close()


def test_the_passphrase_that_up_asked_for_opens_the_vault_and_leaves_the_environment(
    tmp_path: Path, built: list[tuple[Settings, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = node(tmp_path, "vault: {passphrase: ask}\n")
    words = tmp_path / "words"
    words.write_text("correct horse\n")
    words.chmod(0o600)
    identity_in(found, Custody(passphrase_file=words))
    read, write = os.pipe()
    os.write(write, b"correct horse")
    os.close(write)
    monkeypatch.setenv(factory.PASSPHRASE_FD, str(read))
    factory.build(found, "seal")
    assert factory.PASSPHRASE_FD not in os.environ
    built[0][1].close()


def test_a_direction_without_mappings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="has no mapping to open"):
        factory.build(node(tmp_path), "open")


def test_a_vault_in_use_is_refused_before_anything_is_built(tmp_path: Path, built: list[tuple[Settings, Any]]) -> None:
    found = node(tmp_path)
    make_key_file(tmp_path / "state" / "vault.key")
    identity_in(found, found.custody)
    factory.build(found, "seal")
    with pytest.raises(Failure, match="in use by another process"):
        factory.build(found, "seal")
    assert len(built) == 1
    built[0][1].close()


def test_a_worker_without_a_node_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(factory.NODE, raising=False)
    with pytest.raises(SystemExit) as ended:
        factory.sealing_app()
    assert ended.value.code == 2
    assert "SEALWIRE_NODE is not set" in capsys.readouterr().err
