"""What `make mutants` lets survive is still in the code, and what it runs is still there."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "mutants"))

from mutant_scope import TESTS, excused, put_to

ROOT = Path(__file__).parents[2]


def functions(module: str) -> dict[str, list[str]]:
    """The lines, without their indent, of each function and class of a module; those of the whole under ""."""
    text = (ROOT / module).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    found = {"": lines}

    def below(node: ast.AST, name: str) -> None:
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.FunctionDef | ast.ClassDef):
                found[f"{name}{each.name}"] = lines[each.lineno - 1 : each.end_lineno]
                below(each, f"{name}{each.name}.")

    below(ast.parse(text), "")
    return found


def test_every_mutant_that_is_excused_is_of_a_line_that_stands_in_the_code_and_has_a_reason() -> None:
    gone = [
        f"{module} {function}: {line}"
        for module, function, whole, _ in excused()
        for line in whole.split(" / ")
        if line not in functions(module).get(function, [])
    ]
    assert gone == []
    assert all(len(why.split()) > 3 for why in excused().values())


@pytest.mark.parametrize("module", TESTS)
def test_what_mutants_are_put_to_is_there(module: str) -> None:
    assert (ROOT / module).is_file()
    for test in put_to(module):
        file, _, name = test.partition("::")
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
