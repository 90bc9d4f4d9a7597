from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.keys import policy

NAMES = st.text("abc", min_size=1, max_size=3)


@given(st.dictionaries(NAMES, NAMES), st.dictionaries(NAMES, st.lists(NAMES, max_size=3)))
def test_a_table_is_satisfied_by_exactly_those_with_one_good_value_for_every_attribute(
    attributes: dict[str, str], mapping: dict[str, list[str]]
) -> None:
    rows = policy.table(mapping)
    expected = bool(mapping) and all(attributes.get(name) in values for name, values in mapping.items())
    assert policy.satisfies(attributes.items(), rows, policy.ATTRIBUTES) is expected
    assert policy.well_formed(rows)


def test_anything_unclear_denies() -> None:
    anna = (("role", "member"),)
    assert policy.satisfies(anna, policy.MEMBERS, policy.ATTRIBUTES)
    assert not policy.satisfies(anna, (), policy.ATTRIBUTES)
    assert not policy.satisfies(anna, (("role", ()),), policy.ATTRIBUTES)
    assert not policy.satisfies(anna, policy.MEMBERS, 1)


@pytest.mark.parametrize("rows", [(("b", ("x",)), ("a", ("x",))), (("a", ("y", "x")),), (("a", ("x", "x")),)])
def test_a_table_has_one_order(rows: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    assert not policy.well_formed(rows)


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("*", "x", True),
        ("erp.*", "erp.a", True),
        ("erp.*", "erp", False),
        ("erp", "erp", True),
        ("erp", "erp.a", False),
    ],
)
def test_a_pattern_is_a_name_or_the_beginning_of_names(pattern: str, name: str, covered: bool) -> None:  # noqa: FBT001
    assert policy.pattern_matches(pattern, name) is covered
