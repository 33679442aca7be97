"""`fixed_points`: the rest states of a reduced system, exactly, with the spectrum of the Jacobian and the loss there.

    f(x*; p) = 0,        J = df/dx (x*),        det(lam I - J) = 0.

The right-hand sides are polynomials of few numbers (also in roots of them), solved by branching over factors
(`derive.algebra.branches`). For a family of modes the points of one mode are listed: with k of them r modes have k^r rest
states. Conserved quantities make continua, which come out with free states. Every answer is checked at random parameters
(`derive.rest_states.fixed_check`), and so is that no point is missing. Imported by users.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from derive.algebra.branches import real_solutions
from derive.algebra.radicals import rooted, roots_in
from derive.algebra.sign_assumptions import Signs, read_signs
from derive.errors import UnsupportedNode
from derive.indices.indexed import Index, Node, add, arrays, mul, substitute
from derive.reductions.scalar import ScalarSystem, to_scalar
from derive.rest_states.fixed_check import check_points
from derive.solutions.stability import Stability, stability, tidy
from derive.system import EMPTY, Assumption, Flow, Reduction, Step, flow_of

__all__ = ["FixedPoint", "FixedPoints", "fixed_points"]

MOST = 6  # numbers in a system; 2^6 supports are visited


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """One rest state, or a continuum of them.

    Attributes
    ----------
    at : mapping state name -> SymPy expression
        In the parameters and the free states.
    free : tuple of str
        States that may have any value: the points form a continuum.
    exists : tuple of SymPy expressions
        Positive where the point is real, as far as the assumptions do not say so.
    nonzero : tuple of SymPy expressions
        In free states; they must not vanish.
    mirrored : tuple of str
        States whose sign may be flipped: the equations do not change, so the mirror images are fixed points too.
    stability : Stability or None
        None if the Jacobian is not finite there.
    observables : mapping name -> SymPy expression
        Values at the point (for modes: the part of one mode).
    """

    at: Mapping[str, sp.Expr]
    free: tuple[str, ...] = ()
    exists: tuple[sp.Expr, ...] = ()
    nonzero: tuple[sp.Expr, ...] = ()
    mirrored: tuple[str, ...] = ()
    stability: Stability | None = None
    observables: Mapping[str, sp.Expr] = field(default_factory=lambda: EMPTY)

    @property
    def kind(self) -> str:
        """Stable, unstable, saddle, neutral, degenerate, undecided, or singular where there is no Jacobian."""
        return "singular" if self.stability is None else self.stability.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoints:
    """All rest states of a system; iterates over `FixedPoint`.

    Attributes
    ----------
    system : Flow
    points : tuple of FixedPoint
    family : str
        Name of the index set if these are the points of one mode out of it.
    assumptions, steps : tuples
    checked : str
    """

    system: Flow
    points: tuple[FixedPoint, ...]
    family: str = ""
    assumptions: tuple[Assumption, ...] = ()
    steps: tuple[Step, ...] = ()
    checked: str = ""

    def __iter__(self) -> Iterator[FixedPoint]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, n: int) -> FixedPoint:
        return self.points[n]

    def as_document(self) -> Any:
        """Document for `describe`."""
        from derive.printing.fixed import fixed_document

        return fixed_document(self)

    def as_data(self) -> dict[str, Any]:
        """Plain data for `describe(..., "json")`."""
        from derive.printing.fixed import fixed_data

        return fixed_data(self)

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")


def fixed_points(system: Flow | Reduction, *, positive: Iterable[Any] = (), at: Mapping[Any, Any] | None = None) -> FixedPoints:
    """Real fixed points of a system of few numbers, with stability and observables.

    Parameters
    ----------
    system : Flow or Reduction
        Of numbers, or of one family of modes; right-hand sides polynomial in the states or in roots of them.
    positive : iterable of symbols, names, or SymPy expressions of the parameters
        Assumed positive, on top of what the symbols say: they decide which roots are real, and stability.
    at : mapping parameter -> number or expression of the parameters
        Substituted first, for instance a conserved value: ``{"c0": 0}``.

    Raises
    ------
    UnsupportedNode
        If the system is no system of at most six numbers, is not polynomial, or needs roots of degree three or more.
    CheckFailed
        If a point does not survive the check, or one is missing.

    >>> import derive
    >>> flow = derive.gradient_flow(derive.linear_network(depth=2))
    >>> mode = derive.reduce(flow, (derive.Modes(white=True), derive.Balanced()))
    >>> for point in fixed_points(mode):
    ...     print(dict(point.at), point.kind, point.stability.eigenvalues, dict(point.observables))
    {'u': 0} unstable ((2*s/tau, 1),) {'loss': 0}
    {'u': s} stable ((-2*s/tau, 1),) {'loss': -s**2/2}
    """
    flow = flow_of("fixed_points", system)
    scalar, observables, family = _scalars(flow)
    if len(scalar.states) > MOST:
        raise UnsupportedNode(
            f"fixed points of {flow.name}: {len(scalar.states)} states are more than {MOST}; reduce the system first"
        )
    frame = _Frame.of(scalar, observables, positive, at or {})
    equations, poles = zip(*(frame.polynomial(f) for f in frame.rhs), strict=True)
    solutions, generic = real_solutions(flow.name, equations, frame.unknowns, frame.signs, frame.nonnegative)
    sides = [frame.state_of[g] for g in frame.nonnegative]
    even = _mirrors(frame)
    points = []
    for s in solutions:
        values = {frame.state_of[g]: frame.restored(v ** frame.power_of(g)) for g, v in s.values.items()}
        if any(_vanishes(p, values) for some in poles for p in some):
            continue  # a zero of the numerator that is cancelled by a pole
        if any(_leads_negative(values[x]) for x in even if x in values):
            continue  # the mirror image of a point that is listed
        signs = frame.signs.assuming(*s.positive)
        free = tuple(frame.state_of[g] for g in s.free)
        points.append(
            FixedPoint(
                at={x.name: values[x] for x in frame.states if x in values},
                free=tuple(x.name for x in free),
                exists=s.positive,
                nonzero=tuple(frame.restored(e) for e in s.nonzero),
                mirrored=tuple(x.name for x in even if x in values and values[x] != 0),
                stability=stability(frame.rhs, frame.states, values, signs, continuum=len(free), one_sided=sides),
                observables={n: tidy(e.xreplace(values)) for n, e in frame.observables.items()},
            )
        )
    checked = check_points(flow.name, frame.rhs, frame.states, points, frame.signs, sides)
    return FixedPoints(
        system=flow,
        points=tuple(points),
        family=family,
        assumptions=(*flow.assumptions, *_assumed(frame, generic)),
        steps=(
            *flow.steps,
            Step(title="fixed points", detail="every factor of every rate is set to zero in turn", check=checked),
        ),
        checked=checked,
    )


def _mirrors(frame: _Frame) -> tuple[sp.Symbol, ...]:
    """States whose sign may be flipped by itself."""
    out = []
    for x in frame.states:
        turned = [
            sp.expand(f.xreplace({x: -x}) * (-1 if y == x else 1) - f) for y, f in zip(frame.states, frame.rhs, strict=True)
        ]
        if x not in [frame.state_of[g] for g in frame.nonnegative] and all(sp.cancel(e) == 0 for e in turned):
            out.append(x)
    return tuple(out)


def _leads_negative(e: sp.Expr) -> bool:
    """One of x and -x, by the sign that is printed in front of a root."""
    return e.could_extract_minus_sign() and e.func is not sp.Add


def _vanishes(e: sp.Expr, values: Mapping[sp.Symbol, sp.Expr]) -> bool:
    return bool(sp.cancel(sp.together(e.xreplace(dict(values)))) == 0)


# Reading the system ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The equations in real states, with roots of states replaced by new unknowns."""

    name: str
    states: tuple[sp.Symbol, ...]
    rhs: tuple[sp.Expr, ...]
    roots: Mapping[sp.Symbol, tuple[sp.Symbol, int]]
    nonnegative: tuple[sp.Symbol, ...]
    signs: Signs
    symbols: tuple[sp.Symbol, ...]
    observables: Mapping[str, sp.Expr]

    @classmethod
    def of(
        cls, scalar: ScalarSystem, observables: Mapping[str, sp.Expr], positive: Iterable[Any], at: Mapping[Any, Any]
    ) -> _Frame:
        known = {p.name: p for p in scalar.parameters}
        known |= {s.name: s for e in observables.values() for s in sorted(e.free_symbols, key=str) if s.name not in known}
        for x in scalar.states:
            known.pop(x.name, None)
        put = {known[n]: sp.sympify(v, strict=True) for k, v in at.items() if (n := getattr(k, "name", k)) in known}
        lost = [str(k) for k in at if getattr(k, "name", k) not in known]
        if lost:
            raise UnsupportedNode(
                f"at={{{lost[0]}: ...}}: {lost[0]} is no parameter of {scalar.flow.name} ({', '.join(known)})"
            )
        own = {s: known[s.name] for e in put.values() for s in e.free_symbols if s.name in known}
        put = {k: e.xreplace(own) for k, e in put.items()}
        rename, signs = read_signs(scalar.flow.name, known, positive)
        real = {x: sp.Symbol(x.name, real=True) for x in scalar.states}
        rhs = tuple(f.xreplace(put).xreplace({**rename, **real}) for f in scalar.rhs)
        found = roots_in(rhs)
        roots = {real[x]: (sp.Symbol(f"{x.name}__root", real=True), found[real[x]]) for x in scalar.states if real[x] in found}
        sided = [x for x in scalar.states if x.is_nonnegative or real[x] in roots]
        return cls(
            name=scalar.flow.name,
            states=tuple(real.values()),
            rhs=rhs,
            roots=roots,
            nonnegative=tuple(roots[real[x]][0] if real[x] in roots else real[x] for x in sided),
            signs=signs,
            symbols=tuple(sorted({s for f in rhs for s in f.free_symbols} - set(real.values()), key=str)),
            observables={n: e.xreplace(put).xreplace({**rename, **real}) for n, e in observables.items()},
        )

    @property
    def unknowns(self) -> tuple[sp.Symbol, ...]:
        return tuple(self.roots[x][0] if x in self.roots else x for x in self.states)

    @property
    def state_of(self) -> dict[sp.Symbol, sp.Symbol]:
        return dict(zip(self.unknowns, self.states, strict=True))

    def power_of(self, g: sp.Symbol) -> int:
        return next((q for r, q in self.roots.values() if r == g), 1)

    def restored(self, e: sp.Expr) -> sp.Expr:
        """An expression of the unknowns in the states again."""
        return e.xreplace({g: x ** sp.Rational(1, q) for x, (g, q) in self.roots.items()})

    def polynomial(self, f: sp.Expr) -> tuple[sp.Expr, tuple[sp.Expr, ...]]:
        """A polynomial in the unknowns with the zeros of f, and what must not vanish there."""
        f = rooted(f, {x: g**q for x, (g, q) in self.roots.items()})
        above, poles = [], []
        for part in sp.Mul.make_args(f):
            base, n = part.as_base_exp()
            if not base.has(*self.unknowns):
                above.append(part)
            elif n.is_negative:
                poles.append(self.restored(base))
            elif n.is_Rational:
                above.append(base)
            else:
                above.append(part)
        top, bottom = sp.fraction(sp.together(sp.Mul(*above)))
        if bottom.has(*self.unknowns):
            poles.append(self.restored(bottom))
        top = sp.expand(top)
        if not top.is_polynomial(*self.unknowns):
            raise UnsupportedNode(
                f"fixed points of {self.name}: {top} is no polynomial of {', '.join(map(str, self.unknowns))}; rewrite the "
                "system in other variables (change_variables), or eliminate the root"
            )
        return top, tuple(poles)


