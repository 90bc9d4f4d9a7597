"""How Faust logs in to its own cluster: the same settings that every other client of ours takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import faust

from sealwire.agents.security import stock_settings

if TYPE_CHECKING:
    from sealwire.agents.settings import Cluster


def credentials(cluster: Cluster) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """Translate a cluster's security into Faust's credentials; None where nothing is asked for. Raises ValueError."""
    stock = stock_settings(cluster)
    if "sasl_mechanism" in stock:
        return faust.SASLCredentials(
            username=stock["sasl_plain_username"],
            password=stock["sasl_plain_password"],
            ssl_context=stock.get("ssl_context"),
            mechanism=stock["sasl_mechanism"],
        )
    if "ssl_context" in stock:
        return faust.SSLCredentials(context=stock["ssl_context"])
    return None
