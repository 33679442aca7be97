r"""`learning_times`: when states leave a saddle, to leading order in a small start.

The system  x_j' = x_j^p h(x) g_j(x),  all x_j of the order of u0 at first, passes from saddle to saddle. While the learned
states rest at a fixed point and the others are small, c_j = g_j there is frozen, and in the time s with ds = h dt

    Y_j' = -c_j,         Y = log(1/x) for p = 1,         Y = x^(1-p)/(p-1) for p > 1:

a race on straight lines, from saddle to saddle; the state whose Y reaches 0 is learned, and the rest starts from what is left.
Where h = 1 the time of a stage is Y/c. A common factor h that vanishes with x, homogeneous of degree m, gives a first time

    t = u0^(1-p-m) / c * Integral(dv v^(-p) / h(y(v)), v = 1 .. oo),     y_w = v,    y_j = x_j / u0 when x_w = v u0.

Everything is of leading order: relative errors vanish like 1/log(1/u0), or like a power of u0. Imported by users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.algebra.branches import real_solutions
from derive.errors import InvalidSpec, UnsupportedNode
from derive.reductions.ansatz import name_of
from derive.solutions.asymptotics_check import check_times
from derive.solutions.race import Race, error_rate, factor_powers, read_race, with_letters
from derive.solutions.stability import tidy
from derive.system import Assumption, Flow, Reduction, Step, flow_of

__all__ = ["LearningTimes", "learning_times"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningTimes:
    """Times at which states leave zero, to leading order.

    Attributes
    ----------
    system : Flow
    small : SymPy symbol
        The size of the start.
    order : tuple of str
        States in the order in which they are learned.
    times, lags : mapping state -> SymPy expression
        Time since the start, and since the state before. An integral stands unevaluated where it is a pure number.
    saddles : tuple of mappings
        The fixed point at the beginning of every stage.
    conditions : tuple of SymPy expressions
        Positive where the order is the stated one, as far as the assumptions do not say so.
    rate : "log" or number
        The relative error of the first time falls like 1/log(1/small), or like this power of small.
    """

    system: Flow
    small: sp.Symbol
    order: tuple[str, ...]
    times: Mapping[str, sp.Expr]
    lags: Mapping[str, sp.Expr]
    saddles: tuple[Mapping[str, sp.Expr], ...]
    conditions: tuple[sp.Expr, ...] = ()
    rate: Any = "log"
    assumptions: tuple[Assumption, ...] = ()
    steps: tuple[Step, ...] = ()
    checked: str = ""

    def ratio(self, later: Any, earlier: Any) -> sp.Expr:
        """Ratio of two times, to leading order.

        Raises
        ------
        InvalidSpec
            If a state is not among those learned.
        """
        for x in (later, earlier):
            if name_of(x) not in self.times:
                raise InvalidSpec(f"learning times of {self.system.name}: {name_of(x)} is none of {', '.join(self.times)}")
        a, b = self.times[name_of(later)], self.times[name_of(earlier)]
        return sp.factor(sp.cancel(sp.together(a / b)))

    def as_document(self) -> Any:
        """Document for `describe`."""
        from derive.printing.times import times_document

        return times_document(self)

    def as_data(self) -> dict[str, Any]:
        """Plain data for `describe(..., "json")`."""
        from derive.printing.times import times_data

        return times_data(self)

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")


def learning_times(
    system: Flow | Reduction,
    order: Sequence[Any] = (),
    *,
    small: Any = "u0",
    start: Mapping[Any, Any] | None = None,
    positive: Iterable[Any] = (),
    at: Mapping[Any, Any] | None = None,
) -> LearningTimes:
    """Learning times of a system of positive numbers from a small start, to leading order.

    Parameters
    ----------
    system : Flow or Reduction
        x_j' = x_j^p h(x) g_j(x) with one exponent p >= 1; of a family of modes, one mode.
    order : sequence of states
        In which they are learned; not needed for one state. The conditions for it are part of the result.
    small : symbol or name
        Size of the start.
    start : mapping state -> number
        Start in units of ``small``; 1 where nothing is said.
    positive, at : as in `fixed_points`

    Raises
    ------
    UnsupportedNode
        If the equations have another form, or a stage begins at none or several fixed points.
    InvalidSpec
        If the order is missing, or names what is no state.

    >>> import derive
    >>> flow = derive.gradient_flow(derive.linear_network(depth=3))
    >>> mode = derive.reduce(flow, (derive.Modes(white=True), derive.Balanced()))
    >>> found = learning_times(mode)
    >>> found.times["u"], found.rate
    (tau/(s*u0**(1/3)), 0.3333333333333333)
    """
    flow = flow_of("learning_times", system)
    race = read_race(flow, positive, at or {}, start or {})
    known = {x.name: x for x in race.states}
    wanted = [name_of(x) for x in order] or ([race.states[0].name] if len(race.states) == 1 else [])
    lost = [n for n in wanted if n not in known]
    if lost or not wanted or len(dict.fromkeys(wanted)) < len(wanted):
        raise InvalidSpec(
            f"learning times of {flow.name}: order={tuple(wanted)}; list states among {', '.join(known)}, each once, in the "
            "order in which they are learned"
        )
    eps = sp.Symbol(small, positive=True) if isinstance(small, str) else small
    used = {s.name for f in race.rhs for s in f.free_symbols}
    if eps.name in used:
        raise InvalidSpec(f"learning times of {flow.name}: {eps} is a symbol of the system; name the small start otherwise")
    stages = _run(race, [known[n] for n in wanted], eps)
    lags = {n: s.lag for n, s in zip(wanted, stages, strict=True)}
    total, times = sp.Integer(0), {}
    for n, e in lags.items():
        total = total + e
        times[n] = total if total.has(sp.Integral) else tidy(total)
    conditions = tuple(dict.fromkeys(c for s in stages for c in s.conditions))
    checked = check_times(race, wanted, lags, [s.saddle for s in stages], conditions, eps)
    rate = error_rate(race)
    said = f"leading order in {eps}: relative errors vanish like " + (
        "1/log(1/" + str(eps) + ")" if rate == "log" else f"{eps}^{rate:g}"
    )
    needs = tuple(Assumption(text=f"{c} > 0", remedy="give the states in another order") for c in conditions)
    step = Step(
        title="race from a small start",
        detail=f"x' = x^p h g(x) with p = {race.p}, h = {race.h}; rates are frozen at the saddle of every stage",
        check=checked,
    )
    return LearningTimes(
        system=flow,
        small=eps,
        order=tuple(wanted),
        times=times,
        lags=lags,
        saddles=tuple({x.name: v for x, v in place.items()} for place in (s.saddle for s in stages)),
        conditions=conditions,
        rate=rate,
        assumptions=(*flow.assumptions, Assumption(text=said, remedy="integrate the system"), *needs),
        steps=(*flow.steps, step),
        checked=checked,
    )


# The race -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    lag: sp.Expr
    saddle: Mapping[sp.Symbol, sp.Expr]
    conditions: tuple[sp.Expr, ...]


def _run(race: Race, order: list[sp.Symbol], eps: sp.Symbol) -> list[_Stage]:
    """Stage after stage, with Y in units of Y0: log(1/u0), or u0^(1-p)/(p-1)."""
    unit = sp.log(1 / eps) if race.p == 1 else eps ** (1 - race.p) / (race.p - 1)
    left = {x: sp.Integer(1) if race.p == 1 else race.start[x] ** (1 - race.p) for x in race.states}
    place: dict[sp.Symbol, sp.Expr] = dict.fromkeys(race.states, sp.Integer(0))
    out: list[_Stage] = []
    for n, w in enumerate(order):
        place = _rest(race, order[:n]) if n else place
        c = {x: tidy(race.g[x].xreplace(place)) for x in race.states if x not in order[:n]}
        conditions = [c[w], *(tidy(c[w] * left[x] - c[x] * left[w]) for x in c if x != w)]
        if any(race.signs.sign(e) in (-1, 0) for e in conditions):
            raise UnsupportedNode(
                f"learning times of {race.name}: {w} is not number {n + 1} under these assumptions, because "
                f"{next(e for e in conditions if race.signs.sign(e) in (-1, 0))} is not positive; give another order"
            )
        early = n == 0 and race.h != 1
        lag = _first(race, w, c, eps) if early else unit * tidy(left[w] / (c[w] * race.h.xreplace(place)))
        spent = tidy(left[w] / c[w])
        left = {x: tidy(left[x] - c[x] * spent) for x in c if x != w}
        out.append(_Stage(lag=lag, saddle=place, conditions=tuple(e for e in conditions if race.signs.sign(e) is None)))
    return out


def _first(race: Race, w: sp.Symbol, c: Mapping[sp.Symbol, sp.Expr], eps: sp.Symbol) -> sp.Expr:
    """The first time where a common factor vanishes with the states."""
    v = sp.Symbol("v", positive=True)
    q = 1 - race.p
    y: dict[sp.Symbol, sp.Expr] = {}
    for x in race.states:
        a, first = race.start[x], race.start[w]
        if race.p == 1:
            y[x] = a * v ** tidy(c[x] / c[w])
        else:
            y[x] = (a**q - tidy(c[x] / c[w]) * first**q * (1 - v**q)) ** (1 / q)
    y[w] = race.start[w] * v
    h = race.h.xreplace(y)
    return eps ** (q - race.degree) / c[w] * race.start[w] ** q * sp.Integral(v**-race.p / h, (v, 1, sp.oo))


def _rest(race: Race, learned: Sequence[sp.Symbol]) -> dict[sp.Symbol, sp.Expr]:
    """The fixed point with exactly these states learned."""
    off = {x: sp.Integer(0) for x in race.states if x not in learned}
    real = {x: sp.Symbol(x.name, real=True) for x in learned}
    equations, more = [], {}
    for x in learned:
        e, letters = with_letters(race.g[x].xreplace(off))
        more.update(letters)
        e = sp.fraction(sp.together(e))[0]
        equations.append(sp.Mul(*(b for b, n in factor_powers(e) if n > 0 and b.has(*learned))))
    equations += [r**q - b for r, (b, q) in more.items()]
    if any(not sp.expand(e).is_polynomial(*learned, *more) for e in equations):
        raise UnsupportedNode(f"learning times of {race.name}: {equations[0]} is no polynomial; the next saddle is not found")
    real |= {r: sp.Symbol(r.name, real=True) for r in more}
    solved, _ = real_solutions(
        race.name, [sp.expand(e.xreplace(real)) for e in equations], tuple(real.values()), race.signs, tuple(real.values())
    )
    found = [s for s in solved if not s.free and all(v != 0 for v in s.values.values())]
    if len(found) != 1:
        raise UnsupportedNode(
            f"learning times of {race.name}: after {', '.join(map(str, learned))} there are {len(found)} fixed points with "
            f"these states learned, one is needed; state more signs by positive="
        )
    return {**off, **{x: found[0].values[real[x]] for x in learned}}
