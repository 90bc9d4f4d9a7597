"""confluent-kafka's calls block: how they are waited for in a thread, and what their errors mean."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

Result = TypeVar("Result")

TIMEOUT = 15.0  # seconds that a broker may take

librdkafka_log = logging.getLogger("sealwire.librdkafka")


class ClusterAway(Exception):
    """No broker of the cluster answered in time; it may answer later."""


class ClusterRefused(Exception):
    """A broker answered and will not do it: the text is its own."""


class Forbidden(ClusterRefused):
    """The cluster does not let our login do it; that may change at any moment."""


_FORBIDDEN = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)


def blocking(call: Callable[[], Result]) -> Result:
    """Call, with librdkafka's errors as ClusterAway or ClusterRefused."""
    try:
        return call()
    except KafkaException as error:
        raise named(error.args[0]) from error


def wait(call: Callable[[], Future[Result]]) -> Result:
    """Ask, and wait for the answer."""
    answer: Result = answer_of(blocking(call))
    return answer


def answer_of(answer: Future[Any], *, missing_is_none: bool = False, existing_is_none: bool = False) -> Any:  # noqa: ANN401
    """Wait for an answer, True where it is empty; None where the topic is missing or there, if that is no error."""
    try:
        found = answer.result(TIMEOUT + 5)
    except KafkaException as error:
        code = error.args[0].code()
        if missing_is_none and code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        if existing_is_none and code == KafkaError.TOPIC_ALREADY_EXISTS:
            return None
        raise named(error.args[0]) from error
    except TimeoutError as error:
        raise ClusterAway(str(error)) from error
    return True if found is None else found


def named(error: KafkaError) -> Exception:
    """Tell a cluster that is away, or not ready yet, from one that refuses."""
    if error.code() in _FORBIDDEN:
        return Forbidden(error.str())
    return ClusterAway(error.str()) if error.code() < 0 or error.retriable() else ClusterRefused(error.str())
