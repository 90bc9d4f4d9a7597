"""The cluster that Faust lives at: how it logs in there, and what must be there, and allowed, before it starts.

Faust ends the process on what it lacks, and does not say in every case what that is: so it is waited for here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import faust

from sealwire.agents import client
from sealwire.agents.admin import Admin
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.ending import PunctualWorker
from sealwire.agents.rights import lacking
from sealwire.agents.security import stock_settings

if TYPE_CHECKING:
    from sealwire.agents.settings import Cluster, Settings

_log = logging.getLogger(__name__)
_LOOK_EVERY = 2.0  # seconds


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


def options(settings: Settings) -> dict[str, Any]:
    """Give the Faust app's own settings."""
    embedded = settings.local.embedded
    found: dict[str, Any] = {
        "broker": [f"kafka://{address.strip()}" for address in settings.local.bootstrap.split(",")],
        "datadir": settings.state / "faust",
        "store": "rocksdb://",
        "web_enabled": False,
        "topic_disable_leader": True,
        "topic_allow_declare": False,  # `site init` makes them: a worker's login need not be let make topics
        "topic_partitions": settings.lanes,
        # A static member that comes back is handed its old assignment, and Faust asserts that the URL in there is its
        # own: by default that names the host, and a container has another at each start.
        "canonical_url": f"http://{settings.identity}",
        # A join takes half the session time-out on the embedded broker, which knows no static members.
        "broker_session_timeout": 4.0 if embedded else 10.0,
        # Members hear of a rebalance by their heartbeats, and all lanes wait for the last one to hear.
        "broker_heartbeat_interval": 1.0,
        "broker_rebalance_timeout": 60.0,
        "broker_request_timeout": 65.0,
        "agent_supervisor": "mode.CrashingSupervisor",
        "Worker": PunctualWorker,
        "stream_recovery_delay": 0.0,
        # A table of other lanes, or of a changelog that was made anew, ends no worker: it is a working copy, whose rows
        # are written again as they change.
        "recovery_consistency_check": False,
        "stream_wait_empty": False,
        "worker_redirect_stdouts": False,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "autodiscover": False,
    }
    if not embedded:
        found["consumer_group_instance_id"] = f"{settings.identity}-{settings.direction}"
    if settings.local.security:
        found["broker_credentials"] = credentials(settings.local)
    return found


class Home:
    """What a worker's Faust app needs of the local cluster. ``why`` says what is waited for; empty when nothing is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.why = f"waiting for the local cluster at {settings.local.bootstrap}"

    async def wait(self) -> None:
        """Wait for the cluster, then for topics and rights, for as long as it takes; says once what for."""
        local = self._settings.local

        def say(words: str) -> None:
            self.why = words

        await client.close(await client.connect(local, "sealwire-start", say=say))
        admin, said = Admin(local, "sealwire-start"), ""
        while True:
            try:
                self.why = await self._lacks(admin)
            except (ClusterAway, ClusterRefused) as error:
                self.why = f"the local cluster does not answer: {await client.diagnose(local) or error}"
            if not self.why:
                return
            if self.why != said:
                said = self.why
                _log.warning("%s: waiting for it", said)
            await asyncio.sleep(_LOOK_EVERY)

    async def _lacks(self, admin: Admin) -> str:
        settings, bootstrap = self._settings, self._settings.local.bootstrap
        wanted = {settings.lane_topic: {"READ"}, settings.changelog_topic: {"READ", "WRITE"}}
        if settings.direction == "open":
            wanted |= {topic: {"READ", "WRITE"} for topic in (settings.cursor_topic, settings.ledger_topic)}
        found = await admin.describe(wanted)
        missing = sorted(wanted.keys() - found.keys() - admin.forbidden.keys())
        if missing:
            return f"local topic {', '.join(missing)} is missing: sealwire site init makes it"
        if admin.forbidden:
            return "; ".join(admin.forbidden.values())
        if settings.local.embedded:
            return ""
        allowed = await admin.allowed(wanted, settings.app_id)
        wanted[settings.app_id] = {"READ"}
        words = [
            lacking(operation.capitalize(), f"{'group' if name == settings.app_id else 'topic'} {name}", bootstrap)
            for name, operations in wanted.items()
            if name in allowed
            for operation in sorted(operations - allowed[name])
        ]
        return "; ".join(words)