def _scalars(flow: Flow) -> tuple[ScalarSystem, dict[str, sp.Expr], str]:
    """Scalar equations, observables in the same symbols, and the family of the modes."""
    scalar = to_scalar(flow)
    common = next((b.indices for b in flow.state if b.indices), ())
    if any(len(b.indices) != len(common) for b in flow.state):
        raise UnsupportedNode(f"fixed points of {flow.name}: some states carry a mode and others do not; reduce to one kind")
    observables = {}
    for name, e in flow.observables.items():
        shown = one_mode(e, common, {b.name for b in flow.state}) if isinstance(e, Node) and common else e
        if shown is None:
            continue
        first = flow.state[0]
        probe = Flow(name=name, state=(first,), rhs={first.name: shown}, symbols=flow.symbols)
        try:
            observables[name] = to_scalar(probe).rhs[0]
        except UnsupportedNode:
            continue  # an observable that is no polynomial of the mode has no value to print; the system is still solved
    family = str(common[0].family) if common else ""
    return scalar, observables, family


def one_mode(e: Node, common: tuple[Index, ...], states: Any) -> Node | None:
    """The part of one mode in a sum over modes; terms without states are left out. None if modes are coupled.

    >>> from derive.indices.indexed import arr, sum_over
    >>> i, j = Index("i", "r"), Index("j", "r")
    >>> one_mode(add(arr("c"), sum_over(j, arr("u", j))), (i,), {"u"})
    u[i]
    """
    out = []
    for term in e.args if e.op == "add" else (e,):
        if not any(n in states for n in arrays(term)):
            continue
        factors = term.args if term.op == "mul" else (term,)
        sums = [f for f in factors if f.op == "sum"]
        rest = [f for f in factors if f.op != "sum"]
        if len(sums) != 1 or len(common) != 1 or any(n in states for f in rest for n in arrays(f)):
            return None
        label, body = sums[0].args
        out.append(mul(*rest, substitute(body, {label: common[0]})))
    return add(*out)


def _assumed(frame: _Frame, generic: tuple[sp.Expr, ...]) -> tuple[Assumption, ...]:
    positive = [str(s) for s in frame.symbols if s.is_positive] + [str(e) for e in frame.signs.positive]
    out = []
    if positive:
        out.append(Assumption(text=f"{', '.join(positive)} > 0", remedy="state other signs by positive="))
    if generic:
        shown = ", ".join(str(e) for e in generic)
        out.append(
            Assumption(text=f"no accident among the parameters: {shown} differ from 0", remedy="give the special case by at=")
        )
    return tuple(out)
