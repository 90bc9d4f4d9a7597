"""``make mutants``: is there a test for each decision on trust, opening and continuity?

Each is changed, one at a time; some test must fail.

    python tests/mutants/mutating.py [keys/cursor.py ...]

Prints each mutant that survives, and for each module how many were killed of all that were made: an excuse counts as
none. One that makes no difference stands in excused.toml, with the reason. Exit status 0: none survived but those, at
least 90 % were killed, and no excuse was needless.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent))

import trial
from changes import Mutant, mutants
from mutant_scope import TESTS, excuse_of, excused, put_to
from trial import ROOT

BUILD: Final = ROOT / "build/mutants" / str(os.getpid())
ENOUGH: Final = 90  # percent
WORKERS: Final = 2


def tree_of_this_process() -> Path:
    """Give the copy of the tree that this worker changes."""
    return BUILD / str(multiprocessing.current_process()._identity[0] % WORKERS)


def try_out(task: tuple[Mutant, float]) -> tuple[Mutant, bool]:
    """Tell whether a mutant is killed. It may take ten times as long as the module as it is."""
    mutant, seconds = task
    sys.dont_write_bytecode = True
    tree = tree_of_this_process()
    with trial.changed(tree / mutant.module, mutant.source):
        ended = trial.run(tree, mutant.module, put_to(mutant.module), 10 * seconds)
    if ended.status == trial.OTHER_CODE:
        raise RuntimeError(f"the tests of {mutant.module} do not run the mutant")
    return mutant, ended.status != 0


def as_it_is(tree: Path, module: str) -> float:
    """Run a module's tests on it as it is, and once on one that cannot be imported; give the first one's seconds."""
    sys.dont_write_bytecode = False  # the trials only read what is compiled here
    ended = trial.run(tree, module, put_to(module), 600)
    if ended.status != 0:
        sys.exit(f"{(tree / trial.OUTPUT).read_text()}\nmutants: the tests of {module} fail on it as it is")
    with trial.changed(tree / module, "raise RuntimeError"):
        if trial.run(tree, module, put_to(module), 600).status == 0:
            sys.exit(f"mutants: the tests of {module} pass without it")
    return ended.seconds


def rate(count: Counter[str]) -> float:
    """Give the killed in percent of all that were made."""
    return 100 * count["killed"] / count.total()


def main(modules: list[str]) -> int:
    """Try all mutants of these modules, or of all in scope."""
    modules = modules or sorted(TESTS)
    shutil.rmtree(BUILD, ignore_errors=True)
    first = BUILD / "0"
    trial.copy_tree(first)
    tasks = []
    for module in modules:
        seconds = as_it_is(first, module)
        made = list(mutants(module, (ROOT / module).read_text(encoding="utf-8")))
        tasks += [(mutant, seconds) for mutant in made]
        print(f"mutants: {module}: {len(made)}, each at most {seconds:.1f} s of tests", flush=True)
    for number in range(1, WORKERS):
        shutil.copytree(first, BUILD / str(number), symlinks=True)
    excuses, needed = excused(), set()
    counts: dict[str, Counter[str]] = {module: Counter() for module in modules}
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        for mutant, killed in pool.imap_unordered(try_out, tasks):
            known = excuse_of(mutant)
            end = "killed" if killed else "excused" if known in excuses else "survived"
            counts[mutant.module][end] += 1
            if end == "excused":
                needed.add(known)
            elif end == "survived":
                print(mutant, flush=True)
    needless = [each for each in excuses if each[0] in modules and each not in needed]
    for module, function, line, _ in needless:
        print(f"needless excuse: {module} {function}\n    - {line}")
    total = sum(counts.values(), Counter[str]())
    for name, count in [*counts.items(), ("all", total)]:
        ends = " ".join(f"{end}={count[end]}" for end in ("killed", "excused", "survived"))
        print(f"mutants: {name}: made={count.total()} {ends} rate={rate(count):.1f}%")
    return int(total["survived"] > 0 or bool(needless) or rate(total) < ENOUGH)


if __name__ == "__main__":
    os.nice(19)
    sys.exit(main(sys.argv[1:]))
