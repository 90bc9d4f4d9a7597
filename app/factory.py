"""From a node's YAML to the Faust apps of its workers: read, open the vault, hand both to the agents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealwire.app import guard, logs, membership, memory
from sealwire.app.config import require
from sealwire.app.custody import Custody
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.trail import FILE, Trail
from sealwire.app.vault import open_vault

if TYPE_CHECKING:
    import faust

    from sealwire.agents.settings import Direction
    from sealwire.app.config import Node

NODE: Final = "SEALWIRE_NODE"  # names the YAML
PASSPHRASE_FD: Final = "SEALWIRE_PASSPHRASE_FD"  # noqa: S105 - numbers an inherited pipe; the passphrase itself is never here


def sealing_app() -> faust.App:
    """Build the sealing worker's app, of the YAML that `SEALWIRE_NODE` names; says what is wrong and ends with 2."""
    return guard.guarded(lambda: _worker("seal"))


def mirror_app() -> faust.App:
    """Build the mirror's app, of the YAML that `SEALWIRE_NODE` names; says what is wrong and ends with 2."""
    return guard.guarded(lambda: _worker("open"))


def _worker(direction: Direction) -> faust.App:
    memory.keep_private()
    return build(_node(), direction)


def build(node: Node, direction: Direction) -> faust.App:
    """Build a worker's app of a node; raises `Failure` where its direction has no mappings, or its vault stays shut."""
    if direction not in node.directions:
        other = "sealwire.app.mirror" if direction == "seal" else "sealwire.app.seal"
        raise Failure(
            f"{node.path} has no mapping to {direction}.",
            f"Add one, or start the other worker: faust -A {other} worker",
            code=CONFIGURATION,
        )
    logs.begin(node.log_level, node.log_format)
    vault = open_vault(node.directory(direction) / "vault", custody(node))
    membership.check(node, direction, vault.load())
    # Imported late: Faust takes half a second, and what is wrong with a YAML or a vault should be said at once.
    from sealwire.agents import worker  # noqa: PLC0415

    app = worker.build(node.settings(direction), vault, Trail(node.directory(direction) / FILE))
    app.conf.logging_config = logs.settings(node.log_level, node.log_format)  # Faust begins logging anew at its start
    return app


def custody(node: Node) -> Custody:
    """Say how the vault is opened: as the YAML says, or by the passphrase that `sealwire up` asked for."""
    descriptor = os.environ.pop(PASSPHRASE_FD, "")
    if node.custody.asks and descriptor.isdecimal():
        return Custody(passphrase_fd=int(descriptor))
    return node.custody


def _node() -> Node:
    path = os.environ.get(NODE)
    if not path:
        raise Failure(
            f"{NODE} is not set, so this worker does not know its node.",
            f"{NODE}=NODE.yaml faust -A sealwire.app.seal worker, or: sealwire up NODE.yaml",
            code=CONFIGURATION,
        )
    return require(Path(path))
