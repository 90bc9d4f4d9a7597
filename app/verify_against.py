"""The second half of `sealwire verify`: a receiving site compares its own topics with what the other one signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealwire.agents.admin import Admin
from sealwire.agents.audit import Delivery, SinkAudit, Window
from sealwire.agents.ledger_reading import BadLedger, LedgerReading
from sealwire.agents.reader import OffsetOutOfRange, RawReader, ReadRefused
from sealwire.app import membership, topics
from sealwire.app.audit_report import Report, SinkRow
from sealwire.app.factory import custody
from sealwire.app.faults import CONFIGURATION, Failure, did_you_mean, unusable
from sealwire.app.vault import open_vault
from sealwire.app.verify_export import is_compacted
from sealwire.keys import digestfile
from sealwire.keys import root as roots
from sealwire.keys.comparison import Comparison
from sealwire.keys.history import History
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sealwire.agents.admin import TopicFacts
    from sealwire.app.config import Node
    from sealwire.keys.delivery import Delivery as Record
    from sealwire.keys.digestfile import DigestFile
    from sealwire.keys.source import SourcePartition

    Told = dict[tuple[str, int], dict[SourcePartition, History]]  # by sink topic and partition

_CURES: Final = {
    Reason.FOREIGN: "It is the file that `sealwire verify --export` wrote at the sending site.",
    Reason.TRUNCATED: "Copy it again, whole.",
    Reason.OTHER_PROJECT: "Is it the file of this project's sending site?",
    Reason.AHEAD: "Set the clocks of the two machines right.",
    Reason.UNKNOWN_SIGNER: "Let this site's worker run: it learns the project's newest root.",
    Reason.UNKNOWN_VERSION: "Use a sealwire here that is as new as the one that wrote it.",
}


def read_file(node: Node, file: Path, now: int) -> DigestFile:
    """Read a digest file and prove it by the root that this site's opening identity trusts. Raises `Failure`."""
    if "open" not in node.directions:
        raise Failure(
            f"{node.path} has no mapping to open: there is nothing to compare here.",
            "Compare at the receiving site; at the sending one: sealwire verify --export FILE NODE.yaml",
            code=CONFIGURATION,
        )
    try:
        with file.open("rb") as source:
            content = source.read(digestfile.MOST + 1)
    except OSError as error:
        raise unusable(str(file), "read", error) from None
    with open_vault(node.directory("open") / "vault", custody(node), lock=False) as vault:
        secrets = vault.load()
    membership.check(node, "open", secrets)
    assert secrets.root is not None  # noqa: S101 - a member has one
    try:
        return digestfile.read(content, roots.trusted(secrets.root), now)
    except Rejected as refusal:
        raise Failure(
            f"{file} is not believed: {refusal}.",
            _CURES.get(refusal.reason, "Export it anew at the sending site, and bring it here unaltered."),
            code=CONFIGURATION,
        ) from None


def compared(node: Node, told: DigestFile, names: Sequence[str], say: Callable[[str], None]) -> Report:
    """Compare the sink topics of a node with a digest file, for the source topics that are named, or for all."""
    known = {each.source.topic for each in told.partitions}
    for name in names:
        if name not in known:
            raise Failure(
                f"Topic '{name}' is not in the file.",
                did_you_mean(name, known, "It has: " + ", ".join(sorted(known))),
                code=CONFIGURATION,
            )
    return topics.run(node.local, _compare(node, told, names, say))


async def _compare(node: Node, told: DigestFile, names: Sequence[str], say: Callable[[str], None]) -> Report:
    admin, ledger = Admin(node.local), node.settings("open").ledger_topic
    lanes = (await admin.describe([ledger])).get(ledger)
    if lanes is None:
        raise Failure(
            f"There is no topic {ledger} at {node.local.bootstrap}: what was delivered there is not on record.",
            f"Is it the receiving site? sealwire site init {node.path} makes it, for what is delivered from then on.",
            code=CONFIGURATION,
        )
    reader = RawReader(node.local, client_id="sealwire-verify", linger_ms=0)
    await reader.start()
    try:
        return await _Comparing(node, told, names, say, admin, reader).run(
            LedgerReading(reader, ledger, lanes.partitions)
        )
    except (OffsetOutOfRange, ReadRefused, ValueError) as error:
        raise Failure(
            f"Reading at {node.local.bootstrap} failed: {error}.", "If its retention was faster, compare again."
        ) from None
    except BadLedger as error:
        raise Failure(f"{error}.", "Only this site's workers may write that topic: who else does?") from None
    finally:
        await reader.stop()


class _Comparing:
    """One comparison of a file with a site."""

    def __init__(
        self,
        node: Node,
        told: DigestFile,
        names: Sequence[str],
        say: Callable[[str], None],
        admin: Admin,
        reader: RawReader,
    ) -> None:
        self._node, self._say, self._admin, self._reader = node, say, admin, reader
        self._wanted = {each.source: each for each in told.partitions if not names or each.source.topic in names}
        self._ledger: Told = {}
        self.report = Report(told, tuple(self._wanted.values()))

    async def run(self, ledger: LedgerReading) -> Report:
        """Read the ledger, then each sink partition that it names."""
        await ledger.read(self._told)
        sinks = self._sinks()
        facts = await self._admin.describe({topic for topic, _ in sinks})
        # What lies before these ends has its delivery record, once the ledger is read to the end of now.
        settled = {where: await self._end(where) for where in sinks if self._there(where, facts)}
        await ledger.read(self._told)
        for where in self._sinks():
            if where in settled:
                await self._audit(where, facts[where[0]], settled[where])
            else:
                gone = f"sink topic {where[0]} has no partition {where[1]} any more"
                self.report.rows += [SinkRow(where, self._wanted[each], why=gone) for each in self._of(where)]
        return self.report

    def _told(self, sink_topic: str, record: Record) -> None:
        if record.delivered is not None or record.order is not None:
            where = (sink_topic, record.cursor.source.partition)  # that of the source, always
            self._ledger.setdefault(where, {}).setdefault(record.cursor.source, History()).tell(record)

    def _sinks(self) -> list[tuple[str, int]]:
        return sorted(where for where in self._ledger if self._of(where))

    def _of(self, where: tuple[str, int]) -> list[SourcePartition]:
        return sorted(self._ledger[where].keys() & self._wanted.keys())

    @staticmethod
    def _there(where: tuple[str, int], facts: dict[str, TopicFacts]) -> bool:
        return where[0] in facts and where[1] < facts[where[0]].partitions

    async def _end(self, where: tuple[str, int]) -> int:
        return await self._reader.end_offset(*where, committed=True)

    async def _audit(self, where: tuple[str, int], facts: TopicFacts, settled: int) -> None:
        deliveries = {
            source: Delivery(
                told.end(facts.topic_id),
                Comparison(self._wanted[source]) if source in self._wanted else None,
            )
            for source, told in self._ledger[where].items()
        }
        window = Window(await self._reader.log_start(*where), await self._end(where), settled)
        self._say(f"reading {where[0]}[{where[1]}]")
        audit = SinkAudit(self._reader, *where, list(deliveries.values()), window)
        await audit.run()
        self.report.foreign += audit.told.foreign
        self.report.superseded += audit.told.superseded
        self.report.unlooked += audit.told.unlooked
        self.report.stamped += audit.told.stamped
        compacted = await is_compacted(self._admin, where[0])
        for source in self._of(where):
            comparison = deliveries[source].comparison
            self.report.rows.append(SinkRow(where, self._wanted[source], comparison, compacted=compacted))
