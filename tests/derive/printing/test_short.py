"""Abbreviations, closed forms and long formulas as printed mean what the originals mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

import derive
from derive.catalog import load
from derive.indices.indexed import Index, Node, arr, evaluate, power, substitute
from derive.printing.closed import antiderivative, domain_text, sympy_latex, sympy_text
from derive.printing.document import LATEX_WIDTH, Document, Line, Section, _width, as_latex
from derive.printing.objects import describe
from derive.printing.short import Short, shorten
from derive.system import Block, ClosedForm, Flow

SIZES = {"K": 3, "M": 2}


def committee() -> Flow:
    return derive.online_limit(load("goldt_2019_teacher_student").model)


def state(rng: np.random.Generator) -> dict[str, object]:
    """Overlaps of random weights: a positive definite state, so that every root is real."""
    W, B = rng.normal(size=(3, 9)) / 3, rng.normal(size=(2, 9)) / 3
    v, A = rng.normal(size=3), rng.normal(size=2)
    return {"Q": W @ W.T, "R": W @ B.T, "T": B @ B.T, "v": v, "A": A, "eta": 0.7, "eta_v": 0.4, "sigma": 0.3, **SIZES}


FUNCTIONS = {"asin": math.asin, "pi": math.pi}


def table(node: Node, labels: tuple[Index, ...], values: dict[str, object]) -> np.ndarray:
    """An array of the node's values over its labels."""
    out = np.full([SIZES[i.family] for i in labels], np.nan)
    for at in np.ndindex(out.shape):
        try:
            out[at] = evaluate(node, values, dict(zip(labels, at, strict=True)), FUNCTIONS)
        except (ValueError, ZeroDivisionError):
            continue  # outside of the domain at equal labels that no equation asks for
    return out


def largest_change(short: dict[str, Node], names: tuple[Short, ...], flow: Flow) -> float:
    values = state(np.random.default_rng(3))
    full = {n: table(flow.rhs[n], flow.rhs[n].free, values) for n in short}  # type: ignore[union-attr, arg-type]
    for s in names:
        values[s.name] = table(s.body, s.labels, values)
    return max(float(np.abs(table(short[n], flow.rhs[n].free, values) - full[n]).max()) for n in short)  # type: ignore[union-attr]


def test_abbreviated_equations_have_the_values_of_the_equations() -> None:
    """Road 1: the derived right-hand sides; road 2: tables of the definitions, then the short equations."""
    flow = committee()
    short, names = shorten({n: e for n, e in flow.rhs.items() if isinstance(e, Node)})
    assert len(names) >= 5
    assert largest_change(short, names, flow) < 1e-12  # rounding of some hundred operations of order one
    at = next(n for n, s in enumerate(names) if len(s.labels) == 3)
    k, l, _ = names[at].labels
    wrong = Short(name=names[at].name, labels=names[at].labels, body=substitute(names[at].body, {k: l, l: k}))
    with np.errstate(invalid="ignore"):
        changed = largest_change(short, (*names[:at], wrong, *names[at + 1 :]), flow)
    assert math.isnan(changed) or changed > 1e-3  # the mutant, two labels exchanged, is far off or leaves the domain of a root


def test_the_committee_is_readable() -> None:
    text = describe(committee())
    equations = text.split("observables")[0]
    assert "\nwhere\n" in equations
    assert "c1[k] = 1 + Q[k,k]" in equations
    assert max(map(len, equations.splitlines())) < 240  # 565 without abbreviations
    assert "#" not in equations


def test_names_that_the_model_has_are_not_used() -> None:
    k = Index("k", "K")
    nodes = {"x": power(1 + arr("c1", k), 2) / (1 + arr("c1", k)) * (2 + arr("c1", k)) + power(2 + arr("c1", k), 3)}
    _, names = shorten(nodes, ("c1",))
    assert [s.name for s in names] == ["h1"]


