"""What Prometheus is told of a worker: computed from its snapshot when it is asked, nothing while data moves."""

from __future__ import annotations

import platform
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sealwire.agents.tally import Tally
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

MOST_PARTITIONS: Final = 200  # source partitions of a worker up to which each has series of its own
MOST_TOPICS: Final = 500  # topics of a worker up to which each has series of its own; above, they are one: "*"
STATES: Final = ("flowing", "waiting", "held")
_NS = "sealwire_"


class Row(NamedTuple):
    """One metric: its name as Prometheus shows it, its kind, its labels besides `direction`, and its HELP."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    help: str


_STAGED = " by stage: taken (sealed, or opened) and delivered (acknowledged by the cluster it goes to)"

METRICS: Final = (
    Row("build_info", "gauge", ("version", "python", "project", "site", "identity"), "1, and what runs here."),
    Row("start_time_seconds", "gauge", (), "When this worker started, in seconds since 1970."),
    Row("ready", "gauge", (), "1 when /health/ready says 200."),
    Row("degraded", "gauge", (), "How many parts do not flow while the worker as a whole does (status names them)."),
    Row("cluster_up", "gauge", ("cluster",), "1 while the local or the cloud cluster answers this worker."),
    Row("lanes", "gauge", (), "Lanes that Faust has assigned to this worker and that are open."),
    Row("records_total", "counter", ("channel", "stage"), "Records" + _STAGED + "."),
    Row("envelopes_total", "counter", ("channel", "stage"), "Envelopes" + _STAGED + "."),
    Row(
        "bytes_total",
        "counter",
        ("channel", "stage"),
        "Bytes, of envelopes sealed or of batches opened," + _STAGED + ".",
    ),
    Row("last_delivery_timestamp_seconds", "gauge", ("channel",), "When something was delivered last, since 1970."),
    Row("duplicates_total", "counter", ("channel",), "Envelopes that were delivered before, dropped when opening."),
    Row("trimmed_total", "counter", ("channel",), "Envelopes of which a part was delivered before, cut when opening."),
    Row(
        "reseals_total",
        "counter",
        ("channel",),
        "Spans that were sealed again, or when opening requests for them: one for each try.",
    ),
    Row("refused_total", "counter", ("what", "reason"), "Envelopes and project statements refused, by Reason."),
    Row("quarantined_total", "counter", ("reason",), "Refused envelopes that members truly signed, kept still sealed."),
    Row("quarantine_left_out_total", "counter", (), "More of them, which were only counted: too many at a time."),
    Row("parked_total", "counter", (), "Times that an envelope was put off until its session is known."),
    Row("parked_sessions", "gauge", (), "Sessions that envelopes wait for, over all cloud partitions."),
    Row("source_partitions", "gauge", ("channel", "site", "topic", "state"), "Source partitions by their state."),
    Row(
        "stale_source_partitions",
        "gauge",
        ("channel", "site", "topic"),
        "Source partitions that are not known to be complete as of stale_after ago; opening only.",
    ),
    Row("topic_lag_offsets", "gauge", ("channel", "site", "topic"), "Source offsets not delivered yet, summed."),
    Row("topic_lag_worst_offsets", "gauge", ("channel", "site", "topic"), "The same of the worst source partition."),
    Row(
        "partition_lag_offsets",
        "gauge",
        ("channel", "site", "topic", "partition"),
        f"Source offsets not delivered yet; only while the worker has {MOST_PARTITIONS} source partitions at most.",
    ),
    Row(
        "partition_next_offset",
        "gauge",
        ("channel", "site", "topic", "partition"),
        f"The next source offset to deliver; only while the worker has {MOST_PARTITIONS} source partitions at most.",
    ),
    Row("session_age_seconds", "gauge", ("channel",), "Age of the newest session of the channel."),
    Row("session_readers", "gauge", ("channel",), "Readers that the session was granted to; sealing only."),
    Row("sessions", "gauge", ("channel",), "Sessions that this worker can open; opening only."),
    Row("credential_end_timestamp_seconds", "gauge", (), "When this worker's own credential ends, since 1970."),
    Row("in_flight_bytes", "gauge", (), "Bytes read and not yet delivered."),
    Row(
        "in_flight_limit_bytes", "gauge", (), "The bound on sealwire_in_flight_bytes (one oversized batch may pass it)."
    ),
    Row("retrying_partitions", "gauge", ("cluster",), "Partitions whose last write failed and is tried again."),
    Row("loop_lag_seconds", "gauge", (), "By how much the event loop was late at worst in the last minute."),
)


def encode(snapshot: Mapping[str, Any], accept: str = "") -> tuple[bytes, str]:
    """Give the exposition of a snapshot and its content type, in the format that an Accept header asks for."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Snapshot(snapshot))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class _Snapshot(Collector):
    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Give every family of METRICS, those without a sample too: HELP and TYPE are always there."""
        samples = _Samples(str(self._snapshot.get("direction", "")))
        _fill(samples, self._snapshot)
        yield from samples.families.values()


class _Samples:
    """The families of METRICS, and one way to add to them."""

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self.families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for row in METRICS:
            family = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
            name = (_NS + row.name).removesuffix("_total")
            self.families[row.name] = family(name, row.help, labels=("direction", *row.labels))

    def add(self, name: str, value: float | None, *labels: object) -> None:
        """Add a sample; None, of what is not known, adds nothing."""
        if value is not None:
            self.families[name].add_metric([self._direction, *map(str, labels)], float(value))


def _fill(samples: _Samples, told: Mapping[str, Any]) -> None:
    add = samples.add
    about = [str(told.get(name, "")) for name in ("project", "site", "identity")]
    add("build_info", 1, told.get("version", ""), platform.python_version(), *about)
    add("start_time_seconds", _seconds(told.get("since_ms")))
    add("ready", bool(told.get("ready")))
    add("degraded", len(told.get("degraded", ())))
    for cluster, up in told.get("clusters", {}).items():
        add("cluster_up", bool(up), cluster)
    add("lanes", len(told.get("lanes", ())))
    add("credential_end_timestamp_seconds", _seconds(told.get("credential_until_ms")))
    in_flight = told.get("in_flight", {})
    add("in_flight_bytes", in_flight.get("bytes"))
    add("in_flight_limit_bytes", in_flight.get("limit"))
    for cluster, count in told.get("retrying", {}).items():
        add("retrying_partitions", count, cluster)
    add("loop_lag_seconds", told.get("loop_lag_s"))
    add("parked_sessions", told.get("parked_sessions"))
    nothing = Tally().row()  # a rate over the first envelope of a channel would be missed without it
    quiet = {entry["channel"]: nothing for entry in told.get("channels", ())}
    _passed(add, {**quiet, **told.get("passed", {})})
    _refused(add, told)
    _channels(add, told.get("channels", ()))
    _partitions(add, told.get("partitions", ()))


def _passed(add: Callable[..., None], passed: Mapping[str, Any]) -> None:
    for channel, tally in passed.items():
        for stage in ("taken", "delivered"):
            for what, count in tally[stage].items():
                add(f"{what}_total", count, channel, stage)
        add("duplicates_total", tally["duplicates"], channel)
        add("trimmed_total", tally["trimmed"], channel)
        add("reseals_total", tally["reseals"], channel)
        add("last_delivery_timestamp_seconds", _seconds(tally["delivered_at_ms"]), channel)


def _refused(add: Callable[..., None], told: Mapping[str, Any]) -> None:
    """Every Reason from the start on, at 0: a rate over the first one would be missed otherwise."""
    for what in ("envelope", "statement"):
        counted = told.get(f"refused_{what}s", {})
        for reason in Reason:
            add("refused_total", counted.get(str(reason), 0), what, reason)
    add("parked_total", told.get("refused_envelopes", {}).get("parked", 0))
    quarantine = told.get("quarantine")
    if quarantine is not None:
        for reason in Reason:
            add("quarantined_total", quarantine["stored"].get(str(reason), 0), reason)
        add("quarantine_left_out_total", sum(quarantine["left_out"].values()))


def _channels(add: Callable[..., None], channels: Iterable[Mapping[str, Any]]) -> None:
    for entry in channels:
        age = entry.get("session_age_ms")
        add("session_age_seconds", None if age is None else age / 1000, entry["channel"])
        add("session_readers", entry.get("readers"), entry["channel"])
        add("sessions", entry.get("sessions"), entry["channel"])


def _partitions(add: Callable[..., None], rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    few = len({row["topic"] for row in rows}) <= MOST_TOPICS
    states: dict[tuple[str, str, str], Counter[str]] = {}
    lags: dict[tuple[str, str, str], list[int]] = {}
    stale: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        topic: tuple[str, str, str] = row["channel"], row["site"], row["topic"] if few else "*"
        states.setdefault(topic, Counter(dict.fromkeys(STATES, 0)))[row["state"]] += 1
        if "stale" in row:
            stale[topic] += bool(row["stale"])
        if row["lag"] is not None:
            lags.setdefault(topic, []).append(row["lag"])
        if len(rows) <= MOST_PARTITIONS:
            at = row.get("position", row.get("cursor"))
            add("partition_lag_offsets", row["lag"], *topic, row["partition"])
            add("partition_next_offset", at if at is None or at >= 0 else None, *topic, row["partition"])
    for topic, counts in states.items():
        for state, count in counts.items():
            add("source_partitions", count, *topic, state)
    for topic, count in stale.items():
        add("stale_source_partitions", count, *topic)
    for topic, found in lags.items():
        add("topic_lag_offsets", sum(found), *topic)
        add("topic_lag_worst_offsets", max(found), *topic)


def _seconds(ms: object) -> float | None:
    return ms / 1000 if isinstance(ms, int) else None
