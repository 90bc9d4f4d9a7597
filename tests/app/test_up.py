"""A node's workers are kept running, stopped together, and told no secret where others could read it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from sealwire.app import up
from sealwire.app.config import Node, load
from sealwire.app.faults import Failure
from sealwire.app.up import Patience, Supervisor, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_S = 20.0
QUICK = Patience(first=0.02, most=0.1, forgiven_after=60, grace=10)
# Not counted for coverage: its handler of SIGTERM is Python's, and a signal that comes just before a long sleep is only
# looked at after it. Without a handler the kernel ends the process at once.
UNCOUNTED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def worker(directory: Path, program: str, *, passphrase: str | None = None, name: str = "seal one") -> Worker:
    """Make a worker whose program finds the number of its run in `run`, and the directory in `here`."""
    start = f"""
    import os, pathlib, signal, sys, time
    here = pathlib.Path({str(directory)!r})
    with (here / 'runs').open('a') as runs: runs.write('x')
    run = (here / 'runs').stat().st_size
    """
    source = textwrap.dedent(start) + textwrap.dedent(program)
    return Worker(name, (sys.executable, "-c", source), UNCOUNTED, passphrase)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.01)


def supervise(workers: list[Worker], then: Callable[[], bool] | None = None, patience: Patience = QUICK) -> int:
    """Run workers until `then` is true and stop them; without it until none is left. Gives the exit code."""

    async def work() -> int:
        supervisor = Supervisor(workers, patience)
        running = asyncio.create_task(supervisor.run())
        if then is not None:
            await until(then)
            supervisor.stop()
        async with asyncio.timeout(DEADLINE_S):
            return await running

    return asyncio.run(work())


def runs(directory: Path) -> int:
    file = directory / "runs"
    return file.stat().st_size if file.exists() else 0


def test_a_worker_that_ends_is_started_again(tmp_path: Path) -> None:
    crashing = worker(tmp_path, "if run < 3: sys.exit(1)\ntime.sleep(60)")
    assert supervise([crashing], lambda: runs(tmp_path) == 3) == 0


def test_a_worker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    killed = worker(tmp_path, "if run < 2: os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)")
    assert supervise([killed], lambda: runs(tmp_path) == 2) == 0


def test_a_misconfigured_worker_is_not_started_again_and_ends_with_2(tmp_path: Path) -> None:
    assert supervise([worker(tmp_path, "sys.exit(2)")]) == 2
    assert runs(tmp_path) == 1


def test_a_misconfigured_worker_does_not_stop_the_other(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.mkdir()
    right.mkdir()
    other = worker(right, "if run < 4: sys.exit(1)\ntime.sleep(60)", name="open two")
    assert supervise([worker(wrong, "sys.exit(2)"), other], lambda: runs(right) == 4) == 2
    assert runs(wrong) == 1


def test_the_pause_doubles_from_half_a_second_to_thirty() -> None:
    assert [Patience().pause(failures) for failures in (1, 2, 3, 6, 7, 100)] == [0.2, 0.4, 0.8, 6.4, 12.8, 30]


def test_a_stop_is_passed_on_and_waited_for(tmp_path: Path) -> None:
    polite = worker(
        tmp_path,
        """
        def end(*_):
            (here / 'ended').write_text('x')
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        (here / 'ready').write_text('x')
        while True: time.sleep(0.05)
        """,
    )
    assert supervise([polite], (tmp_path / "ready").exists) == 0
    assert (tmp_path / "ended").exists()


def test_a_worker_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    stubborn = worker(
        tmp_path,
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (here / 'ready').write_text(str(os.getpid()))
        while True: time.sleep(60)
        """,
    )
    ready = tmp_path / "ready"
    assert supervise([stubborn], lambda: ready.exists() and bool(ready.read_text()), Patience(grace=0.1)) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(ready.read_text()), 0)


def test_signals_to_us_stop_the_workers(tmp_path: Path) -> None:
    async def work() -> int:
        running = asyncio.create_task(Supervisor([worker(tmp_path, "time.sleep(60)")], QUICK).run())
        await until(lambda: runs(tmp_path) == 1)
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(DEADLINE_S):
            return await running

    assert asyncio.run(work()) == 0


def test_a_passphrase_reaches_the_worker_at_every_start_and_stands_in_no_argument_or_variable(tmp_path: Path) -> None:
    reading = worker(
        tmp_path,
        """
        with os.fdopen(int(os.environ['SEALWIRE_PASSPHRASE_FD'])) as pipe: got = pipe.read()
        open_to_others = got in repr(sys.argv) + repr(dict(os.environ)) + (here / 'x').name
        (here / f'got{run}').write_text(f'{got} {open_to_others}')
        if run < 2: sys.exit(1)
        time.sleep(60)
        """,
        passphrase="correct horse",
    )
    assert "correct horse" not in repr(reading)
    second = tmp_path / "got2"
    assert supervise([reading], lambda: second.exists() and bool(second.read_text())) == 0
    assert (tmp_path / "got1").read_text() == second.read_text() == "correct horse False"


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_workers_end_when_we_are_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import asyncio, os, sys
        from sealwire.app.up import Supervisor, Worker
        child = "import os, pathlib, time; pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()) + '.'); time.sleep(60)"
        async def work():
            await Supervisor([Worker("seal one", (sys.executable, "-c", child), dict(os.environ))]).run()
        asyncio.run(work())
    """)  # noqa: E501
    pid = tmp_path / "pid"

    def gone() -> bool:
        try:
            os.kill(int(pid.read_text()[:-1]), 0)
        except ProcessLookupError:
            return True
        return False

    async def work() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=UNCOUNTED)
        await until(lambda: pid.exists() and pid.read_text().endswith("."))
        process.kill()
        await process.wait()
        await until(gone)

    asyncio.run(work())


def node(directory: Path, *extra: str) -> Node:
    path = directory / "node.yaml"
    path.write_text(
        "project: acme\nsite: berlin\nidentity: {seal: s, open: o}\nstate: state\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: a, seal: x, to: c.x}\n  - {channel: b, open: c.y, to: y}\n"
        + "".join(f"{line}\n" for line in extra)
    )
    found = load(path)
    assert isinstance(found, Node), found
    return found


def test_each_direction_is_a_worker_that_faust_runs(tmp_path: Path) -> None:
    sealing, opening = up.workers(node(tmp_path))
    assert (sealing.name, opening.name) == ("seal s", "open o")
    assert "sealwire.app.seal" in sealing.command
    assert "sealwire.app.mirror" in opening.command
    assert sealing.environment["SEALWIRE_NODE"] == str(tmp_path / "node.yaml")
    assert sealing.environment["MALLOC_TOP_PAD_"] == "16777216"
    assert sealing.passphrase is None


class Terminal:
    """Standard input that is a terminal, or is none."""

    def __init__(self, *, there: bool) -> None:
        self._there = there

    def isatty(self) -> bool:
        return self._there


def test_a_passphrase_is_asked_for_on_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = node(tmp_path, "vault: {passphrase: ask}")
    monkeypatch.setattr("sys.stdin", Terminal(there=True))
    assert [each.passphrase for each in up.workers(asking, lambda prompt: prompt)] == [
        "Passphrase of identity 's': ",
        "Passphrase of identity 'o': ",
    ]
    monkeypatch.setattr("sys.stdin", Terminal(there=False))
    with pytest.raises(Failure, match="no terminal to ask"):
        up.workers(asking, lambda prompt: prompt)