def test_long_latex_is_broken_into_aligned_rows_that_hold_the_same_terms() -> None:
    terms = [rf"\frac{{a_{{{n}}} + b}}{{c - d}} \left\|x - y\right\|^{{2}}" for n in range(12)]
    made = as_latex(
        Document(title="", sections=(Section(heading="", lines=(Line(text="", latex="y = " + " + ".join(terms)),)),))
    )
    rows = made.splitlines()[1:-1]
    assert len(rows) > 1
    assert all(row.startswith(r"&\quad + ") for row in rows[1:])
    assert all(_width(row) <= LATEX_WIDTH + 10 for row in rows)  # the marks of alignment
    assert "".join(r.removesuffix(r" \\").replace(r"&\quad", "") for r in rows).replace(" ", "") == (
        "y&=" + "+".join(terms)
    ).replace(" ", "")


def logistic(sign: int = 1, p: int = 2) -> ClosedForm:
    u, s = arr("u"), arr("s")
    flow = Flow(
        name="mode",
        state=(Block(name="u"),),
        rhs={"u": u * s - sign * arr("d") * u**p},
        parameters=(Block(name="s"), Block(name="d")),
    )
    return derive.closed_form(flow)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_condition_for_no_blow_up_is_that_of_the_solution(sign: int) -> None:
    """Road 1: the printed condition; road 2: the solution's own values, which are NaN beyond a blow-up."""
    form = logistic(sign)
    condition = domain_text(form).split(" if ")[1].removesuffix(" >= 0")
    t = np.linspace(0, 200, 50)
    seen = set()
    for d, u0, s in [(1.0, 0.3, 0.5), (1.0, 2.0, 0.5), (-1.0, 0.3, 0.5), (-1.0, -0.3, 0.5), (1.0, -0.3, 0.5), (2.0, 0.3, -0.5)]:
        promised = float(sp.sympify(condition, {"d": d, "u0": u0})) >= 0
        survives = bool(np.isfinite(form.evaluate(t, {"u": u0}, {"s": s, "d": d})["u"]).all())  # type: ignore[misc]
        assert promised == survives  # these six starts without the promise all blow up, s > 0
        seen.add(promised)
    assert seen == {True, False}


def test_an_implicit_solution_is_shown_as_a_difference_of_one_function() -> None:
    """Road 1: the closed form; road 2: the two halves that are printed."""
    red = derive.reduce(derive.gradient_flow(derive.linear_network(depth=3)), (derive.Modes(), derive.Balanced()))
    form = derive.closed_form(red.system)
    found = antiderivative(form)
    assert found is not None
    F, u, u0 = found
    at = {"s": 0.7, "d": 0.9, "tau": 1.3, "u": 0.4, "u0": 0.1}
    values = {v: at[v.name] for v in form.solution["t"].free_symbols}
    difference = F.subs(values) - F.subs({**values, u: values[u0]})
    assert float(difference) == pytest.approx(float(form.solution["t"].subs(values)), rel=1e-12)  # rounding of some ten terms
    assert "t = F(u) - F(u0)" in describe(form)


def test_sums_show_positive_terms_first() -> None:
    s, d, u0, t, tau = sp.symbols("s d u0 t tau", positive=True)
    form = s / (d * (1 - (1 - s / (d * u0)) * sp.exp(-2 * s * t / tau)))
    assert sympy_text(form) == "s/(d*(1 - (1 - s/(d*u0))*exp(-2*s*t/tau)))"
    assert sympy_latex(1 - s / u0) == r"1 - \frac{s}{u_{0}}"
    assert sp.simplify(sp.sympify(sympy_text(form), {str(x): x for x in (s, d, u0, t, tau)}) - form) == 0


def test_reductions_are_named_by_what_they_reduce_to() -> None:
    text = describe(derive.derivation.derive_all(derive.linear_network(depth=2)))
    assert "\nreduction to aligned singular modes (proved)\n" in text
    assert "\nreduction to balanced factors (proved)\n" in text
    assert "_modes" not in text
