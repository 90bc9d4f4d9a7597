"""FORMAT.md is enough: an opener that was written from it alone, without a line of sealwire, opens every vector."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import opener  # noqa: E402

FOLDER = HERE.parent / "vectors"
VECTORS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.txt"))
MODULES = ("canonical", "envelopes", "judging", "known", "opener", "statements", "suite")
ITS_LIBRARIES = {"blake3", "cryptography", "zstandard"}


@pytest.mark.parametrize("path", VECTORS)
def test_a_vector_does_what_it_says(path: str) -> None:
    vector = opener.parse((FOLDER / path).read_text())
    word, opened = opener.outcome(vector)
    assert [word] == vector["expect"]
    assert {name: vector[name] for name in opened} == {name: [value] for name, value in opened.items()}
    assert bool(opened) == (word == "open")


@pytest.mark.parametrize("module", MODULES)
def test_it_imports_nothing_but_the_standard_library_and_three_libraries(module: str) -> None:
    names = set()
    for node in ast.walk(ast.parse((HERE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add((node.module or "").split(".")[0])
        if isinstance(node, ast.Call):
            assert getattr(node.func, "id", "") not in {"__import__", "exec", "eval"}
    assert names - sys.stdlib_module_names - ITS_LIBRARIES <= set(MODULES)
    assert "importlib" not in names


def test_it_runs_alone_and_never_loads_sealwire() -> None:
    script = (
        "import sys, runpy; sys.path.insert(0, sys.argv[1]); sys.argv[:] = sys.argv[2:];"
        "sys.modules['sealwire'] = None;"  # importing it now fails
        "import opener; code = opener.main(sys.argv);"
        "print([name for name in sys.modules if name.startswith('sealwire.')], code)"
    )
    some = [str(FOLDER / path) for path in VECTORS if path.endswith(("/good.txt", "/one-batch.txt", "/trim.txt"))]
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script, str(HERE), *some], capture_output=True, text=True, check=True
    )
    assert ran.stdout.endswith("[] 0\n")
    assert ran.stdout.count("as it says: ") == len(some) > 10


def test_it_prints_what_it_made_of_a_vector_and_fails_where_that_is_something_else(tmp_path: Path) -> None:
    script = [sys.executable, str(HERE / "opener.py")]
    told = FOLDER / "envelope" / "one-batch.txt"
    ran = subprocess.run([*script, told], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(
        f"as it says: {told}: open\n    source: orders/berlin/orders.eu/2\n    span: 100 103\n"
    )
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(told.read_text().replace("expect: open", "expect: reject foreign"))
    ran = subprocess.run([*script, wrong], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split(":")[0]) == (1, "NOT reject foreign")
