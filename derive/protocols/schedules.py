r"""Greedy optimal controls: the value of a parameter that makes an objective grow fastest at each moment.

    progress(c) = d objective / dt = sum_x (d objective / d x) rhs_x(c),        d progress / d c = 0,  d^2 progress / d c^2 < 0.

The progress is written as a sum of monomials  a_i c^{e_i} exp(s_i c)  of the control c (powers P^c with a number c of steps
included). Two monomials without exponentials, or one with, have their stationary point in closed form,

    a_1 e_1 c^{e_1} + a_2 e_2 c^{e_2} = 0   ->   c = (-a_2 e_2 / (a_1 e_1))^{1/(e_1 - e_2)},        e/c + s = 0   ->   c = -e/s,

and any other progress has it as the root of an equation, which is kept. Stationarity and curvature are checked by differences
at random states. Over a horizon the best control is another one: `derive.protocols.pontryagin`. Imported by users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.fields.calculus import differentiate
from derive.indices import indexed as ix
from derive.indices.indexed import ONE, ZERO, Index, Node, add, arr, arrays, const, evaluate, fun, mul, power, replace, text
from derive.system import Assumption, Block, Flow, Reduction, Step, flow_of

SEED = 7_919
STATES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """The greedy value of a control.

    Attributes
    ----------
    control : str
    value : Node or None
        The control as an expression of the state and the parameters; None if it is a root only.
    equation : Node
        ``d progress / d control``, which vanishes at the greedy value.
    curvature : Node
        ``d^2 progress / d control^2``: negative where the value is a maximum.
    progress : Node
        Rate of change of the objective, as an expression of the control.
    system : Flow or None
        The system under its greedy control, which is an observable then; None if it is a root only.
    check : str
        At how many random states the value is a maximum.
    """

    control: str
    value: Node | None
    equation: Node
    curvature: Node
    progress: Node
    system: Flow | None
    check: str

    def at(self, values: Mapping[str, Any], bracket: tuple[float, float] | None = None) -> float:
        """The greedy value at a state; a root is searched for in ``bracket``.

        Raises
        ------
        InvalidSpec
            If a root needs a bracket, or the equation has one sign at both of its ends.
        """
        from derive.gaussian.quadrature import NUMPY

        if self.value is not None:
            return float(evaluate(self.value, values, {}, NUMPY))

        def slope(c: float) -> float:
            return float(evaluate(self.equation, {**values, self.control: c}, {}, NUMPY))

        if bracket is None or not slope(bracket[0]) * slope(bracket[1]) < 0:
            raise InvalidSpec(
                f"the greedy {self.control} has no closed form, and its equation has no change of sign in {bracket}; give two "
                "values of the control between which progress has its maximum"
            )
        low, high = bracket
        rising = slope(high) > 0
        while high - low > 1e-14 * max(abs(low), abs(high)) and low < (middle := (low + high) / 2) < high:
            low, high = (low, middle) if (slope(middle) > 0) == rising else (middle, high)
        return (low + high) / 2

    def to_sympy(self) -> sp.Expr:
        """The value as a SymPy expression.

        Raises
        ------
        UnsupportedNode
            If it is a root only.
        """
        from derive.indices.text import to_sympy

        if self.value is None:
            raise UnsupportedNode(
                f"the greedy {self.control} is a root of {text(self.equation)[:200]}; evaluate it with .at(...)"
            )
        return to_sympy(self.value, self.system.symbols if self.system else {})

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.control} with {text(self.equation)} = 0"
        return f"{self.control} = {text(self.value)}"


def greedy(system: Flow | Reduction, control: Any, objective: Any) -> Greedy:
    r"""The value of a parameter for which an objective grows fastest, as a function of the state.

        d/dc [ sum_x (d objective / d x) rhs_x(c) ] = 0

    Parameters
    ----------
    system : Flow or Reduction
        At index level, e.g. of `online_limit`.
    control : symbol
        A scalar parameter: a learning rate, a difficulty, the number of steps of an episode.
    objective : SymPy expression of the state, or name of an observable
        What is to grow; put a minus sign in front of an error.

    Returns
    -------
    Greedy
        The value, and the system under this control.

    Raises
    ------
    InvalidSpec
        If the control is no scalar parameter or counts the terms of a sum.
    UnsupportedNode
        If the progress is monotone in the control, so that the best value lies at a bound.
    CheckFailed
        If the value is a maximum at none of the random states.

    Examples
    --------
    >>> from derive import online_limit
    >>> from derive.library.episodes import rl_perceptron
    >>> flow = online_limit(rl_perceptron("all"))
    >>> best = greedy(flow, flow.symbols["eta_1"], flow.symbols["R"] / sp.sqrt(flow.symbols["Q"]))
    >>> best.check.split(",")[0]
    'a maximum at 3 of 12 random states'
    >>> [p.name for p in best.system.parameters]
    ['T', 'T_wstar']
    """
    system, name = flow_of("greedy", system), getattr(control, "name", control)
    _control(system, name)
    wanted = _objective(system, objective)
    rate = differentiate(wanted, lambda a: _rate(system, a))
    if rate == ZERO or name not in arrays(rate):
        raise UnsupportedNode(
            f"the rate of {text(wanted)[:120]} does not depend on {name}; choose another objective or control"
        )
    terms = monomials(rate, name)
    slope = derivative(terms, name) if terms is not None else differentiate(rate, lambda a: ONE if a.args[0] == name else ZERO)
    curve = differentiate(slope, lambda a: ONE if a.args[0] == name else ZERO)
    value = stationary(terms, name) if terms is not None else None
    check = _checked(system, name, value, rate, slope, curve)
    governed = None if value is None else _governed(system, name, value, wanted, check)
    return Greedy(control=name, value=value, equation=slope, curvature=curve, progress=rate, system=governed, check=check)


def _control(system: Flow, name: str) -> None:
    block = next((b for b in system.parameters if b.name == name), None)
    if block is None or block.shape:
        scalar = ", ".join(b.name for b in system.parameters if not b.shape) or "none"
        raise InvalidSpec(f"greedy: {name} is no scalar parameter of {system.name}; its scalar parameters are {scalar}")
    if any(not isinstance(e, Node) for e in system.rhs.values()):
        raise InvalidSpec(f"greedy: {system.name} is at matrix level; reduce it to scalar equations first")
    if any(_sums_over(e, name) for e in system.rhs.values() if isinstance(e, Node)):
        raise InvalidSpec(f"greedy: {name} is the number of terms of a sum, which is no smooth function of it; compare values")


def _sums_over(node: Node, family: str) -> bool:
    return (node.op == "sum" and node.args[0].family == family) or any(
        _sums_over(a, family) for a in node.args if isinstance(a, Node)
    )


def _objective(system: Flow, objective: Any) -> Node:
    from derive.indices.text import from_sympy

    if isinstance(objective, str):
        found = system.observables.get(objective)
        if not isinstance(found, Node):
            raise InvalidSpec(
                f"greedy: {objective!r} is no observable of {system.name}; it has {', '.join(system.observables)}"
            )
        return found
    node = from_sympy(objective)
    known = [b.name for b in (*system.state, *system.parameters)]
    unknown = [n for n in arrays(node) if n not in known]
    if unknown:
        raise InvalidSpec(f"greedy: the objective uses {unknown[0]}, which is no state or parameter of {system.name}")
    return node


def _rate(system: Flow, leaf: Node) -> Node:
    name, labels = leaf.args
    rhs = system.rhs.get(name)
    if not isinstance(rhs, Node):
        return ZERO
    return ix.substitute(rhs, dict(zip(system.block(name).indices, labels, strict=True)))


# ------------------------------------------------------------------------------------------------------------- monomials
Key = tuple[Fraction, tuple[tuple[Node, Fraction], ...]]
"""Exponent e of the control, and (base, slope) of exponentials ``base^(slope * control)``."""
Terms = dict[Key, Node]
_NONE: Key = (Fraction(0), ())


def monomials(node: Node, name: str) -> Terms | None:
    """Coefficients of ``c^e prod base^(s c)`` in a node; None if the control c stands elsewhere.

    >>> P, T = arr("P"), arr("T")
    >>> monomials(mul(T, fun("power", P, add(T, const(-1)))), "T")
    {(Fraction(1, 1), ((P, Fraction(1, 1)),)): P^(-1)}
    """
    if name not in arrays(node):
        return {_NONE: node} if node != ZERO else {}
    if node.op == "arr":
        return {(Fraction(1), ()): ONE}
    if node.op == "add":
        parts = [monomials(a, name) for a in node.args]
        return None if any(p is None for p in parts) else _sum([p for p in parts if p is not None])
    if node.op == "mul":
        out: Terms | None = {_NONE: ONE}
        for a in node.args:
            out = _times(out, monomials(a, name))
        return out
    if node.op == "sum":
        i = Index(f"~{node.height}", node.args[0].family)
        inner = monomials(ix.substitute(node.args[1], {node.args[0]: i}), name)
        if inner is None or any(i in base.free for key in inner for base, _ in key[1]):
            return None
        return {key: ix.sum_over(i, c) for key, c in inner.items()}
    if node.op == "pow":
        return _power(monomials(node.args[0], name), node.args[1])
    if node.op == "fun" and node.args[0] == "power":
        return _exponential(node.args[1], node.args[2], name)
    return None


def _sum(parts: list[Terms]) -> Terms:
    out: Terms = {}
    for part in parts:
        for key, c in part.items():
            out[key] = add(out.get(key, ZERO), c)
    return {key: c for key, c in out.items() if c != ZERO}


def _times(a: Terms | None, b: Terms | None) -> Terms | None:
    if a is None or b is None:
        return None
    return _sum([{_joined(k, m): mul(c, d)} for k, c in a.items() for m, d in b.items()])


def _joined(a: Key, b: Key) -> Key:
    slopes: dict[Node, Fraction] = {}
    for base, s in (*a[1], *b[1]):
        slopes[base] = slopes.get(base, Fraction(0)) + s
    return a[0] + b[0], tuple(sorted(((n, s) for n, s in slopes.items() if s), key=lambda x: x[0].order))


def _power(terms: Terms | None, e: Fraction) -> Terms | None:
    if terms is None:
        return None
    if len(terms) == 1:
        ((key, c),) = terms.items()
        return {(key[0] * e, tuple((b, s * e) for b, s in key[1])): power(c, e)}
    out: Terms | None = {_NONE: ONE}
    if e.denominator != 1 or not 0 < e <= 4:
        return None
    for _ in range(int(e)):
        out = _times(out, terms)
    return out


def _exponential(base: Node, exponent: Node, name: str) -> Terms | None:
    parts = monomials(exponent, name)
    if name in arrays(base) or parts is None or any(k not in (_NONE, (Fraction(1), ())) for k in parts):
        return None
    slope, rest = parts.get((Fraction(1), ()), ZERO), parts.get(_NONE, ZERO)
    if slope.op != "const":
        return None
    fixed = power(base, rest.args[0]) if rest.op == "const" else fun("power", base, rest)
    return {(Fraction(0), ((base, slope.args[0]),)): fixed}


def _speed(key: Key) -> Node:
    """s of ``exp(s c)``."""
    return add(*(mul(const(s), fun("log", base)) for base, s in key[1]))


def derivative(terms: Terms, name: str) -> Node:
    """Derivative of a sum of monomials by the control."""
    c = arr(name)
    out = []
    for key, a in terms.items():
        growth = mul(*(fun("power", base, mul(const(s), c)) for base, s in key[1]))
        out.append(mul(a, growth, add(mul(const(key[0]), power(c, key[0] - 1)), mul(_speed(key), power(c, key[0])))))
    return add(*out)


def stationary(terms: Terms, name: str) -> Node | None:
    """Where a sum of monomials has slope zero, if that is one expression; None if it is a root of an equation."""
    moving = [(k, a) for k, a in terms.items() if k != _NONE]
    if len(moving) == 1:
        (key, _), *_ = moving
        if not key[0] or not key[1]:
            raise UnsupportedNode(
                f"the progress is monotone in {name}, so the greedy value lies at the end of the range of {name}; bound it, or "
                "choose a control that also acts at second order"
            )
        return mul(const(-key[0]), power(_speed(key), -1))
    if len(moving) == 2 and not any(k[1] for k, _ in moving):
        (k, a), (m, b) = sorted(moving, key=lambda x: x[0][0])
        ratio = mul(const(-m[0] / k[0]), b, power(a, -1))
        return power(ratio, 1 / (k[0] - m[0]))
    return None


# ---------------------------------------------------------------------------------------------------------------- checks
def _checked(system: Flow, name: str, value: Node | None, rate: Node, slope: Node, curve: Node) -> str:
    """Stationarity by differences, and how often the value is a maximum."""
    from derive.gaussian.quadrature import NUMPY

    rng = np.random.default_rng(SEED)
    maxima, worst = 0, 0.0
    for _ in range(STATES):
        values = random_state(system, rng)
        with np.errstate(all="ignore"):
            c = values[name] if value is None else float(evaluate(value, values, {}, NUMPY))
            if not np.isfinite(c) or abs(c) < 1e-12:  # nothing moves, or rounding of terms that cancel
                continue
            h = 1e-3 * abs(c)
            low, here, high = (float(evaluate(rate, {**values, name: c + s * h}, {}, NUMPY)) for s in (-1, 0, 1))
            derived = float(evaluate(slope, {**values, name: c}, {}, NUMPY))
            bent = float(evaluate(curve, {**values, name: c}, {}, NUMPY))
        if not np.isfinite(high + low + here + bent):
            continue
        # differences of third order in h = 1e-3 c, against the size of second ones, and the derived slope against both
        scale = abs(high - here) + abs(low - here) + 1e-300
        error = abs((high - low) - 2 * h * derived) / scale
        worst = max(worst, error, abs(high - low) / scale if value is not None else 0.0)
        maxima += bent < 0
    if not worst < 0.05:
        raise CheckFailed(f"{system.name}: the greedy {name} is not stationary by differences ({worst:.2g}); please report")
    if value is not None and not maxima:
        raise CheckFailed(
            f"{system.name}: the stationary {name} is a maximum at none of {STATES} random states; it is the worst value, put "
            "a minus sign in front of the objective, or take the best end of the range"
        )
    if value is None:
        return f"a root of an equation, which equals differences of the progress to {worst:.0e}"
    return f"a maximum at {maxima} of {STATES} random states, stationary by differences to {worst:.0e} of second ones"


def random_state(system: Flow, rng: np.random.Generator, more: Sequence[Block] = ()) -> dict[str, Any]:
    """Overlaps of random vectors, if the system has them; other numbers between 1/2 and 5/2."""
    from derive.fields.rule import field_rule, overlaps_of
    from derive.online.values import flat_values, random_values

    out: dict[str, Any] = {}
    low = getattr(system.source, "lowered", None)
    if low is not None and low.limit is not None:
        out = flat_values(random_values(low, field_rule(system.source), rng), low)
        sizes = (*low.dims, *overlaps_of(low).names.values())
        out = {n: v for n, v in out.items() if n in sizes or np.ndim(v)}
    for b in (*system.state, *system.parameters, *more):
        if b.name not in out:
            sizes = tuple(int(out.setdefault(str(d), 2)) for d in b.shape)
            out[b.name] = rng.uniform(0.5, 2.5, sizes) if sizes else float(rng.uniform(0.5, 2.5))
    return out


def _governed(system: Flow, name: str, value: Node, wanted: Node, check: str) -> Flow:
    def put(e: Any) -> Any:
        return replace(e, lambda a: value if a.args == (name, ()) else a)

    sentence = f"{name} follows its greedy value: {text(wanted)[:160]} grows fastest at each time, not over a horizon."
    return system.replace(
        name=f"{system.name}_greedy_{name}",
        rhs={n: put(e) for n, e in system.rhs.items()},
        observables={**{n: put(e) for n, e in system.observables.items()}, name: value},
        parameters=tuple(b for b in system.parameters if b.name != name),
        assumptions=(*system.assumptions, Assumption(text=sentence, remedy="for a given horizon use optimal(...)")),
        steps=(*system.steps, Step(title=f"greedy {name}", detail=f"{name} = {text(value)[:400]}", check=check)),
    )


__all__ = ["Greedy", "derivative", "greedy", "monomials", "random_state", "stationary"]
