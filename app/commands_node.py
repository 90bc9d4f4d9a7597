"""The commands that take a node's YAML: `up`, `status`, `site init`, `site restore`, `topics apply`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealwire.app import clientfile, logs, options, screen, status_page
from sealwire.app.config import require
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sealwire.agents.settings import Cluster
    from sealwire.app.site import Restored
    from sealwire.app.topics import Step

NODE = click.argument("node_file", metavar="NODE.yaml", type=click.Path(path_type=Path))
YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.command()
@NODE
@click.option("--check", is_flag=True, help="Only read NODE.yaml and the client files it names; start nothing.")
def up(node_file: Path, *, check: bool) -> int:
    """Run the workers of NODE.yaml: one to seal, one to open, whichever it has mappings for.

    A worker that ends is started again, after half a second at first and thirty at most. SIGTERM or Ctrl-C stops
    them all. Exit code 2: a worker is misconfigured; its own lines say how.
    """
    node = require(node_file)
    if check:
        click.echo(f"{node_file}: {', '.join(f'{way} {node.identities[way]}' for way in node.directions)}: no faults")
        return 0
    from sealwire.app.up import Supervisor, workers  # noqa: PLC0415 - brings Faust

    logs.begin(node.log_level, node.log_format)
    running = workers(node)

    async def work() -> int:
        return await Supervisor(running).run()

    return asyncio.run(work())


@click.command("status")
@NODE
@click.option("--json", "as_json", is_flag=True, help="Print what the workers say as JSON.")
def status(node_file: Path, *, as_json: bool) -> int:
    """Show what the workers of NODE.yaml do: channels, source partitions, positions, cursors, what was refused.

    Exit code 1: a worker is away or not ready, or a source partition does not flow.
    """
    from sealwire.app.status import ask  # noqa: PLC0415

    words = ask(require(node_file))
    if as_json:
        click.echo(json.dumps({"node": str(node_file), "workers": [word.as_json() for word in words]}, indent=2))
    else:
        status_page.show(screen.console(), words)
    return RUNTIME if any(word.troubles for word in words) else 0


@click.command("health")
@click.argument("node_file", metavar="[NODE.yaml]", type=click.Path(path_type=Path), envvar="SEALWIRE_NODE")
@click.option("--ready", is_flag=True, help="Ask whether they are ready, not merely alive.")
def health(node_file: Path, *, ready: bool) -> int:
    """Ask the workers of NODE.yaml (default: $SEALWIRE_NODE) whether they are alive; for containers and scripts.

    Exit code 1: one is stuck, or does not answer.
    """
    from sealwire.app.status import unhealthy  # noqa: PLC0415

    found = unhealthy(require(node_file), ready=ready)
    for words in found:
        click.echo(words, err=True)
    return RUNTIME if found else 0


@click.group()
def site() -> None:
    """Make the local topics that a site's workers need."""


@site.command("init")
@NODE
@click.option("--kafka-config", "config", type=options.FILE, help="Client file of a local administrator.")
def site_init(node_file: Path, config: Path | None) -> int:
    """Make lanes, cursors, ledger and the topics to open into, at the local cluster of NODE.yaml.

    Safe to run again. The number of lanes is fixed here: a YAML that differs later is refused. So is where cursors
    begin: those that are lost later are not begun again, but restored.
    """
    from sealwire.agents.admin import Admin  # noqa: PLC0415
    from sealwire.agents.blocking import ClusterAway, ClusterRefused  # noqa: PLC0415
    from sealwire.app import topics as making  # noqa: PLC0415
    from sealwire.app.site import begin  # noqa: PLC0415

    node = require(node_file)
    local = _administrator(node.local, config)
    screen_ = screen.console()

    async def cloud_topics() -> dict[str, int] | None:
        try:
            return await Admin(node.cloud).topics() if node.opening else {}
        except (ClusterAway, ClusterRefused):
            return None

    async def work() -> list[Step]:
        admin = Admin(local)
        steps = making.site_steps(node, await admin.topics(), await cloud_topics())
        _show(screen_, f"Local topics at {local.bootstrap}", steps)
        making.refuse(steps, "Set lanes: in the YAML to what the topics were made with.")
        _done(screen_, await making.carry_out(admin, steps))
        return steps

    steps = making.run(local, work())
    if node.opening and (begun := making.run(local, begin(node.settings("open"), local))):
        screen_.print(f"Cursors begin here: {begun} lanes.")
    return _waiting(
        steps, "Run this again when they are there, or let the worker make them from the first envelope on."
    )


