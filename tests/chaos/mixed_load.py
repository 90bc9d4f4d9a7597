"""The load of a chaos: most records by an idempotent producer, some in transactions, of which some are aborted.

What became of it is in the source's log, and nowhere else: a transaction whose end nobody heard of is one or the other.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException, Producer
from fleet_load import FleetLoad

if TYPE_CHECKING:
    from fleet_load import Size
    from kafka_cluster import KafkaCluster

_IN_TRANSACTION: Final = 0.5  # of the runs, while a transaction is open
_BEGUN: Final = 0.1  # of the runs, while none is: it begins one
_MOST_RUNS: Final = 20  # of one transaction: for as long, who reads committed records waits
_ABORTED: Final = 0.3  # of the transactions
_WITHIN: Final = 10.0  # seconds for an answer; asked again until one comes


class MixedLoad(FleetLoad):
    """A FleetLoad whose records go one of two ways; numbers go on over both, so an aborted one is never used again."""

    later = 3_600_000  # of this hour: what is older than a reader's admission is not sealed again for it

    def __init__(self, cluster: KafkaCluster, size: Size, seed: int) -> None:
        super().__init__(cluster, size)
        self._random = Random(seed)
        self._transactions = _Transactions(cluster)

    @property
    def ended(self) -> tuple[int, int]:
        """How many transactions were committed and aborted, as far as is known."""
        return self._transactions.committed, self._transactions.aborted

    def run(self) -> None:
        self._transactions.settle()
        super().run()
        self._transactions.end(commit=True)

    def _through(self) -> Producer:
        transactions, random = self._transactions, self._random
        if transactions.left == 0:
            transactions.end(commit=random.random() >= _ABORTED)
        if transactions.left < 0 and random.random() < _BEGUN:
            transactions.begin(random.randint(1, _MOST_RUNS))
        if transactions.left > 0 and random.random() < _IN_TRANSACTION:
            transactions.left -= 1
            return transactions  # type: ignore[return-value] # produces and polls as one does
        return self._producer


class _Transactions:
    """One after the other. What goes wrong ends the one that is open, never the load."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._settings = {
            "bootstrap.servers": cluster.bootstrap,
            "transactional.id": "chaos-load",
            "transaction.timeout.ms": 10_000,
            "linger.ms": 20,
            "compression.type": "lz4",
            "log_level": 0,
        }
        self._producer: Producer | None = None
        self.left = -1  # runs until its end; -1 while none is open
        self.committed = self.aborted = 0

    def settle(self) -> None:
        """Make a producer that has fenced the one before."""
        self._producer = Producer(self._settings)
        while True:
            with suppress(KafkaException):
                return self._producer.init_transactions(_WITHIN)

    def begin(self, runs: int) -> None:
        assert self._producer is not None
        try:
            self._producer.begin_transaction()
            self.left = runs
        except KafkaException:
            self.settle()

    def produce(self, *what: Any, **more: Any) -> None:
        """Take a record for the transaction; one that has failed takes it for nothing."""
        assert self._producer is not None
        with suppress(KafkaException):
            self._producer.produce(*what, **more)
        self._producer.poll(0)

    def poll(self, seconds: float) -> None:
        assert self._producer is not None
        self._producer.poll(seconds)

    def end(self, *, commit: bool) -> None:
        """Commit or abort; it is over when this returns, however."""
        while self.left >= 0:
            assert self._producer is not None
            # Of a transaction that the broker has not heard of yet it knows no end: librdkafka then ends for good.
            self._producer.flush(_WITHIN)
            try:
                if commit:
                    self._producer.commit_transaction(_WITHIN)
                    self.committed += 1
                else:
                    self._producer.abort_transaction(_WITHIN)
                    self.aborted += 1
                self.left = -1
            except KafkaException as raised:
                error = raised.args[0]
                if error.txn_requires_abort():
                    commit = False
                elif not error.retriable():
                    self.left = -1
                    self.settle()
