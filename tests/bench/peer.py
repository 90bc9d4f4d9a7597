"""MirrorMaker 2, in plaintext from the source to the sink, as a peer: no cloud between them, and nothing is sealed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backlog import stored
from kafka_cluster import BUILD
from measure import Spent, cpu_seconds, peak_mb

if TYPE_CHECKING:
    from bridge import Bridge

POM: Final = Path(__file__).with_name("pom.xml")
LIBS: Final = BUILD / "mirror-maker-libs"
WITHIN_S: Final = 120.0
_EVERY_S: Final = 0.2

_PROPERTIES: Final = """\
clusters = source, sink
source.bootstrap.servers = {source}
sink.bootstrap.servers = {sink}
source->sink.enabled = true
source->sink.topics = {topic}
sink->source.enabled = false
tasks.max = 1
replication.factor = 1
config.storage.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
offset-syncs.topic.replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
emit.heartbeats.enabled = false
emit.checkpoints.enabled = false
sync.topic.acls.enabled = false
sync.topic.configs.enabled = false
refresh.groups.enabled = false
"""


def libraries() -> Path:
    """The folder of its jars, which Maven brings."""
    ready = LIBS / ".brought"
    if not ready.exists() or ready.stat().st_mtime < POM.stat().st_mtime:
        goal = ("dependency:copy-dependencies", f"-DoutputDirectory={LIBS}")
        subprocess.run(["mvn", "-B", "-q", "-f", str(POM), *goal], check=True, stdin=subprocess.DEVNULL)
        ready.touch()
    return LIBS


def mirror_maker(bridge: Bridge, topic: str, count: int, partitions: int) -> Spent:
    """Have it copy a topic to the sink; measured from a tenth of the topic to its end, as our workers are."""
    copied = f"source.{topic}"  # as MirrorMaker names it
    bridge.make([copied], partitions, (bridge.sink,))
    file = bridge.directory / "mirror-maker.properties"
    file.write_text(
        _PROPERTIES.format(source=bridge.source.bootstrap, sink=bridge.sink.bootstrap, topic=topic), encoding="utf-8"
    )
    log = bridge.directory / "mirror-maker.log"
    java = ["java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{libraries()}/*"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*java, "org.apache.kafka.connect.mirror.MirrorMaker", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    begun: tuple[int, float, float] | None = None
    until = time.monotonic() + WITHIN_S
    try:
        while time.monotonic() < until and process.poll() is None:
            there = stored(bridge.sink.bootstrap, copied, partitions)
            if begun is None and there >= count // 10:
                begun = there, cpu_seconds(process.pid), time.monotonic()
            if begun is not None and there >= count:
                cpu, now = cpu_seconds(process.pid), time.monotonic()
                return Spent(there - begun[0], cpu - begun[1], now - begun[2], peak_mb(process.pid))
            time.sleep(_EVERY_S)
    finally:
        process.kill()
        process.wait()
        bridge.drop([copied], (bridge.sink,))
    message = f"MirrorMaker 2 did not copy {topic}:\n{log.read_text(errors='replace')[-2000:]}"
    raise RuntimeError(message)
