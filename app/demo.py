"""`sealwire demo`: the whole bridge before your eyes, on three embedded brokers, with every record checked."""

from __future__ import annotations

import itertools
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from sealwire.app import demo_check, demo_cloud, demo_records
from sealwire.app.demo_process import DemoFailed
from sealwire.app.demo_records import PARTITIONS, TOPICS, Script
from sealwire.app.demo_screen import Screen
from sealwire.app.demo_stage import SITES, Stage
from sealwire.app.demo_watch import Traffic
from sealwire.app.embedded import BrokerMissing
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure

if TYPE_CHECKING:
    from types import FrameType

    from sealwire.app.demo_check import Verdict

FOLLOWED: Final = 3
SAMPLES: Final = 64
LEAST_SAMPLE: Final = 8  # bytes: what is shorter may stand in random bytes by chance


@click.command()
@click.option(
    "--records",
    type=click.IntRange(min=1),
    help="How many records to send.  [default: 2000, or the file's]",
)
@click.option(
    "--input",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the lines of this file, one a record, instead of poems.",
)
@click.option(
    "--exit",
    "leave",
    is_flag=True,
    help="End by itself (as it does where there is no terminal to type at).",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep project, identities, YAML and logs in a new directory below this one.",
)
def demo(records: int | None, file: Path | None, keep: Path | None, *, leave: bool) -> int:
    """Show sealing and opening on three embedded brokers: no Java, no account, nothing left behind.

    Ends with 0 only if every record of site A stood at site B once, in order and unaltered.
    """
    script = demo_records.script(file, records)
    screen = Screen()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _asked_to_stop)
    screen.title()
    try:
        with Stage(screen.step, keep) as stage:
            verdict = _play(stage, screen, script, stay=not leave and sys.stdin.isatty())
    except BrokerMissing as missing:
        raise Failure(str(missing), code=CONFIGURATION) from None
    except DemoFailed as failed:
        screen.failed(str(failed), failed.tail)
        return RUNTIME
    except KeyboardInterrupt:
        screen.say("\nstopped; nothing runs on", "dim")
        raise
    if keep:
        screen.say(f"kept in {stage.directory}", "dim")
    screen.last(str(verdict))
    return 0 if verdict.good else RUNTIME


def _play(stage: Stage, screen: Screen, script: Script, *, stay: bool) -> Verdict:
    stage.build()
    screen.addresses(stage)
    traffic = Traffic(stage)
    try:
        lines = script.lines()
        for line in itertools.islice(lines, FOLLOWED):
            screen.views(traffic.follow(line))
        with screen.progress(script.count) as progress:
            sent_s, delivered_s = traffic.stream(lines, progress)
        if script.count > FOLLOWED:
            _rates(screen, script.count - FOLLOWED, sent_s, delivered_s)
        verdict = _check(stage, screen, script, traffic)
        if stay:
            typed = _typing(screen, script, traffic)
            verdict = _check(stage, screen, script, traffic) if typed else verdict
    finally:
        traffic.close()
    if not verdict.good:
        for worker in stage.workers:
            screen.failed(f"{worker.name} said last:", worker.tail())
    return verdict


def _rates(screen: Screen, count: int, sent_s: float, delivered_s: float) -> None:
    words = f"\n{count:,} records more: produced in {sent_s:.2f} s, delivered in {delivered_s:.2f} s"
    screen.say(f"{words} ({count / max(delivered_s, 0.001):,.0f} records a second from end to end, on this machine)")


def _check(stage: Stage, screen: Screen, script: Script, traffic: Traffic) -> Verdict:
    """Read all three clusters from their first record on, with clients that know nothing of what was sent."""
    with screen.step("an independent reader compares every record at both sites"):
        source = demo_check.read_log(stage.source.bootstrap, TOPICS, PARTITIONS, f"the reader at site {SITES[0]}")
        sink = demo_check.read_log(stage.sink.bootstrap, TOPICS, PARTITIONS, f"the reader at site {SITES[1]}")
        there = sum(len(log) for log in source.values())
        if there != traffic.produced:
            raise DemoFailed(
                stage.source.name,
                f"has {there} records of {traffic.produced}",
                stage.source.tail(),
            )
    with screen.step("every envelope is opened as the reader, and searched as a stranger"):
        stored = demo_cloud.read(stage.cloud.bootstrap)
        sealed = demo_cloud.count_sealed(stored, stage.cloud.bootstrap, stage.reader_state)
        samples = _samples(script)
        readable = stored.found(samples)
    screen.say(
        f"  the cloud holds {len(stored.envelopes):,} envelopes of {stored.size:,} bytes, for {traffic.bytes:,} bytes "
        f"of record keys, values and headers; {len(readable)} of {len(samples)} looked for can be read there",
        "dim",
    )
    if readable:
        raise DemoFailed("The cloud", f"can read {readable[0]!r}")
    return demo_check.compare(source, sink, sealed)


def _samples(script: Script) -> list[bytes]:
    each = max(1, script.count // SAMPLES)
    lines = itertools.islice(itertools.islice(script.lines(), 0, None, each), SAMPLES)
    return [sample for line in lines for sample in (line.value, line.record_key) if len(sample) >= LEAST_SAMPLE]


def _typing(screen: Screen, script: Script, traffic: Traffic) -> int:
    """Take lines from the terminal until Ctrl-D, and follow each; gives how many there were."""
    screen.say("\nType a line to see it travel; Ctrl-D ends.", "bold")
    for number in itertools.count():
        try:
            typed = input("> ")
        except EOFError:
            screen.say("")
            return number
        screen.views(traffic.follow(script.typed(number + 1, typed)))
    raise AssertionError


def _asked_to_stop(_number: int, _frame: FrameType | None) -> NoReturn:
    """Stop, and ask again until it is heard: what a finalizer is interrupted by is ignored."""
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    raise KeyboardInterrupt
