"""What the cloud's brokers refuse for good, in words for a person; and why nobody answers, as far as can be told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError

from sealwire.agents.topic_names import OURS
from sealwire.app.faults import Failure

if TYPE_CHECKING:
    from sealwire.agents.settings import Cluster

LOGIN: Final = (
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own names of its local errors
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)
_FORBIDDEN: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_NO_TOPIC: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)  # noqa: SLF001


SECURITY: Final = (KafkaError._SSL, KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)  # noqa: SLF001


def diagnosis(cluster: Cluster) -> str:
    """Try to connect in another way than librdkafka, and say why it fails; empty where nobody is there at all."""
    from sealwire.agents.client import diagnose  # noqa: PLC0415 - aiokafka, for this alone

    why = asyncio.run(diagnose(cluster))
    return "" if why.startswith("no broker answers") else why


def away(cluster: Cluster, otherwise: str) -> Failure:
    """Say why a cluster does not answer; ``otherwise`` in librdkafka's words."""
    why = diagnosis(cluster)
    return Failure(
        why or f"No answer from {cluster.bootstrap}: {otherwise}.",
        "Is the address right, the cluster up, and its certificate or login (its client file) what it asks for?",
    )


def words(error: KafkaError, bootstrap: str, topic: str) -> Failure | None:
    """Say what is refused and what to do; None where waiting may cure it."""
    if error.code() in LOGIN:
        return Failure(
            f"{bootstrap} refused the login: {error.str()}.",
            "Is it the right client file (--kafka-config), and its key still valid?",
        )
    if error.code() in _NO_TOPIC:
        if topic.startswith(OURS):
            return Failure(f"There is no topic {topic} at {bootstrap}.", "sealwire site init NODE.yaml makes it.")
        own = topic.endswith((".control", ".sessions", ".requests"))
        return Failure(
            f"There is no topic {topic} at {bootstrap}.",
            f"Is it the project's cloud? This makes it: sealwire project cloud --bootstrap {bootstrap}"
            if own
            else "Topics of mappings are made by: sealwire topics apply NODE.yaml. Or has it fewer partitions?",
        )
    if error.code() in _FORBIDDEN:
        return Failure(
            f"{bootstrap} does not let this login use topic {topic}.",
            "Its key needs READ and WRITE on the project's topics; name its client file with --kafka-config.",
        )
    return None
