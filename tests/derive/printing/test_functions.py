"""Printed equations define the functions that they use, unless every reader knows them."""

from __future__ import annotations

import re

import pytest

from derive import catalog, describe
from derive.derivation import full_flow
from derive.indices.indexed import Node

KNOWN = {"asin", "exp", "log", "sqrt", "abs", "sgn", "step", "relu", "tanh", "erf", "is_zero"}
INDEXED = [n for n in catalog.names() if catalog.load(n).kind in ("online", "population")]


def used(node: Node) -> set[str]:
    own = {str(node.args[0])} if node.op == "fun" else set()
    return own.union(*(used(a) for a in node.args if isinstance(a, Node)))


@pytest.mark.parametrize("name", INDEXED)
def test_every_function_of_a_system_is_known_or_defined(name: str) -> None:
    """Roads: functions found in the expressions; the section of the printed text."""
    flow = full_flow(catalog.load(name).model)
    found = set().union(*(used(e) for e in (*flow.rhs.values(), *flow.observables.values()) if isinstance(e, Node)))
    text = describe(flow, format="text")
    section = text.split("\nfunctions\n")[1].split("\n\n")[0] if "\nfunctions\n" in text else ""
    defined = set(re.findall(r"^  (\w+)[(\[]", section, flags=re.MULTILINE))
    assert {n.partition("[")[0] for n in found} - KNOWN == defined - KNOWN


def test_an_average_is_defined_by_its_first_example() -> None:
    text = describe(full_flow(catalog.load("mannelli_2024_tilting_the_odds", activation="relu").model), format="text")
    assert text.count("fields u Gaussian") == 1, "the others are read by analogy"
    assert "= average of relu(u1)*" in text
