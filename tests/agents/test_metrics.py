"""What Prometheus is told: every figure of a snapshot under its name, and a bounded number of series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batch_made import some
from in_loop import until
from prometheus_client.parser import text_string_to_metric_families
from world import World, in_world

from sealwire.agents import metrics
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(snapshot: Mapping[str, Any]) -> Samples:
    text = metrics.encode(snapshot)[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def row(partition: int, **changes: Any) -> dict[str, Any]:
    made = {"channel": "orders", "site": "berlin", "topic": "orders", "partition": partition}
    return {**made, "state": "flowing", "lag": partition, "position": 10 + partition, **changes}


def snapshot(**changes: Any) -> dict[str, Any]:
    passed = {"envelopes": 2, "records": 30, "bytes": 4000}
    counts = {"duplicates": 1, "trimmed": 2, "reseals": 3}
    tally = {"taken": passed, "delivered": passed, **counts, "delivered_at_ms": 1_700_000_000_500}
    return {
        "direction": "seal",
        "identity": "s",
        "project": "acme",
        "site": "berlin",
        "version": "1.2.3",
        "since_ms": 1_700_000_000_000,
        "ready": True,
        "degraded": ["something"],
        "clusters": {"local": True, "cloud": False},
        "lanes": [0, 1],
        "channels": [{"channel": "orders", "readers": 3, "session_age_ms": 61_000}],
        "partitions": [row(0), row(1, state="held"), row(2, lag=None, position=-1)],
        "passed": {"orders": tally},
        "refused_envelopes": {"foreign": 3, "parked": 8},
        "refused_statements": {"outdated": 5},
        "quarantine": {"stored": {"misplaced": 7}, "left_out": {"misplaced": 2, "expired": 4}},
        "in_flight": {"bytes": 100, "limit": 1000},
        "retrying": {"local": 0, "cloud": 4},
        "credential_until_ms": 1_800_000_000_000,
        "loop_lag_s": 0.25,
        **changes,
    }


def test_every_metric_has_its_help_its_unit_and_its_type_before_there_is_anything_to_count() -> None:
    families = list(text_string_to_metric_families(metrics.encode({"direction": "open"})[0].decode()))
    shown = {family.name: family for family in families}
    for each in metrics.METRICS:
        family = shown["sealwire_" + each.name.removesuffix("_total")]
        assert family.type == each.kind, each.name
        assert family.documentation == each.help
        assert each.name.endswith("_total") is (each.kind == "counter")


def test_every_figure_of_the_snapshot_is_there() -> None:
    samples = scrape(snapshot())
    seal = {"direction": "seal"}
    orders = {**seal, "channel": "orders"}
    topic = {**orders, "site": "berlin", "topic": "orders"}
    for expected, name, labels in (
        (1, "ready", seal),
        (1, "degraded", seal),
        (1, "cluster_up", {**seal, "cluster": "local"}),
        (0, "cluster_up", {**seal, "cluster": "cloud"}),
        (2, "lanes", seal),
        (30, "records_total", {**orders, "stage": "taken"}),
        (2, "envelopes_total", {**orders, "stage": "delivered"}),
        (4000, "bytes_total", {**orders, "stage": "delivered"}),
        (1, "duplicates_total", orders),
        (2, "trimmed_total", orders),
        (3, "reseals_total", orders),
        (1_700_000_000.5, "last_delivery_timestamp_seconds", orders),
        (3, "refused_total", {**seal, "what": "envelope", "reason": "foreign"}),
        (5, "refused_total", {**seal, "what": "statement", "reason": "outdated"}),
        (8, "parked_total", seal),
        (7, "quarantined_total", {**seal, "reason": "misplaced"}),
        (0, "quarantined_total", {**seal, "reason": "expired"}),
        (6, "quarantine_left_out_total", seal),
        (2, "source_partitions", {**topic, "state": "flowing"}),
        (1, "source_partitions", {**topic, "state": "held"}),
        (0, "source_partitions", {**topic, "state": "waiting"}),
        (1, "topic_lag_offsets", topic),
        (1, "topic_lag_worst_offsets", topic),
        (1, "partition_lag_offsets", {**topic, "partition": "1"}),
        (11, "partition_next_offset", {**topic, "partition": "1"}),
        (61, "session_age_seconds", orders),
        (3, "session_readers", orders),
        (100, "in_flight_bytes", seal),
        (1000, "in_flight_limit_bytes", seal),
        (4, "retrying_partitions", {**seal, "cluster": "cloud"}),
        (1_800_000_000, "credential_end_timestamp_seconds", seal),
        (0.25, "loop_lag_seconds", seal),
    ):
        assert value(samples, f"sealwire_{name}", **labels) == expected, (name, labels)
    assert value(samples, "sealwire_partition_next_offset", **topic, partition="2") is None
    assert samples["process_resident_memory_bytes", ()] > 1_000_000


def test_stale_source_partitions_are_counted_beside_their_states_and_at_zero_before_any_is() -> None:
    rows = [row(0, stale=""), row(1, stale="silent"), row(2, state="held", stale="silent"), row(0, topic="b", stale="")]
    samples = scrape(snapshot(direction="open", partitions=rows))
    labels = {"direction": "open", "channel": "orders", "site": "berlin"}
    assert value(samples, "sealwire_stale_source_partitions", **labels, topic="orders") == 2
    assert value(samples, "sealwire_stale_source_partitions", **labels, topic="b") == 0
    assert value(samples, "sealwire_source_partitions", **labels, topic="orders", state="flowing") == 2
    sealing = scrape(snapshot())
    assert not any(name == "sealwire_stale_source_partitions" for name, _ in sealing)


def test_every_reason_is_at_zero_before_anything_is_refused() -> None:
    found = scrape(snapshot(refused_envelopes={}))
    reasons = {dict(labels)["reason"] for (name, labels) in found if name == "sealwire_refused_total"}
    assert reasons == {str(reason) for reason in Reason}


def test_a_channel_is_at_zero_before_anything_passed() -> None:
    found = scrape(snapshot(passed={}))
    assert value(found, "sealwire_records_total", direction="seal", channel="orders", stage="delivered") == 0
    assert value(found, "sealwire_last_delivery_timestamp_seconds", direction="seal", channel="orders") is None


def test_many_source_partitions_have_no_series_of_their_own() -> None:
    def series(count: int) -> int:
        samples = scrape(snapshot(partitions=[row(number) for number in range(count)]))
        assert value(
            samples, "sealwire_topic_lag_offsets", direction="seal", channel="orders", site="berlin", topic="orders"
        ) == sum(range(count))
        return sum(name.startswith("sealwire_partition_") for name, _labels in samples)

    assert series(metrics.MOST_PARTITIONS) == 2 * metrics.MOST_PARTITIONS
    assert series(metrics.MOST_PARTITIONS + 1) == 0


def test_many_topics_are_one() -> None:
    def topics(count: int) -> set[str]:
        samples = scrape(snapshot(partitions=[row(0, topic=f"t{number}", lag=1) for number in range(count)]))
        return {dict(labels)["topic"] for (name, labels) in samples if name == "sealwire_topic_lag_offsets"}

    assert len(topics(metrics.MOST_TOPICS)) == metrics.MOST_TOPICS
    assert topics(metrics.MOST_TOPICS + 1) == {"*"}


def test_open_metrics_is_given_to_whom_it_is_asked_by() -> None:
    body, content_type = metrics.encode(snapshot(), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@in_world
async def test_what_both_sides_count_is_what_passed(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    world.berlin.send(some(4, start=3))
    await until(lambda: len(world.paris.got()) == 7 and sealer.side.tallies["orders"].delivered.records == 7)
    world.envelopes.inject(world.envelopes.value(0))
    await until(lambda: mirror.side.tallies["orders"].duplicates == 1)
    for station in (sealer, mirror):
        told = {
            **station.side.snapshot(),
            "direction": station.settings.direction,
            "passed": station.side.tallies.rows(),
        }
        samples = scrape(told)
        labels = {"direction": station.settings.direction, "channel": "orders"}
        for stage in ("taken", "delivered"):
            assert value(samples, "sealwire_records_total", **labels, stage=stage) == 7
            assert value(samples, "sealwire_envelopes_total", **labels, stage=stage) == 2
        assert value(samples, "sealwire_topic_lag_offsets", **labels, site="berlin", topic="orders") == 0
