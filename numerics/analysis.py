r"""Rest states of order-parameter equations, by numbers: fixed points, their spectrum, the symmetric plateau, stable rates.

    f(y*) = 0 by Newton,  y <- y - J^+ f(y);     d(y - y*)/dt = J (y - y*),  J = df/dy (y*).

J^+ is the pseudo-inverse, because rest states often come in continua (units that share one function in any way); J is taken by
central differences of fourth order. Coordinates are the independent entries: one half of a symmetric overlap. Exact results for
few polynomial equations are those of `derive.rest_states.rest_points`, exact series those of
`derive.rest_states.rest_expansion`. Imported by users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import DerivationError, InvalidSpec
from derive.online.alike_units import Group, symmetric
from derive.system import Flow, Reduction, flow_of
from numerics.claims.gram import least_eigenvalue
from numerics.trajectory import Array

STEP = 1e-3  # of differences: their error is of the order of STEP^4, 1e-12
IMPOSSIBLE = 1e-6  # relative size of a negative eigenvalue of a Gram matrix that is no rounding
NEUTRAL = 1e-7  # relative size of an eigenvalue that is taken for zero


class NoRestState(DerivationError):
    """Newton's method found no fixed point near the start. Start closer to one, or check that there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A rest state with its linear stability.

    Attributes
    ----------
    state : mapping name -> array
    observables : mapping name -> array
    residual : float
        Largest entry of the right-hand side.
    rates : array, shape (n,)
        Eigenvalues of the Jacobian, largest real part first.
    directions : array, shape (n, n)
        Column j belongs to rates[j]; rows are the entries ``labels``.
    labels : tuple of str
        ``"R[0,1]"``: the independent entries of the state.
    least : float
        Smallest eigenvalue of the Gram matrix of all overlaps, relative to its largest entry. If it is negative, no vectors
        have these overlaps: in a continuum of rest states another one may be possible, an isolated one is not there.
    """

    state: Mapping[str, Array]
    observables: Mapping[str, Array]
    residual: float
    rates: np.ndarray
    directions: np.ndarray
    labels: tuple[str, ...]
    least: float = 0.0

    @property
    def escape_rate(self) -> float:
        """Largest growth rate of a small deviation; negative if all of them die out."""
        return float(self.rates[0].real)

    @property
    def neutral(self) -> int:
        """Number of directions along which nothing restores and nothing drives."""
        return int((np.abs(self.rates) <= NEUTRAL * max(1e-300, float(np.abs(self.rates).max()))).sum())

    @property
    def stable(self) -> bool:
        """Whether no deviation grows (neutral directions are allowed)."""
        return bool(self.escape_rate <= NEUTRAL * float(np.abs(self.rates).max()))

    def direction(self, number: int = 0) -> dict[str, complex]:
        """Entries of an eigenvector by name, the largest one scaled to 1."""
        v = self.directions[:, number]
        v = v / v[np.argmax(np.abs(v))]
        return {n: complex(c) for n, c in zip(self.labels, v, strict=True)}

    def __str__(self) -> str:
        kind = "stable" if self.stable else "unstable"
        lines = [f"{kind} rest state, residual {self.residual:.1e}, {self.neutral} neutral directions"]
        if self.least < -IMPOSSIBLE:
            lines.append(f"  no vectors have these overlaps (eigenvalue {self.least:.1e} of their Gram matrix)")
        lines += [
            f"  {n} = {np.array2string(np.asarray(a), precision=6)}" for n, a in {**self.state, **self.observables}.items()
        ]
        main = sorted(self.direction().items(), key=lambda item: -abs(item[1]))[:4]
        lines.append(f"  largest rate {self.rates[0]:.6g} along " + ", ".join(f"{c.real:+.3f} {n}" for n, c in main))
        return "\n".join(lines)


def find_rest(
    system: Flow | Reduction, start: Mapping[Any, Any], params: Mapping[Any, Any], *, tolerance: float = 1e-11, steps: int = 100
) -> Rest:
    r"""A fixed point near a start, by Newton's method, and the spectrum of the Jacobian there.

        f(y*) = 0,    J v = rate v

    Parameters
    ----------
    system : Flow or Reduction
        Any system that compiles.
    start, params : mapping name or symbol -> array
    tolerance : float
        On the right-hand side, relative to the rates J times the state.
    steps : int
        Largest number of Newton steps.

    Raises
    ------
    NoRestState
        If Newton's method does not converge; start closer, or from a state that was integrated for a while.

    Examples
    --------
    The linear committee at rest, eg = eta sigma^2 K / (4 - 2 eta K):

    >>> from derive.library.teacher import teacher_student
    >>> from derive.online.limit import online_limit
    >>> flow = online_limit(teacher_student("linear", train="first"))
    >>> params = {"A": [1, 1], "v": [1, 1], "T": np.eye(2), "eta": 0.1, "sigma": 0.3}
    >>> rest = find_rest(flow, {"Q": np.eye(2), "R": np.eye(2)}, params)
    >>> round(float(rest.observables["eg"]), 12), rest.stable
    (0.005, True)
    """
    return _find(_view(system, start, params), start, tolerance, steps)


def _find(view: _View, start: Mapping[Any, Any], tolerance: float = 1e-11, steps: int = 100) -> Rest:
    y = view.pack(start)
    for _ in range(steps):
        f, jacobian = view.f(y), view.jacobian(y)
        scale = float(np.abs(jacobian).max()) * max(1.0, float(np.abs(y).max()))
        if not np.isfinite(scale):
            break
        if float(np.abs(f).max()) <= tolerance * scale:
            return view.rest(y, jacobian)
        y = _descend(view.f, y, -np.asarray(np.linalg.lstsq(jacobian, f, rcond=NEUTRAL)[0], dtype=np.float64), f)
    raise NoRestState(
        f"{view.name}: no fixed point was found in {steps} Newton steps (right-hand side {np.abs(view.f(y)).max():.2g}); start "
        "closer, for instance from the end of integrate(...)"
    )


def _descend(f: Callable[[Array], Array], y: Array, move: Array, old: Array) -> Array:
    """The longest of a few fractions of a Newton step that lowers |f|."""
    for k in range(12):
        trial = y + 0.5**k * move
        value = f(trial)
        if np.isfinite(value).all() and np.linalg.norm(value) < np.linalg.norm(old):
            return trial
    return y + 0.5**12 * move


def spectrum_at(system: Flow | Reduction, state: Mapping[Any, Any], params: Mapping[Any, Any]) -> Rest:
    """Linear stability of a given state, which need not be at rest (``residual`` says how far it is)."""
    view = _view(system, state, params)
    y = view.pack(state)
    return view.rest(y, view.jacobian(y))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """A rest state of alike units, and what happens to it when they may differ.

    Attributes
    ----------
    symmetric : Rest
        In the numbers of `derive.online.alike_units`: stable if symmetric starts are drawn to it.
    full : Rest
        The same state in the full equations; ``full.escape_rate`` is the rate of specialisation.
    """

    symmetric: Rest
    full: Rest


def symmetric_plateau(flow: Flow, groups: Mapping[str, Group], start: Mapping[Any, Any], params: Mapping[Any, Any]) -> Plateau:
    """The unspecialised plateau: rest state on the manifold of alike units, its escape rate and direction in the full system.

    Parameters
    ----------
    flow : Flow
        Order-parameter equations.
    groups : mapping name -> Group
        Which units are alike, see `derive.online.alike_units`; sizes may be names or numbers.
    start, params : mappings
        Full arrays; the start is averaged over the symmetry, the parameters must have it.

    Raises
    ------
    InvalidSpec
        If a parameter is not symmetric.
    """
    made = symmetric(flow, groups)
    assert made.project_state is not None
    assert made.lift_state is not None
    assert made.parameters_from is not None
    given = {_name(k): np.asarray(v, dtype=float) for k, v in params.items()}
    sizes = {
        str(g.size): _length(flow, g, given | {_name(k): np.asarray(v) for k, v in start.items()}) for g in groups.values()
    }
    known = {**given, **sizes}
    small = {n: v for n, v in made.parameters_from(known).items() if n in [b.name for b in made.system.parameters]}
    inner = find_rest(made, made.project_state(known, {_name(k): v for k, v in start.items()}), small)
    lifted = made.lift_state({**known, **small}, dict(inner.state))
    whole = spectrum_at(flow, lifted, given)
    if whole.residual > 1e-6 * float(np.abs(whole.rates).max()):
        raise InvalidSpec(
            "symmetric_plateau: the full equations do not rest where the symmetric ones do, so a parameter differs between "
            "units that are said to be alike; make it equal, or use groups that tell the units apart"
        )
    return Plateau(symmetric=inner, full=whole)


def _length(flow: Flow, group: Group, arrays: Mapping[str, Any]) -> int:
    """The size of a group that is a whole family, read off the arrays; otherwise its value among them."""
    if isinstance(group.size, int):
        return group.size
    if group.size in arrays:
        return int(arrays[group.size])
    for b in (*flow.state, *flow.parameters):
        for axis, d in enumerate(b.shape):
            if str(d) == group.size and b.name in arrays:
                return int(np.shape(arrays[b.name])[axis])
    raise InvalidSpec(
        f"symmetric_plateau: the size {group.size} of a group is not known; add params={{{group.size!r}: number}}"
    )


def largest_stable(
    system: Flow | Reduction,
    name: Any,
    start: Mapping[Any, Any],
    params: Mapping[Any, Any],
    *,
    low: float,
    high: float,
    tolerance: float = 1e-6,
) -> float:
    """The largest value of a parameter up to which the rest state, followed from ``low``, is linearly stable.

    Bisection on the largest real part of the spectrum; the rest state is found anew from the last stable one.

    Raises
    ------
    InvalidSpec
        If the state is not stable at ``low``, or still stable at ``high``.
    """
    from codegen import compile

    key = _name(name)
    base = {_name(k): v for k, v in params.items()}
    kernel = compile(flow_of("analysis", system), backend="numpy")
    rest = _find(_view(system, start, {**base, key: low}, kernel), start)
    if not rest.stable:
        raise InvalidSpec(
            f"largest_stable: the rest state grows at rate {rest.escape_rate:.3g} already at {key} = {low:g}; lower low="
        )
    if (last := _try(system, rest, {**base, key: high}, kernel)) is not None and last.stable:
        raise InvalidSpec(f"largest_stable: still stable at {key} = {high:g}; raise high=")
    while high - low > tolerance * max(abs(low), abs(high)):
        middle = 0.5 * (low + high)
        found = _try(system, rest, {**base, key: middle}, kernel)
        if found is not None and found.stable:
            low, rest = middle, found
        else:
            high = middle
    return 0.5 * (low + high)


def _try(system: Flow | Reduction, near: Rest, params: Mapping[str, Any], kernel: Any) -> Rest | None:
    try:
        return _find(_view(system, near.state, params, kernel), near.state)
    except NoRestState:
        return None


# ---------------------------------------------------------------------------------------------------------------- coordinates
def _name(key: Any) -> str:
    return str(getattr(key, "name", key))


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A compiled system in independent coordinates: ``spread`` maps each to the entries of the flat state it stands for."""

    flow: Flow
    known: Mapping[str, Any]
    full: Callable[[float, Array], Array]
    observe: Callable[[float, Array], dict[str, Any]]
    layout: Any
    picked: np.ndarray
    source: np.ndarray
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the system."""
        return self.flow.name

    def pack(self, state: Mapping[Any, Any]) -> Array:
        names = {_name(k): v for k, v in state.items()}
        arrays = {n: np.asarray(v, dtype=float) for n, v in names.items() if n in self.layout.names}
        return np.asarray(self.layout.pack(arrays)[self.picked], dtype=float)

    def f(self, y: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.full(0.0, y[self.source])[self.picked], dtype=float)

    def jacobian(self, y: Array) -> Array:
        out = np.empty((len(y), len(y)))
        for j in range(len(y)):
            h = STEP * max(1.0, abs(y[j]))
            e = np.zeros(len(y))
            e[j] = h
            out[:, j] = (8 * (self.f(y + e) - self.f(y - e)) - (self.f(y + 2 * e) - self.f(y - 2 * e))) / (12 * h)
        return out

    def rest(self, y: Array, jacobian: Array) -> Rest:
        if not np.isfinite(jacobian).all():
            raise InvalidSpec(f"{self.name}: the equations are not finite around this state; is it a set of possible overlaps?")
        rates, directions = np.linalg.eig(jacobian)
        order = np.argsort(-rates.real, kind="stable")
        whole = np.ascontiguousarray(y[self.source])
        state = {n: np.array(a) for n, a in self.layout.unpack(whole).items()}
        return Rest(
            state=state,
            observables={n: np.asarray(v) for n, v in self.observe(0.0, whole).items()},
            residual=float(np.abs(self.f(y)).max()),
            rates=rates[order],
            directions=directions[:, order],
            labels=self.labels,
            least=least_eigenvalue(self.flow, {**self.known, **state}),
        )


def _view(system: Flow | Reduction, state: Mapping[Any, Any], params: Mapping[Any, Any], kernel: Any = None) -> _View:
    from codegen import compile

    flow = flow_of("analysis", system)
    kernel = compile(flow, backend="numpy") if kernel is None else kernel
    arrays = {_name(k): np.asarray(v, dtype=float) for k, v in state.items()}
    layout = kernel.layout({b.name: arrays[b.name] for b in kernel.states if b.name in arrays})
    needed = [b.name for b in kernel.parameters]
    args = kernel.arguments({_name(k): v for k, v in params.items() if _name(k) in needed})
    picked: list[int] = []
    labels: list[str] = []
    source = np.empty(layout.size, dtype=int)
    for b, offset, shape in zip(kernel.states, layout.offsets, layout.shapes, strict=True):
        for n, at in enumerate(np.ndindex(*shape)):
            mirrored = flow.block(b.name).symmetric and len(at) == 2 and at[0] > at[1]
            if mirrored:
                source[offset + n] = source[offset + at[1] * shape[1] + at[0]]
            else:
                source[offset + n] = len(picked)
                picked.append(offset + n)
                labels.append(f"{b.name}[{','.join(str(i) for i in at)}]" if at else b.name)
    return _View(
        flow=flow,
        known={_name(k): v for k, v in params.items()},
        full=kernel.flat_rhs(layout, args),
        observe=kernel.flat_observables(layout, args),
        layout=layout,
        picked=np.array(picked, dtype=int),
        source=source,
        labels=tuple(labels),
    )


__all__ = ["NoRestState", "Plateau", "Rest", "find_rest", "largest_stable", "spectrum_at", "symmetric_plateau"]
