"""The opening worker, as Faust finds it: ``SEALWIRE_NODE=node.yaml faust -A sealwire.app.mirror worker``.

It reads the cloud topics of the node's `open` mappings, verifies and opens what is in them, and delivers to local
topics. What is wrong with the YAML or the vault is said on standard error, and the process ends with 2 before anything
is started.
"""

from __future__ import annotations

from sealwire.app.factory import mirror_app

app = mirror_app()
