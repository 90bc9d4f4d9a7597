"""`make bench-quick`: what sealing and opening cost beside librdkafka consuming the same topic, on real Kafka.

Every repeat fills fresh topics, consumes them with librdkafka (R), seals them and opens them, one after the other, so
that each ratio compares figures of the same minute. A figure is records per CPU second of the one process, between the
moment when it has moved a tenth of the topic and the moment when the other cluster has acknowledged all of it; of R,
between its first record and its last. R takes 500 records a call, the cheapest way that librdkafka has: what is aimed
for is held against that. `ratio_poll` is against R taking them one by one. build/bench.json has it all for programs.

The sources have batches of 1 MB, of 16 kB (Java's default), or of one record each; and `slow path` is where the cloud
and the sink take only smaller batches, so that both sides take every one apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backlog import KINDS, PARTITIONS, Kind, fill
from bridge import Bridge, cloud_topic
from measure import Spent, median
from peer import mirror_maker

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE: Final = Path(__file__).resolve().parent
RESULT: Final = HERE.parents[1] / "build" / "bench.json"
REPEATS: Final = 3
RECORDS: Final = 300_000
FAUST_RECORDS: Final = 20_000
AT_ONCE: Final = 500  # records a call of R
PEAK_MB: Final = 250.0
STORED: Final = 1.01
TARGETS: Final = {
    "seal none": 0.50,
    "seal lz4": 0.70,
    "mirror none": 0.42,
    "mirror lz4": 0.62,
    "seal 16k": 0.55,
    "mirror 16k": 0.30,
    "seal one record": 0.25,
    "mirror one record": 0.20,
    "seal slow path": 0.03,
    "mirror slow path": 0.03,
}


@dataclass
class Figures:
    """What was measured, by row; `ratios` are of each repeat's own R, `polled` of its R one by one."""

    spent: dict[str, list[Spent]] = field(default_factory=lambda: defaultdict(list))
    ratios: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    polled: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stored: list[float] = field(default_factory=list)

    def add(self, row: str, spent: Spent, reference: Spent, polled: Spent) -> None:
        """Take one measurement of a row."""
        self.spent[row].append(spent)
        self.ratios[row].append(spent.per_cpu_s / reference.per_cpu_s)
        self.polled[row].append(spent.per_cpu_s / polled.per_cpu_s)

    def rows(self) -> list[dict[str, object]]:
        """Give the rows as build/bench.json has them."""
        found: list[dict[str, object]] = []
        for row, spent in self.spent.items():
            found.append(
                {
                    "row": row,
                    "ratio": round(median(self.ratios[row]), 3),
                    "ratio_poll": round(median(self.polled[row]), 3),
                    "records_per_cpu_s": round(median([each.per_cpu_s for each in spent])),
                    "records_per_s": round(median([each.per_wall_s for each in spent])),
                    "peak_mb": round(max(each.peak_mb for each in spent), 1),
                    "repeats": len(spent),
                }
            )
        if self.stored:
            found.append({"row": "stored per source byte", "ratio": round(max(self.stored), 4)})
        return found


