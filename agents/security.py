"""A cluster's settings, which arrive in librdkafka's names, for each of the two clients."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.agents.settings import Cluster

REQUEST_TIMEOUT_MS = 10_000
ANSWER_CAP = 8 * 1024 * 1024  # bytes: a broker that announces a larger answer, but to a fetch, is not believed


def stock_settings(cluster: Cluster) -> dict[str, Any]:
    """Translate a cluster's security into aiokafka's arguments (Faust's consumer takes them as well).

    Raises ValueError for a mechanism that aiokafka does not speak or a setting that contradicts another.
    """
    given = cluster.security
    protocol = given.get("security.protocol", "PLAINTEXT").upper()
    settings: dict[str, Any] = {"security_protocol": protocol}
    if protocol in {"SSL", "SASL_SSL"}:
        settings["ssl_context"] = _ssl_context(given)
    if protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
        mechanism = given.get("sasl.mechanism", given.get("sasl.mechanisms", "PLAIN")).upper()
        if mechanism not in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
            message = f"sasl.mechanism {mechanism}: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are supported"
            raise ValueError(message)
        if not given.get("sasl.username") or not given.get("sasl.password"):
            message = "sasl.username and sasl.password are needed"
            raise ValueError(message)
        settings["sasl_mechanism"] = mechanism
        settings["sasl_plain_username"] = given["sasl.username"]
        settings["sasl_plain_password"] = given["sasl.password"]
    return settings


def _ssl_context(given: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(
        ssl.Purpose.SERVER_AUTH, cafile=given.get("ssl.ca.location") or None, cadata=given.get("ssl.ca.pem") or None
    )
    if certificate := given.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, given.get("ssl.key.location") or None, given.get("ssl.key.password"))
    if given.get("ssl.endpoint.identification.algorithm", "https").lower() in {"none", ""}:
        context.check_hostname = False
    if given.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def librdkafka_settings(cluster: Cluster, client_id: str) -> dict[str, Any]:
    """Give a cluster's settings as librdkafka wants them. The result holds secrets: never log it."""
    return {
        "bootstrap.servers": cluster.bootstrap,
        "client.id": client_id,
        "socket.timeout.ms": REQUEST_TIMEOUT_MS,
        "reconnect.backoff.max.ms": 2000,
        "receive.message.max.bytes": ANSWER_CAP,
        "log_level": 2,  # critical only: it would report an absent broker several times a second
        **cluster.security,
    }