@site.command("restore")
@NODE
@click.option("--kafka-config", "config", type=options.FILE, help="Client file of a local administrator.")
def site_restore(node_file: Path, config: Path | None) -> int:
    """Make the cursors of the site of NODE.yaml again from its ledger, where they are lost or somebody else's.

    All mirrors of the site must be stopped. Nothing is delivered twice by it: the ledger knows what was.
    """
    from sealwire.agents.admin import Admin  # noqa: PLC0415
    from sealwire.app import topics as making  # noqa: PLC0415
    from sealwire.app.site import restore  # noqa: PLC0415

    node = require(node_file)
    if not node.opening:
        raise Failure(
            f"{node_file} has no mapping to open, so it has no cursors.",
            "Give the YAML of the receiving site.",
            code=CONFIGURATION,
        )
    local = _administrator(node.local, config)
    settings = node.settings("open")

    async def make() -> None:
        admin = Admin(local)
        there = await admin.topics()
        if settings.ledger_topic not in there:
            raise Failure(f"There is no {settings.ledger_topic} to restore from.", "sealwire site init begins anew.")
        steps = [each for each in making.site_steps(node, there, {}) if each.topic == settings.cursor_topic]
        making.refuse(steps, "Set lanes: in the YAML to what the topics were made with.")
        await making.carry_out(admin, steps)

    async def work() -> Sequence[Restored]:
        return await restore(settings, local, Admin(local))

    making.run(local, make())
    lanes = making.run(local, work())
    rows = [(str(each.lane), str(each.cursors), str(each.adopted)) for each in lanes if each.cursors]
    table = screen.table(f"Cursors of {node.site}", ("lane#", "source partitions#", "from the ledger#"), rows)
    screen.console().print(table)
    return 0


@click.group()
def topics() -> None:
    """Make the cloud topics that the mappings need."""


@topics.command("apply")
@NODE
@YES
@click.option("--kafka-config", "config", type=options.FILE, help="Client file of a cloud administrator.")
@click.option("--retention-days", type=click.IntRange(1, 3650), default=7, show_default=True, help="Of new topics.")
def topics_apply(node_file: Path, config: Path | None, retention_days: int, *, yes: bool) -> int:
    """Make and grow the cloud topics that the mappings of NODE.yaml seal into, after showing them.

    Safe to run again. Nothing is ever removed, and the settings of topics that exist are left alone.
    """
    from sealwire.agents.admin import Admin  # noqa: PLC0415
    from sealwire.agents.cloud_topic import MESSAGE_BYTES  # noqa: PLC0415
    from sealwire.app import topics as making  # noqa: PLC0415

    node = require(node_file)
    cloud = _administrator(node.cloud, config)
    screen_ = screen.console()

    async def local_topics() -> dict[str, int]:
        return await Admin(node.local).topics() if node.sealing else {}

    async def look() -> tuple[list[Step], dict[str, int]]:
        admin = Admin(cloud)
        steps = making.cloud_steps(node, local, await admin.topics(), retention_days=retention_days)
        return steps, {} if cloud.embedded else await making.small_topics(admin, steps)

    async def apply(steps: Sequence[Step]) -> list[str]:
        return await making.carry_out(Admin(cloud), steps)

    local = making.run(node.local, local_topics())
    steps, small = making.run(cloud, look())
    _show(screen_, f"Cloud topics at {cloud.bootstrap}", steps)
    for words in making.left_out(node, "seal", local) if node.sealing else ():
        click.echo(f"warning: {words}", err=True)
    for topic, takes in small.items():
        click.echo(
            f"warning: {topic} takes records of {takes} bytes at most, an envelope may have {MESSAGE_BYTES}: "
            f"kafka-configs --alter --topic {topic} --add-config max.message.bytes={MESSAGE_BYTES}",
            err=True,
        )
    if retention_days > making.SESSIONS_DAYS:
        click.echo(
            f"warning: sessions are kept for {making.SESSIONS_DAYS} days: what is older cannot be opened by a reader "
            f"that comes late. Raise retention.ms of {node.project}.sessions too.",
            err=True,
        )
    if any(step.deed in {making.Deed.MAKE, making.Deed.GROW} for step in steps):
        options.agreed("Make these?", yes=yes, otherwise="Nothing was made.")
        _done(screen_, making.run(cloud, apply(steps)))
    else:
        screen_.print("Nothing to make.")
    return _waiting(steps, "Make the local topics first, or ask the sending site; then run this again.")


def _administrator(cluster: Cluster, config: Path | None) -> Cluster:
    """Give the cluster with an administrator's login, where one is given, and at the listener that it names."""
    return (
        clientfile.cluster(None, config, otherwise=cluster.bootstrap, embedded=cluster.embedded) if config else cluster
    )


def _show(console: Console, title: str, steps: Sequence[Step]) -> None:
    rows = [(step.deed, step.topic, str(step.partitions or ""), step.why) for step in steps]
    console.print(screen.table(title, ("", "topic", "partitions#", ""), rows))


def _done(console: Console, made: Sequence[str]) -> None:
    console.print(f"Made: {', '.join(made)}" if made else "Nothing to make.")


def _waiting(steps: Sequence[Step], cure: str) -> int:
    waiting = [step for step in steps if step.deed == "wait"]
    if not waiting:
        return 0
    for step in waiting:
        click.echo(f"waiting: {step.topic}: {step.why}", err=True)
    click.echo(f"  cure: {cure}", err=True)
    return RUNTIME
