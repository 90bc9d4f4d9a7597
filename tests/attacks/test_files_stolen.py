"""What stolen files and stolen access are worth: a vault without what opens it, and the Kafkas on both sides."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from days import MADE, Days
from heist import Heist, heist
from loot import Loot
from sim_kafka import readable

from sealwire.agents.single import record_batch
from sealwire.app.custody import Custody, make_key_file
from sealwire.app.vault import create_vault, vault_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def stolen() -> Heist:
    """A few hours of traffic, and what both members held in their middle."""
    return heist(before=6, after=2)


@pytest.mark.parametrize("name", ["s1", "r1"])
def test_a_vault_file_alone_opens_nothing_and_shows_no_secret(stolen: Heist, tmp_path: Path, name: str) -> None:
    make_key_file(tmp_path / "vault.key")
    file, secrets = vault_file(tmp_path, name), stolen.secrets[name]
    create_vault(file, Custody(tmp_path / "vault.key"), secrets).close()
    content = file.read_bytes()
    held = {each.receiving.seed for each in secrets.held} | {secrets.identity.signing.seed}
    held |= {each.secret for each in secrets.inbound.values()}
    assert [each for each in held if each in content] == []
    # Whatever stands in the file, tried as the secret of a session that was used.
    words = frozenset(content[at : at + 32] for at in range(len(content) - 31))
    assert stolen.open(Loot(words=frozenset(list(words)[:2000]))) == []


def test_a_sites_own_kafka_holds_plaintext_and_no_secret_of_ours(stolen: Heist) -> None:
    """Cursors, ledger, orders, quarantine: who reads them reads where things stand."""
    secrets = [*MADE.values()]
    for each in stolen.secrets.values():
        secrets += [each.identity.signing.seed, *(held.receiving.seed for held in each.held)]
    own = 0
    for site in (stolen.run.world.berlin, stolen.run.world.paris):
        for topic, (_id, logs) in site.kafka.topics.items():
            content = b"".join(bytes(batch) for log in logs for batch in log.batches)
            own += len(content) if topic.startswith("_sealwire.") else 0
            assert [topic for secret in secrets if secret in content] == []
    assert own > 1000


@pytest.fixture
def run() -> Iterator[Days]:
    """Traffic that flows."""
    made = Days(int.from_bytes(os.urandom(4), "big"))
    made.begin("s1")
    made.begin("r1")
    made.hours(1)
    yield made
    made.close()


def test_who_has_an_api_key_of_the_cloud_writes_what_nobody_believes(run: Days) -> None:
    """Its own bytes, ours once more, ours elsewhere, ours cut and altered: into every topic, statements included."""
    cloud, dice = run.world.cloud, run.dice
    for part in range(3):
        run.send(part, 2, 0)
    run.let(30)
    values = [value for _topic, _partition, batch in cloud.given[-60:] for value in readable(batch)]
    written = 0
    for topic, (_id, logs) in list(cloud.topics.items()):
        for partition in range(len(logs)):
            for value in dice.sample(values, min(60, len(values))):
                altered = bytearray(value)
                altered[dice.randrange(len(altered))] ^= 1 << dice.randrange(8)
                for each in (value, bytes(altered), value[: dice.randrange(len(value))], dice.randbytes(100)):
                    cloud.store(topic, partition, bytes(record_batch(each, run.now(), dice.randbytes(8))))
                    written += 1
    run.hours(1)
    assert run.loop.run_until(run.model.whole, 120.0)
    assert run.forged == 0
    assert written > 500
    (mirror,) = run.alive("r")
    assert mirror.station.refused.keys() >= {"foreign", "bad-signature"}
