"""What the cloud's brokers refuse for good, in words for a person."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError

from sealwire.app.faults import Failure

LOGIN: Final = (
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own names of its local errors
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)
_FORBIDDEN: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_NO_TOPIC: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)  # noqa: SLF001


def words(error: KafkaError, bootstrap: str, topic: str) -> Failure | None:
    """Say what is refused and what to do; None where waiting may cure it."""
    if error.code() in LOGIN:
        return Failure(
            f"{bootstrap} refused the login: {error.str()}.",
            "Is it the right client file (--kafka-config), and its key still valid?",
        )
    if error.code() in _NO_TOPIC:
        own = topic.endswith((".control", ".sessions", ".requests"))
        return Failure(
            f"There is no topic {topic} at {bootstrap}.",
            f"Is it the project's cloud? This makes it: sealwire project cloud --bootstrap {bootstrap}"
            if own
            else "Topics of mappings are made by: sealwire topics apply NODE.yaml",
        )
    if error.code() in _FORBIDDEN:
        return Failure(
            f"{bootstrap} does not let this login use topic {topic}.",
            "Its key needs READ and WRITE on the project's topics; name its client file with --kafka-config.",
        )
    return None
