"""One mutant put to the tests: in a copy of the tree, in a process of its own that ends with it.

A process is forked from one that has pytest and the libraries loaded, so that it takes as long as its tests. Its time
is counted in CPU seconds: a busy machine kills no mutant.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cryptography.hazmat.primitives.hpke  # noqa: F401 -- loaded once, for all that are forked
import hypothesis
import msgspec.msgpack  # noqa: F401 -- the same
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("keys", "agents", "app", "tests", "README.md", "CHANGELOG.md", "pyproject.toml")
OTHER_CODE: Final = 99
OUTPUT: Final = "output.txt"
MEMORY: Final = 4 << 30
OPTIONS: Final = ("-x", "-q", "--hypothesis-profile=mutants", *(f"-pno:{name}" for name in ("cacheprovider", "xdist")))
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=30,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # an example that fails need not be a small one
)


class Ended(NamedTuple):
    """How tests ended: pytest's exit status, or the negative number of a signal, and after how many CPU seconds."""

    status: int
    seconds: float


def copy_tree(tree: Path) -> None:
    """Make a copy of the tree whose packages go by their names in ``tree/types``."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    (tree / "types/sealwire").mkdir(parents=True)
    for package in ("keys", "agents", "app"):
        (tree / "types/sealwire" / package).symlink_to(f"../../{package}")


@contextmanager
def changed(path: Path, source: str) -> Iterator[None]:
    """Put other source into a file and take its compiled form away; afterwards all is as it was, times included."""
    compiled = Path(cache_from_source(str(path)))
    for each in (path, compiled):
        each.rename(each.with_name(each.name + ".kept"))
    path.write_text(source, encoding="utf-8")
    try:
        yield
    finally:
        for each in (path, compiled):
            each.with_name(each.name + ".kept").replace(each)


def run(tree: Path, module: str, tests: tuple[str, ...], seconds: float) -> Ended:
    """Run tests in a copy of the tree, for at most so many CPU seconds. OTHER_CODE: they did not use its ``module``."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if not child:
        os._exit(_inside(tree, module, tests, seconds))
    _, status = os.waitpid(child, 0)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return Ended(os.waitstatus_to_exitcode(status), used)


def _inside(tree: Path, module: str, tests: tuple[str, ...], seconds: float) -> int:
    whole = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = os.open(tree / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    os.environ["CI"] = "true"
    sys.path.insert(0, str(tree / "types"))
    status = pytest.main([*OPTIONS, *tests])
    name = f"sealwire.{module.removesuffix('.py').replace('/', '.')}"
    used = sys.modules.get(name)
    if used is not None and Path(used.__file__ or "").resolve() != tree / module:
        return OTHER_CODE
    if used is None and status == pytest.ExitCode.OK:
        return OTHER_CODE
    return int(status)
