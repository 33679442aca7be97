r"""Which term of a derived equation disagrees with simulation: drift regression from bursts of direct SGD.

At states s the drift y_s of all order parameters is measured (`numerics.bursts`), with covariance V_s. The equation under test
is a sum of terms, dC/dalpha = sum_j t_j(C). If the coefficient of term j should be 1 + d_j and all else is right, the residual
r_s = y_s - sum_j t_j is d_j t_j plus noise, and

    z_j = sum_s t_j' V_s^-1 r_s / D_j,   D_j^2 = sum_s t_j' V_s^-1 t_j,   d_j = z_j / D_j +- 1 / D_j.

z_j is standard normal if the equations are right, whatever the correlations, so max_j |z_j| stays below Sidak's bound with the
stated probability; z_j^2 is the drop of the misfit r' V^-1 r that the correction of term j alone brings, so the largest one
names the term. The misfit itself (chi-squared) sees errors along none of the terms. Imported by users and by benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.fields.rule import FieldRule, field_rule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import ZERO, Node, add, arrays, evaluate, mul, power
from derive.online.limit import online_limit
from derive.protocols.courses import Course
from derive.spec.simulation_plan import plan as plan_of
from derive.system import Flow
from numerics.blame_result import Blame, Term, alike, limits
from numerics.blame_spots import draw_spots, same_states, sampled
from numerics.bursts import Drift, Spot, measure_drift, on_manifold
from numerics.controls import split_controls
from numerics.trajectory import Array

FALSE_ALARM = 1e-3
NULL = 1e-12  # relative eigenvalue of a correlation matrix: a direction in which nothing was drawn
EXACT = 1e-6  # relative error allowed there: rounding of a difference of overlaps, divided by dt


def blame(
    model: Any,
    system: Flow | Course | None = None,
    *,
    values: Mapping[str, Any] | None = None,
    states: int | Sequence[Spot] = 16,
    bursts: int = 4000,
    size: int = 32,
    seed: int = 0,
    candidates: Mapping[str, Node] | None = None,
    false_alarm: float = FALSE_ALARM,
) -> Blame:
    r"""Compare order-parameter equations with bursts of direct SGD, and name the term that is off.

        z_j = sum_s t_j' V_s^-1 (y_s - sum_i t_i) / sqrt(sum_s t_j' V_s^-1 t_j)

    Parameters
    ----------
    model : Model
        A one-pass rule; it alone is simulated. With a protocol every phase is judged by itself, with the values that it binds;
        a value that moves in time is taken at random times of its phase. Events and deletions are not looked at.
    system : Flow or Course, optional
        The equations under test, with the states of ``online_limit(model)``; by default these equations themselves. For a
        protocol a `Course`, or a flow that takes the place of the derived one in all phases that bind values only.
    values : mapping name -> number or array, optional
        Sizes, and parameters (numbers are scattered around their value from state to state). The rest is drawn.
    states : int or sequence of Spot
        A number of random states of order one (in each phase), or states of your own: overlaps and parameters by name.
    bursts, size, seed : int
        Bursts at each state; the smaller of the two sizes N and 4N.
    candidates : mapping equation -> Node, optional
        Sums of terms that an equation may lack, or have in another form. By default what the engine derives and ``system``
        does not contain in any multiple; simulation alone judges them.
    false_alarm : float
        Probability of blaming a right system.

    Returns
    -------
    Blame

    Raises
    ------
    InvalidSpec
        If the states of ``system`` are not those of the model, or a symbol has no value.

    Examples
    --------
    >>> from derive.indices.indexed import mul, const
    >>> from derive.library.teacher import teacher_student
    >>> model = teacher_student("linear", train="first", noise=False)
    >>> right = online_limit(model)
    >>> blame(model, right, values={"K": 2, "M": 1}, states=4, bursts=2000).passed
    True
    >>> first, second = right.rhs["R"].args
    >>> wrong = right.replace(rhs={**right.rhs, "R": first + mul(const(2), second)})
    >>> blame(model, wrong, values={"K": 2, "M": 1}, states=4, bursts=2000, candidates={}).culprit.node
    2*eta*v[k]*Sum_#0(A[#0]*T[#0,l])
    """
    if model.protocol:
        from numerics.blame_phases import blame_phases

        return blame_phases(
            model, system, values=values or {}, states=states, bursts=bursts, size=size, seed=seed, candidates=candidates,
            false_alarm=false_alarm,
        )  # fmt: skip
    if isinstance(system, Course):
        raise InvalidSpec(f"{model.name} has no protocol, so its equations are one Flow; pass one of the course's stretches")
    derived = online_limit(model) if system is None or candidates is None else None
    system = system or derived
    assert system is not None
    rule, data = field_rule(model), plan_of(model)
    same_states(system, rule, model.lowered.state)
    still, courses = split_controls(values or {})
    drawn = draw_spots(system, rule, still, states, size, seed, sampled(courses)) if isinstance(states, int) else tuple(states)
    spots, drifts = measure(data, rule, drawn, bursts=bursts, size=size, seed=seed)
    more = absent(system, derived) if candidates is None and derived is not None else candidates or {}
    return regress(system, spots, drifts, candidates=more, derived=derived, false_alarm=false_alarm)


def measure(
    data: Mapping[str, Any], rule: FieldRule, drawn: Sequence[Spot], *, bursts: int, size: int, seed: int
) -> tuple[tuple[Spot, ...], tuple[Drift, ...]]:
    """The states that a rule can be in, and the drifts there."""
    spots = tuple(on_manifold(data, rule, s, size=size, seed=seed) for s in drawn)
    return spots, tuple(
        measure_drift(data, rule, s, size=size, bursts=bursts, seed=seed + 104729 * k) for k, s in enumerate(spots)
    )


def terms_of(expression: Any) -> tuple[Node, ...]:
    """The terms of a right-hand side.

    >>> from derive.indices.indexed import arr
    >>> terms_of(arr("a") + arr("b") * 2)
    (a, 2*b)
    """
    if not isinstance(expression, Node):
        raise InvalidSpec("blame: the right-hand side is at matrix level; it takes order-parameter equations (online_limit)")
    return expression.args if expression.op == "add" else () if expression == ZERO else (expression,)


def absent(system: Flow, derived: Flow) -> dict[str, Node]:
    """Derived terms that the equations under test do not contain in any multiple."""
    out = {}
    for name, expression in derived.rhs.items():
        own = {_shape(t) for t in terms_of(system.rhs.get(name, ZERO))}
        lacking = [t for t in terms_of(expression) if _shape(t) not in own]
        if lacking:
            out[name] = add(*lacking)
    return out


def _shape(term: Node) -> Node:
    """A term without its rational coefficient."""
    if term.op == "mul" and term.args[0].op == "const":
        return mul(term, power(term.args[0], -1))
    return term


def regress(
    system: Flow,
    spots: tuple[Spot, ...],
    drifts: tuple[Drift, ...],
    *,
    candidates: Mapping[str, Node] | None = None,
    derived: Flow | None = None,
    false_alarm: float = FALSE_ALARM,
    memo: dict[Any, Array] | None = None,
) -> Blame:
    """The regression on drifts that have been measured; ``memo`` keeps values of terms at these states between calls.

    The equations must be in the states at which the drifts were measured. Terms that are one function there (two that
    differ by an exchange of labels, if there is one unit) have one score: those that ``derived`` does not hold come first then.
    """
    from scipy.stats import chi2, norm

    names = tuple(spots[0].state)
    memo = {} if memo is None else memo
    lines = _lines(system, names, candidates or {})
    score, weight = np.zeros(len(lines)), np.zeros(len(lines))
    misfit, freedom = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    for number, (spot, drift) in enumerate(zip(spots, drifts, strict=True)):
        for line in lines:
            for node in (line.node, line.instead):
                if node is not None and (number, line.equation, node) not in memo:
                    memo[number, line.equation, node] = on_entries(system, spot, names, line.equation, node)
        table = np.array([memo[number, x.equation, x.node] for x in lines])
        residual = drift.mean - table[[x.present for x in lines]].sum(axis=0)
        for row, x in zip(table, lines, strict=True):
            if x.instead is not None:
                row -= memo[number, x.equation, x.instead]
        for name, white in _whitening(system, spot, drift):
            r, seen = white @ residual, table @ white.T
            score += seen @ r
            weight += (seen * seen).sum(axis=1)
            misfit[name] += float(r @ r)
            freedom[name] += len(r)
    spread = np.sqrt(np.where(weight > 0, weight, 1.0))
    z = np.where(weight > 0, score / spread, 0.0)
    found = [replace(x, z=float(a), change=float(a / s), error=float(1 / s)) for x, a, s in zip(lines, z, spread, strict=True)]
    found.sort(key=lambda term: -abs(term.z))
    if derived is not None:
        found = _in_doubt(found, derived)
    bound, misfit_bound = limits(len(lines), len(names), false_alarm)
    first = found[0] if found else None
    return Blame(
        system=system.name,
        terms=tuple(found),
        bound=bound,
        misfit=max(_as_normal(misfit[n], freedom[n], chi2, norm) for n in names),
        misfit_bound=misfit_bound,
        unexplained=_as_normal(misfit[first.equation] - first.z**2, freedom[first.equation] - 1, chi2, norm) if first else 0.0,
        false_alarm=false_alarm,
        bursts=sum(d.bursts for d in drifts),
    )


def _as_normal(statistic: float, freedom: int, chi2: Any, norm: Any) -> float:
    """The score of a chi-squared statistic; beyond the range of floats the Wilson-Hilferty cube root."""
    if freedom < 1:
        return 0.0
    tail = float(chi2.sf(statistic, freedom))
    if tail > 1e-300:
        return float(norm.isf(tail))
    return float(((statistic / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / np.sqrt(2 / (9 * freedom)))


def _in_doubt(found: list[Term], derived: Flow) -> list[Term]:
    """Terms of the highest score, those first that the derived equations do not hold."""
    first = [t for t in found if t.equation == found[0].equation and alike(t.z, found[0].z)] if found else []
    first.sort(key=lambda t: t.present and t.node in terms_of(derived.rhs.get(t.equation, ZERO)))
    return [*first, *(t for t in found if t not in first)]


def on_entries(system: Flow, spot: Spot, names: tuple[str, ...], equation: str, term: Node) -> Array:
    """Values of a term on all entries of the state: zero outside its own equation."""
    known = {**spot.sizes, **spot.parameters, **spot.state}
    parts: list[Array] = []
    for name in names:
        shape = np.shape(spot.state[name])
        part = np.zeros(shape)
        if name == equation:
            labels = system.block(name).indices
            with np.errstate(all="ignore"):
                for at in np.ndindex(*shape):
                    part[at] = evaluate(term, known, dict(zip(labels, at, strict=True)), NUMPY)
        parts.append(part.ravel())
    return np.concatenate(parts)


def _lines(system: Flow, names: tuple[str, ...], candidates: Mapping[str, Node]) -> list[Term]:
    """The terms of the equations, the candidates, and the candidates in place of terms that are not among them."""
    out = [Term(equation=n, node=t) for n in names for t in terms_of(system.rhs[n])]
    for n, e in candidates.items():
        for c in terms_of(e):
            out.append(Term(equation=n, node=c, present=False))
            out += [Term(equation=n, node=c, present=False, instead=t) for t in terms_of(system.rhs[n]) if _alike(c, t)]
    return out


def _alike(one: Node, two: Node) -> bool:
    """Whether two terms are built of the same kinds of factors, so that one may be a miswritten other."""
    shared = [n for n in arrays(one) if n in arrays(two)]
    return 2 * len(shared) >= max(len(arrays(one)), len(arrays(two)))


def _whitening(system: Flow, spot: Spot, drift: Drift) -> list[tuple[str, Array]]:
    """For each equation rows w with w V w' = 1 that span what was drawn; one half of a symmetric array is left out.

    Equations are whitened one by one: through the correlation of its noise an error in one equation would else leak into the
    scores of another. Where nothing was drawn (a norm that each step restores) the residual must vanish: such an entry gets the
    error of rounding, and so blames its equation.
    """
    out, start = [], 0
    tiny = EXACT * max(1.0, float(np.abs(drift.mean).max()))
    for name, array in spot.state.items():
        upper = np.ones(np.shape(array), dtype=bool)
        if system.block(name).symmetric and upper.ndim == 2:
            upper = np.triu(upper)
        chosen = start + np.flatnonzero(upper.ravel())
        start += upper.size
        covariance = drift.covariance[np.ix_(chosen, chosen)]
        scale = np.sqrt(np.diag(covariance))
        still = scale <= tiny * NULL**0.5
        scale = np.where(still, tiny, scale)
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale) + np.diag(np.where(still, 1.0, 0.0)))
        good = values > NULL * len(values)
        white = np.zeros((int(good.sum()), len(drift.mean)))
        white[:, chosen] = (vectors[:, good] / np.sqrt(values[good])).T / scale
        out.append((name, white))
    return out


__all__ = ["Blame", "Term", "absent", "blame", "draw_spots", "measure", "on_entries", "regress", "terms_of"]
