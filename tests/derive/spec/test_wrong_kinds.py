"""Verbs that are given the wrong kind of object say what it is and what to pass instead."""

from __future__ import annotations

from typing import Any

import pytest

import codegen
import derive

MODEL = derive.linear_network(depth=2)
FLOW = derive.gradient_flow(MODEL)

OF_MODELS = ("gradient_flow", "online_limit", "field_rule", "plan", "describe", "course", "as_updates")
OF_SYSTEMS = (
    *("conserved", "closed_form", "fixed_points", "mirror_invariants", "along", "learning_times", "symmetric"),
    *("broken_invariants", "darboux_polynomials", "eliminate", "change_variables", "equivalent", "at_depth"),
)
MORE: dict[str, tuple[Any, ...]] = {
    "along": ({},),
    "broken_invariants": ("k",),
    "eliminate": (None, "b"),
    "change_variables": ({},),
    "equivalent": (None,),
    "at_depth": (3,),
    "symmetric": ((),),
    "as_updates": (0.1,),
}


def call(verb: str, first: object) -> None:
    getattr(derive, verb)(first, *MORE.get(verb, ()))


@pytest.mark.parametrize("verb", OF_MODELS)
@pytest.mark.parametrize("thing", [None, 3, "W"])
def test_what_is_no_model_is_named(verb: str, thing: object) -> None:
    with pytest.raises(derive.InvalidSpec, match=rf"{type(thing).__name__} is no model; pass a Model"):
        call(verb, thing)


@pytest.mark.parametrize("verb", OF_SYSTEMS)
@pytest.mark.parametrize("thing", [None, 3, "W"])
def test_what_is_no_system_is_named(verb: str, thing: object) -> None:
    with pytest.raises(derive.InvalidSpec, match=rf"{verb}: {type(thing).__name__} is no system of equations; pass the flow"):
        call(verb, thing)


@pytest.mark.parametrize("verb", OF_SYSTEMS)
def test_a_model_where_equations_belong_leads_to_the_verb_that_derives_them(verb: str) -> None:
    with pytest.raises(derive.InvalidSpec, match=r"derive its equations first, by gradient_flow\(model\) or online_limit"):
        call(verb, MODEL)


def test_equations_where_a_model_belongs_are_told_that_they_are_derived() -> None:
    with pytest.raises(derive.InvalidSpec, match="Flow is no model; its equations are derived already"):
        derive.gradient_flow(FLOW)


def test_an_entry_leads_to_its_model() -> None:
    entry = derive.catalog.load("saxe_2014_deep_linear")
    with pytest.raises(derive.InvalidSpec, match=r"Entry is no model; pass its model, entry\.model"):
        derive.gradient_flow(entry)
    with pytest.raises(derive.InvalidSpec, match=r"gradient_flow\(entry\.model\)"):
        codegen.compile(entry)


def test_a_reduction_is_as_good_as_its_system() -> None:
    """Roads: the invariants of the reduced system through the reduction, and through the system itself."""
    reduced = derive.reduce(FLOW, derive.Modes())
    assert [str(q) for q in derive.conserved(reduced)] == [str(q) for q in derive.conserved(reduced.system)]
    assert derive.conserved(reduced)
