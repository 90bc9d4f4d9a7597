"""Two sites' records compared: what is the same is quiet, and any single lie is told as what it is."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealwire.keys.comparison import Comparison, Finding, Kind, Taken
from sealwire.keys.digests import BLOCK, Blocks, Exported, record_digest
from sealwire.keys.finding import resolved
from sealwire.keys.history import Passed, Run
from sealwire.keys.reason import Misuse
from sealwire.keys.source import SourcePartition, Span

SOURCE = SourcePartition("orders", "berlin", "orders", bytes(16), 0)


def digest(number: int, salt: str = "") -> bytes:
    return hashlib.sha256(f"{number}{salt}".encode()).digest()


@dataclass
class Site:
    """Source records by offset, and how they were delivered: the spans of runs, and for each its digests."""

    offsets: list[int]
    spans: list[Span]
    digests: list[bytes]
    begin: int = 0  # of the export
    end: int = 0

    @property
    def exported(self) -> Exported:
        blocks = Blocks(self.begin)
        for offset, each in zip(self.offsets, map(digest, self.offsets), strict=True):
            if self.begin <= offset < self.end:
                blocks.take(offset, each)
        return Exported(SOURCE, Span(self.begin, self.end), blocks.close(self.end))

    def delivered(self) -> list[list[bytes]]:
        """The digests of each run, as they should be."""
        found: list[list[bytes]] = [[] for _ in self.spans]
        at = 0
        for offset in self.offsets:
            while at < len(self.spans) and offset >= self.spans[at].next:
                at += 1
            if at < len(self.spans) and self.spans[at].first <= offset:
                found[at].append(digest(offset))
        return found


def compare(site: Site, runs: list[list[bytes]], foreign: set[bytes] = frozenset()) -> Comparison:  # type: ignore[assignment]
    comparison, sink = Comparison(site.exported), 0
    for span, run in zip(site.spans, runs, strict=True):
        offsets = range(sink, sink + len(run))
        comparison.take(Run(span, Span(sink, sink + len(run))), Taken(offsets, run, [each in foreign for each in run]))
        sink += len(run) + 1
    comparison.close()
    every = {each for run in runs for each in run}
    extra = [each for finding in comparison.findings for each in finding.digests]
    once = [each for run in runs for each in run]
    for each in extra:
        once.remove(each)
    assert every >= set(once)
    comparison.findings = [resolved(finding, set(once)) for finding in comparison.findings]
    return comparison


@st.composite
def sites(draw: st.DrawFn, *, aligned: bool = True) -> Site:
    """Up to some thousand records with holes, delivered in runs of any size, from any offset on."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    end = draw(st.integers(2, 6 * BLOCK))
    density = draw(st.sampled_from([1.0, 0.999, 0.7, 0.05]))
    offsets = [offset for offset in range(end) if dice.random() < density] or [0]
    marks = {0, end} | {dice.randrange(end) for _ in range(draw(st.integers(0, 30)))}
    spans = [Span(*pair) for pair in pairwise(sorted(marks))]
    site = Site(offsets, spans, [], 0, end)
    if not aligned:
        site.begin = draw(st.integers(0, end // 3))
        site.end = draw(st.integers(site.begin, end))
        site.spans = spans[draw(st.integers(0, len(spans) // 3)) :]
    return site


@given(sites(aligned=False))
def test_what_is_the_same_has_no_finding_wherever_delivery_and_export_begin(site: Site) -> None:
    comparison = compare(site, site.delivered())
    assert comparison.findings == []
    covered = [offset for offset in site.offsets if site.begin <= offset < site.end]
    left = sum(any(each.span.first <= offset < each.span.next for each in comparison.left) for offset in covered)
    assert comparison.compared == len(covered) - left
    first, following = max(site.spans[0].first, site.begin), min(site.spans[-1].next, site.end)
    for each in comparison.left:  # nothing whole is left out: at most the block in which delivery begins or ends
        inside = Span(max(each.span.first, first), min(each.span.next, following))
        assert len(inside) < BLOCK


def places(runs: list[list[bytes]]) -> list[tuple[int, int]]:
    return [(at, inside) for at, run in enumerate(runs) for inside in range(len(run))]


def offset_of(site: Site, wanted: bytes) -> int:
    return next(offset for offset in site.offsets if digest(offset) == wanted)


@given(sites(), st.integers(0, 10**9), st.sampled_from(["altered", "missing", "duplicated", "reordered", "added"]))
@settings(max_examples=300)
def test_any_single_change_is_found_as_what_it_is(site: Site, choice: int, kind: str) -> None:
    runs = site.delivered()
    at, inside = places(runs)[choice % len(places(runs))]
    run, record = runs[at], runs[at][inside]
    match kind:
        case "altered":
            run[inside] = digest(choice, "other")
        case "missing":
            del run[inside]
        case "duplicated":
            run.insert(choice % (len(run) + 1), record)
        case "added":
            run.insert(inside, digest(choice, "strange"))
        case "reordered":
            to, there = places(runs)[(choice // 7) % len(places(runs))]
            if runs[to][there] == record:
                return
            run[inside], runs[to][there] = runs[to][there], record
    comparison = compare(site, runs)
    findings = comparison.findings
    assert findings != []
    if kind == "reordered":
        assert {finding.kind for finding in findings} == {Kind.REORDERED}
    else:
        (finding,) = findings
        assert finding.kind == kind
        if kind in {"altered", "missing"}:
            assert finding.span.first <= offset_of(site, record) < finding.span.next
            assert len(finding.span) <= BLOCK
        if kind in {"duplicated", "added"}:
            assert finding.records == len(finding.extra) == 1
    assert comparison.compared == len(site.offsets)
    assert comparison.left == []


@given(sites(), st.integers(0, 2**32))
def test_what_others_wrote_between_is_counted_and_no_fault(site: Site, seed: int) -> None:
    dice, runs, strange = random.Random(seed), site.delivered(), set()
    for run in runs:
        for _ in range(dice.choice([0, 0, 1, 5, 40])):
            each = digest(dice.randrange(10**9), "theirs")
            strange.add(each)
            run.insert(dice.randrange(len(run) + 1), each)
    comparison = compare(site, runs, strange)
    assert comparison.findings == []
    inside = sum(each in strange for run, span in zip(runs, site.spans, strict=True) if span for each in run)
    assert comparison.foreign <= inside


@given(sites(), st.integers(0, 2**32))
def test_a_site_that_has_other_records_altogether_matches_nowhere(site: Site, seed: int) -> None:
    runs = [[digest(seed, f"{at}/{inside}") for inside, _ in enumerate(run)] for at, run in enumerate(site.delivered())]
    comparison = compare(site, runs)
    assert {finding.kind for finding in comparison.findings} == {Kind.ALTERED}
    assert comparison.compared == len(site.offsets)


def held(comparison: Comparison) -> int:
    return len(comparison._stretch._digests)


def test_only_what_is_still_needed_is_held() -> None:
    end = 40 * BLOCK
    site = Site(list(range(end)), [Span(at, at + 700) for at in range(0, end - 700, 700)], [], 0, end)
    comparison, most = Comparison(site.exported), 0
    for span, run in zip(site.spans, site.delivered(), strict=True):
        comparison.take(Run(span, span), Taken(range(span.first, span.next), run))
        most = max(most, held(comparison))
    assert most < 2 * BLOCK


def test_a_long_stretch_of_other_records_is_told_piece_by_piece() -> None:
    end = 200 * BLOCK
    site = Site(list(range(end)), [Span(at, at + 1000) for at in range(0, end, 1000)], [], 0, end)
    comparison, most = Comparison(site.exported), 0
    for span in site.spans:
        other = [digest(offset, "other") for offset in range(span.first, span.next)]
        comparison.take(Run(span, span), Taken(range(span.first, span.next), other))
        most = max(most, held(comparison))
    comparison.close()
    assert most <= 64 * BLOCK
    assert [finding.kind for finding in comparison.findings] == [Kind.ALTERED] * 4
    assert comparison.compared == end


def test_strangers_in_every_block_of_a_long_run_are_no_fault() -> None:
    end = 100 * BLOCK
    offsets = [offset for offset in range(end) if offset % 9]  # with holes: no run tells where a block begins
    site = Site(offsets, [Span(0, end)], [], 0, end)
    strange, run = set(), []
    for at, each in enumerate(site.delivered()[0]):
        run.append(each)
        if at % 300 == 0:
            strange.add(digest(at, "theirs"))
            run.append(digest(at, "theirs"))
    comparison = compare(site, [run], strange)
    assert (comparison.findings, comparison.foreign) == ([], len(strange))


def holes(spans: list[Span]) -> Site:
    """Every third offset has a record, so that no run tells where a block begins."""
    end = spans[-1].next
    return Site([offset for offset in range(end) if offset % 3 == 0], spans, [], 0, end)


def test_records_that_are_missing_among_holes_are_found_one_after_the_other() -> None:
    site = holes([Span(at, at + 5000) for at in range(0, 40_000, 5000)])
    runs = site.delivered()
    for at in (1, 5):
        del runs[at][700]
    found = compare(site, runs).findings
    assert [(finding.kind, finding.span, finding.records) for finding in found] == [
        (Kind.MISSING, Span(7000, 8000), 1),
        (Kind.MISSING, Span(27_000, 28_000), 1),
    ]


def test_an_altered_record_in_the_first_whole_block_is_altered_wherever_delivery_began() -> None:
    site = holes([Span(500, 5000)])
    runs = site.delivered()
    runs[0][300] = digest(1, "other")
    comparison = compare(site, runs)
    assert [(finding.kind, finding.span) for finding in comparison.findings] == [(Kind.ALTERED, Span(1000, 2000))]
    assert [left.span for left in comparison.left] == [Span(0, 1000)]


def test_a_ledger_whose_runs_are_a_record_off_hides_nothing_and_accuses_nobody() -> None:
    site = holes([Span(at, at + 1000) for at in range(0, 9000, 1000)])
    runs = site.delivered()
    for before, after in pairwise(runs):
        after.insert(0, before.pop())
    assert compare(site, runs).findings == []


def test_several_changes_far_apart_are_as_many_findings() -> None:
    site = Site(list(range(20 * BLOCK)), [Span(at, at + 500) for at in range(0, 20 * BLOCK, 500)], [], 0, 20 * BLOCK)
    runs = site.delivered()
    runs[4][7] = digest(1, "other")
    del runs[10][3]
    runs[20].insert(9, runs[20][8])
    runs[30][5], runs[30][6] = runs[30][6], runs[30][5]
    found = compare(site, runs).findings
    assert [(finding.kind, finding.span) for finding in found] == [
        (Kind.ALTERED, Span(2000, 3000)),
        (Kind.MISSING, Span(5000, 6000)),
        (Kind.DUPLICATED, Span(10000, 11000)),
        (Kind.REORDERED, Span(15000, 16000)),
    ]
    assert [finding.records for finding in found] == [0, 1, 1, 0]


def test_a_record_that_was_moved_to_another_block_is_out_of_order_and_not_lost() -> None:
    site = Site(list(range(9 * BLOCK)), [Span(0, 9 * BLOCK)], [], 0, 9 * BLOCK)
    runs = site.delivered()
    runs[0].insert(7500, runs[0].pop(1500))
    assert [finding.kind for finding in compare(site, runs).findings] == [Kind.REORDERED] * 2


def test_a_run_whose_beginning_retention_took_is_compared_from_the_next_whole_block_on() -> None:
    end = 5 * BLOCK
    site = Site(list(range(end)), [Span(0, end)], [], 0, end)
    comparison = Comparison(site.exported)
    kept = site.delivered()[0][1234:]
    comparison.take(Run(Span(0, end), Span(0, end)), Taken(range(1234, end), kept), cut=True)
    comparison.close()
    assert comparison.findings == []
    assert [each.span for each in comparison.left] == [Span(0, 2 * BLOCK)]
    assert comparison.compared == 3 * BLOCK


def test_a_span_that_a_person_accepted_is_passed_and_not_missing() -> None:
    end = 3 * BLOCK
    site = Site(list(range(end)), [], [], 0, end)
    records = [digest(offset) for offset in range(end)]
    comparison = Comparison(site.exported)
    comparison.take(Run(Span(0, 1500), Span(0, 1500)), Taken(range(1500), records[:1500]))
    comparison.take(Run(Span(1500, 1600), passed=(Passed(Span(1500, 1600), "accepted by anna"),)), Taken())
    comparison.take(Run(Span(1600, end), Span(1500, end - 100)), Taken(range(1500, end - 100), records[1600:]))
    comparison.close()
    assert comparison.findings == []
    assert [(left.span, left.records, left.why) for left in comparison.passed] == [
        (Span(1500, 1600), 100, "accepted by anna")
    ]


def test_more_missing_than_was_passed_on_the_record_is_a_finding() -> None:
    end = 3 * BLOCK
    site = Site(list(range(end)), [], [], 0, end)
    records = [digest(offset) for offset in range(end)]
    comparison = Comparison(site.exported)
    comparison.take(Run(Span(0, 1500), Span(0, 1500)), Taken(range(1500), records[:1500]))
    comparison.take(Run(Span(1500, 1501), passed=(Passed(Span(1500, 1501), "the source lost it"),)), Taken())
    comparison.take(Run(Span(1501, end), Span(1500, end - 1)), Taken(range(1500, end - 2), records[1502:]))
    comparison.close()
    assert [(finding.kind, finding.records) for finding in comparison.findings] == [(Kind.MISSING, 1)]


def test_what_was_not_delivered_yet_or_not_exported_is_left_and_said_so() -> None:
    site = Site(list(range(4 * BLOCK)), [Span(0, 2500)], [], 0, 4 * BLOCK)
    comparison = compare(site, site.delivered())
    assert [(each.span, each.why) for each in comparison.left] == [(Span(2000, 4000), "not delivered yet")]
    nothing = Comparison(site.exported)
    nothing.close()
    assert [each.span for each in nothing.left] == [Span(0, 4000)]


def test_blocks_take_records_in_order_only() -> None:
    blocks = Blocks(5)
    blocks.take(1500, digest(1))
    with pytest.raises(Misuse):
        blocks.take(999, digest(2))
    with pytest.raises(Misuse):
        Blocks(5).take(4, digest(3))


def test_a_record_digest_depends_on_time_and_body_and_on_nothing_else() -> None:
    known = record_digest(7, b"\x02a\x02b\0")
    assert known == record_digest(7, b"\x02a\x02b\0")
    assert (
        len({known, record_digest(8, b"\x02a\x02b\0"), record_digest(7, b"\x02a\x02c\0"), record_digest(7, b"")}) == 4
    )


def test_findings_of_digests_and_totals_show_nothing_of_them() -> None:
    finding = Finding(Kind.ADDED, Span(0, 1), Span(0, 1), digests=(digest(1),), difference=5)
    assert digest(1).hex() not in repr(replace(finding, records=1))
    assert "difference" not in repr(finding)