def main() -> int:
    """Measure, print, write build/bench.json; 1 when something aimed for was missed and --strict asks for that."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--records", type=int, default=RECORDS, help="in each topic, at most")
    parser.add_argument("--kinds", default=",".join(kind.name for kind in KINDS), help="which sources, with commas")
    parser.add_argument("--no-faust", action="store_true", help="leave out Faust record by record")
    parser.add_argument("--mm2", action="store_true", help="have MirrorMaker 2 copy the same topics in plaintext, too")
    parser.add_argument("--strict", action="store_true", help="end with 1 when a row misses what is aimed for")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the rows are written")
    given = parser.parse_args()
    began = time.monotonic()
    kinds = [kind for kind in KINDS if kind.name in given.kinds.split(",")]
    figures = Figures()
    with Bridge(_say) as bridge:
        for repeat in range(1, given.repeats + 1):
            for kind in kinds:
                faust = repeat == 1 and kind is kinds[0] and not given.no_faust
                _measure(
                    bridge, figures, kind, repeat, given.records, faust=faust, peer=given.mm2 and not kind.max_bytes
                )
    rows = figures.rows()
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    missed = _table(rows)
    _say(f"{time.monotonic() - began:.0f} s; written to {given.json}")
    return 1 if missed and given.strict else 0


def _measure(bridge: Bridge, figures: Figures, kind: Kind, repeat: int, count: int, *, faust: bool, peer: bool) -> None:
    topic, count = f"{kind.name.replace(' ', '-')}.{repeat}", min(count, kind.most)
    bridge.make([topic], PARTITIONS, max_bytes=kind.max_bytes)
    fill(bridge.source.bootstrap, topic, kind, count, kind.values())
    reference, polled = _reference(bridge, topic, count, AT_ONCE), _reference(bridge, topic, count, 1)
    figures.add(f"R {kind.name}", reference, reference, polled)
    figures.add(f"R {kind.name} one by one", polled, reference, polled)
    with bridge.worker("seal", [topic]) as sealer:
        sealed = sealer.moved(topic, count)
    figures.add(f"seal {kind.name}", sealed, reference, polled)
    if not kind.max_bytes:  # else batches are made anew
        figures.stored.append(bridge.stored(bridge.cloud, cloud_topic(topic)) / bridge.stored(bridge.source, topic))
    with bridge.worker("open", [topic]) as mirror:
        opened = mirror.moved(topic, count)
    figures.add(f"mirror {kind.name}", opened, reference, polled)
    words = f"{topic}: R {reference.per_cpu_s:,.0f}, seal {sealed.per_cpu_s:,.0f}, mirror {opened.per_cpu_s:,.0f}"
    if faust:
        counted = _faust(bridge, topic, min(FAUST_RECORDS, count))
        figures.add("Faust record by record", counted, reference, polled)
        words += f", Faust record by record {counted.per_cpu_s:,.0f}"
    if peer:
        copied = mirror_maker(bridge, topic, count, PARTITIONS)
        figures.add(f"MirrorMaker 2 {kind.name}", copied, reference, polled)
        words += f", MirrorMaker 2 in plaintext {copied.per_cpu_s:,.0f}"
    _say(f"{words} records per CPU second")
    bridge.drop([topic])


def _reference(bridge: Bridge, topic: str, count: int, at_once: int) -> Spent:
    numbers = [str(number) for number in (PARTITIONS, count, at_once)]
    command = [sys.executable, str(HERE / "reference.py"), bridge.source.bootstrap, topic, *numbers]
    return _spent(subprocess.run(command, capture_output=True, text=True, check=True, timeout=150).stdout)


def _faust(bridge: Bridge, topic: str, count: int) -> Spent:
    command = [sys.executable, "-m", "faust", "--quiet", "-A", "faust_rows", "worker", "--loglevel", "warn"]
    names = {"BENCH_BOOTSTRAP": bridge.source.bootstrap, "BENCH_TOPIC": topic, "BENCH_COUNT": str(count)}
    environment = {**os.environ, **names, "PYTHONPATH": str(HERE), "FAUST_DATADIR": str(bridge.directory / "rows")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False, timeout=120)
    return _spent(done.stdout.strip().splitlines()[-1])


def _spent(line: str) -> Spent:
    records, cpu_s, wall_s = line.split()[:3]
    return Spent(int(records), float(cpu_s), float(wall_s))


def _table(rows: Iterable[dict[str, object]]) -> list[str]:
    """Print the rows beside what is aimed for; gives those that miss it."""
    missed = []
    _say(
        f"\n{'':24}{'ratio to R':>12}{'at least':>10}{'to one by one':>15}"
        f"{'k rec/CPU s':>13}{'k rec/s':>9}{'peak MB':>9}"
    )
    for row in rows:
        name, ratio = str(row["row"]), float(str(row["ratio"]))
        aim = TARGETS.get(name)
        bad = aim is not None and ratio < aim
        if "records_per_cpu_s" not in row:
            bad = ratio >= STORED
            _say(f"{name:24}{ratio:12.4f}{'below ' + str(STORED):>14}{'   MISSED' if bad else ''}")
        else:
            peak = float(str(row["peak_mb"]))
            bad = bad or (aim is not None and peak >= PEAK_MB)
            figures = [float(str(row[each])) / 1000 for each in ("records_per_cpu_s", "records_per_s")]
            _say(
                f"{name:24}{ratio:12.2f}{f'{aim:.2f}' if aim else '':>10}"
                f"{float(str(row['ratio_poll'])):15.2f}{figures[0]:13.0f}{figures[1]:9.0f}"
                f"{peak:9.0f}{'   MISSED' if bad else ''}"
            )
        missed += [name] if bad else []
    _say(f"{'peak memory of a worker':24}{f'below {PEAK_MB:.0f} MB':>26}")
    return missed


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
