"""The sealing worker, as Faust finds it: ``SEALWIRE_NODE=node.yaml faust -A sealwire.app.seal worker``.

It reads the local topics of the node's `seal` mappings, seals them and puts them into their cloud topics. What is wrong
with the YAML or the vault is said on standard error, and the process ends with 2 before anything is started.
"""

from __future__ import annotations

from sealwire.app.factory import sealing_app

app = sealing_app()
