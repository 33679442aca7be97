r"""`stationary`: where a recursion of moments rests, in closed form in the eigenbasis of a covariance H.

    u_k = (1 - A(h_k))^-1 [B(h_k) z + c(h_k)],        z = (tau, y),        z = (1 - S)^-1 s

because the modes act on each other through few sums tau = sum_j t(h_j) . u_j only (a coupling of low rank); S and s are sums
over modes of rational functions of h. With one coupling whose influence is not negative the rest attracts if and only if every
mode alone is stable and S < 1: S is what one unit of tau, fed to all modes for ever, gives back. Imported by users through
`derive.stationary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import CheckFailed, UnsupportedNode
from derive.recursions.affine_map import growth_in_numbers, rest_in_numbers
from derive.recursions.discrete import Recursion
from derive.recursions.mode_form import K, ModeForm, mode_form
from derive.recursions.rational import solved, tidy, value_of
from derive.reductions.ansatz import name_of
from derive.spec.symbols import check_name
from derive.system import Step

SEED = 20_018
ZERO = sp.Integer(0)
TOLERANCE = 1e-9  # relative; two linear solutions of a few dozen equations


@dataclass(frozen=True, slots=True, kw_only=True)
class Stationary:
    """The rest of a recursion in the eigenbasis of one symmetric matrix.

    Attributes
    ----------
    recursion : Recursion
    basis : str
        The matrix; its eigenvalues are ``h``.
    h : Symbol
    modes : mapping moment -> expression
        Its (diagonal) entry in the mode of eigenvalue h, in h, the parameters, the couplings and the numbers.
    couplings : mapping Symbol -> (moment, function of h)
        tau = sum over modes of the function times the moment.
    unknowns : tuple of Symbol
        Couplings, then numbers: z.
    S, s : Matrix
        z = S z + s; entries are sums over modes.
    numbers : mapping moment -> Symbol
        Moments that are numbers, which stand among the unknowns.
    form : ModeForm
    checked : str
    steps : tuple of Step
    """

    recursion: Recursion
    basis: str
    h: sp.Symbol
    modes: Mapping[str, sp.Expr]
    couplings: Mapping[sp.Symbol, tuple[str, sp.Expr]]
    unknowns: tuple[sp.Symbol, ...]
    S: sp.ImmutableMatrix
    s: sp.ImmutableMatrix
    numbers: Mapping[str, sp.Symbol]
    form: ModeForm
    checked: str = ""
    steps: tuple[Step, ...] = ()

    def evaluate(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """Moments and couplings in numbers: arrays (d,) over the eigenvalues in rising order, and numbers.

        Raises
        ------
        InvalidSpec
            If a parameter has no value.
        """
        env, _ = self._numbers(values)
        S, s = (np.array([[float(value_of(e, env)) for e in row] for row in m.tolist()]) for m in (self.S, self.s))
        z = np.linalg.solve(np.eye(len(S)) - S, s)[:, 0] if len(S) else np.zeros(0)
        env |= {x.name: float(v) for x, v in zip(self.unknowns, z, strict=True)}
        size = len(env[self.h.name])
        out: dict[str, Any] = {n: np.broadcast_to(value_of(e, env), (size,)).copy() for n, e in self.modes.items()}
        return out | {n: env[x.name] for n, x in self.numbers.items()} | {x.name: env[x.name] for x in self.couplings}

    def state(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """The moments as arrays of the recursion, U diag(u) U'.

        Raises
        ------
        UnsupportedNode
            If given columns make entries off the diagonal: take `rest_in_numbers`.
        """
        if self.form.columns:
            raise UnsupportedNode(
                f"stationary: {', '.join(self.form.columns)} make moments that are not diagonal in the eigenbasis of "
                f"{self.basis}; take rest_in_numbers(recursion, values)"
            )
        _, basis = self._numbers(values)
        found = self.evaluate(values)
        shapes = {b.name: b.shape for b in self.recursion.state}
        square = {n: a.shape for n, a in found.items() if n in shapes and len(shapes[n]) == 2 and shapes[n][0] == shapes[n][1]}
        columns = {n: basis @ found[n][:, None] for n in found if n in self.modes and n not in square}
        return {n: float(found[n]) for n in self.numbers} | columns | {n: (basis * found[n]) @ basis.T for n in square}

    def growth(self, values: Mapping[Any, Any]) -> float:
        """Largest factor per step of a deviation from rest, all entries of all moments included: it attracts below one."""
        return growth_in_numbers(self.recursion, _by_name(values))

    def leading(self, small: Any) -> dict[str, sp.Expr]:
        """Every moment (and coupling) to leading order in a small parameter, as an expression of h and the parameters.

        Raises
        ------
        UnsupportedNode
            If several unknowns are of one order so that their limit is singular, or leading terms cancel.
        """
        from derive.recursions.leading_order import leading

        return leading(self, small)

    def _numbers(self, values: Mapping[Any, Any]) -> tuple[dict[str, Any], Any]:
        named = _by_name(values)
        h, basis = np.linalg.eigh(np.asarray(named[self.basis], dtype=float))
        env: dict[str, Any] = {**named, self.h.name: h, str(self.form.size): len(h)}
        return env | {n: (basis.T @ np.asarray(named[n], dtype=float).reshape(-1)) for n in self.form.columns}, basis

    def as_document(self) -> Any:
        """Document for `describe`."""
        from derive.recursions.stationary_text import stationary_document

        return stationary_document(self)

    def as_data(self) -> dict[str, Any]:
        """Plain data for `describe(..., "json")`."""
        from derive.recursions.stationary_text import stationary_data

        return stationary_data(self)

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")


def stationary(recursion: Recursion, basis: Any) -> Stationary:
    """Rest of a recursion in the eigenbasis of a symmetric given matrix.

    Parameters
    ----------
    recursion : Recursion
    basis : symbol or name
        Usually the covariance of the inputs. All words must be functions of it, of moments and of given columns.

    Raises
    ------
    InvalidSpec
        If the matrix is not given, or not known to be symmetric.
    NotClosed
        If a word is no function of it, or needs entries off the diagonal, or there is no single rest.
    CheckFailed
        If the result disagrees with a numerical solution of all entries.

    Examples
    --------
    >>> from derive import Model, Normal, Update, dims, dot, matrix, recursion, scalars, vector
    >>> d = dims("d")
    >>> w, c, x = vector("w", d), vector("c", d), vector("x", d)
    >>> H, (eta, noise) = matrix("H", d, d), scalars("eta noise")
    >>> rule = Update({w: w - eta * (dot(w - c, x) - noise) * x})
    >>> lms = Model(name="lms", state=w, given=(c, H, eta), data=(Normal(x, cov=H), Normal(noise)), learn=rule)
    >>> rest = stationary(recursion(lms), H)
    >>> rest.modes["X_w"], rest.leading(eta)["X_w"]
    (eta*(tau + 1)/(-2*eta*h + 2), eta/2)
    >>> rest.S[0, 0]
    Sum(eta*h[k]/(-2*eta*h[k] + 2), (k, 1, d))
    """
    name = check_name(name_of(basis))
    form = mode_form(recursion, name)
    numbers = {n: sp.Symbol(n, real=True) for n in form.numbers}
    unknowns = (*form.couplings, *numbers.values())
    modes, parts = _solved_modes(recursion, form, numbers)
    S, s = _closure(recursion, form, numbers, parts)
    if all(e == 0 for e in s):  # nothing drives the unknowns: they rest at zero
        modes = {n: e.xreplace(dict.fromkeys(unknowns, ZERO)) for n, e in modes.items()}
    made = Stationary(
        recursion=recursion, basis=name, h=form.h, modes=modes, couplings=form.couplings, unknowns=unknowns,
        S=sp.ImmutableMatrix(S), s=sp.ImmutableMatrix(s), numbers=numbers, form=form,
        steps=(Step(title=f"eigenbasis of {name}", detail=_rank(len(unknowns))),),
    )  # fmt: skip
    return _checked(made)


def _rank(count: int) -> str:
    if not count:
        return "the modes do not act on each other"
    return f"the modes act on each other through {count} number{'s' if count > 1 else ''}"


def _solved_modes(
    made: Recursion, form: ModeForm, numbers: Mapping[str, sp.Symbol]
) -> tuple[dict[str, sp.Expr], dict[str, dict[Any, sp.Expr]]]:
    """u in z, and its coefficients of every unknown and of 1 (key None)."""
    names, targets = form.modes, (*form.couplings, *form.numbers, None)
    A = sp.Matrix(len(names), len(names), lambda i, j: sp.Integer(int(i == j)) - form.own.get((names[i], names[j]), ZERO))
    B = sp.Matrix(
        len(names), len(targets),
        lambda i, j: form.constant.get(names[i], ZERO) if targets[j] is None else form.driven.get((names[i], targets[j]), ZERO),
    )  # fmt: skip
    X = solved(A, B, f"stationary({made.name}): the modes have no single rest: a moment keeps its value or drifts")
    parts = {n: {t: X[i, j] for j, t in enumerate(targets)} for i, n in enumerate(names)}
    letters = {**{t: t for t in form.couplings}, **numbers, None: sp.Integer(1)}
    return {n: tidy(sp.Add(*(f * letters[t] for t, f in row.items()))) for n, row in parts.items()}, parts


def _closure(
    made: Recursion, form: ModeForm, numbers: Mapping[str, sp.Symbol], parts: Mapping[str, Mapping[Any, sp.Expr]]
) -> tuple[sp.Matrix, sp.Matrix]:
    """z = S z + s: couplings as sums over modes, numbers from their own equations."""
    targets = (*form.couplings, *form.numbers)
    rows = []
    names = {form.h: sp.IndexedBase(form.h.name)[K], **{c: sp.IndexedBase(c.name)[K] for c in form.columns.values()}}
    for moment, f in form.couplings.values():
        row = []
        for t in (*targets, None):
            body = tidy(f * parts[moment][t])
            row.append(sp.Sum(body.xreplace(names), (K, 1, form.size)) if body != 0 else ZERO)
        rows.append(row)
    for n in form.numbers:
        row = [form.driven.get((n, t), ZERO) for t in targets]
        rows.append([*row, form.constant.get(n, ZERO)])
    size = len(targets)
    S = sp.Matrix(size, size, lambda i, j: rows[i][j])
    return S, sp.Matrix(size, 1, lambda i, j: rows[i][size])


# ------------------------------------------------------------------------------------------------------------- numbers
def _by_name(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {name_of(k): v for k, v in values.items()}


def _checked(made: Stationary) -> Stationary:
    """The rest against the linear solution of all entries of all moments, at random parameters and three modes."""
    from dataclasses import replace

    rng = np.random.default_rng(SEED)
    values: dict[str, Any] = {}
    size = made.form.size
    for b in (*made.recursion.parameters, *made.recursion.state):
        for s in b.shape:
            if isinstance(s, str):
                values[s] = 3
    for b in made.recursion.parameters:
        shape = tuple(s if isinstance(s, int) else values[s] for s in b.shape)
        values[b.name] = rng.normal(size=shape) if shape else values.get(b.name, float(rng.uniform(0.05, 0.3)))
    d = int(size) if size.is_Integer else values[str(size)]
    root = rng.normal(size=(d, d)) / np.sqrt(d)
    values[made.basis] = root @ root.T + 0.3 * np.eye(d)
    right = rest_in_numbers(made.recursion, values)
    _, basis = np.linalg.eigh(values[made.basis])
    found, worst = made.evaluate(values), 0.0
    for n in (*made.modes, *made.numbers):
        a = np.asarray(right[n])
        full = np.diag(basis.T @ a @ basis) if a.ndim == 2 and a.shape[1] == d and a.shape[0] == d > 1 else a.reshape(-1)
        turned = (basis.T @ a)[:, 0] if a.ndim == 2 and a.shape[1] == 1 and d > 1 else full
        worst = max(worst, float(np.abs(found[n] - turned).max() / (np.abs(turned).max() + 1e-3)))
    if not worst <= TOLERANCE:
        raise CheckFailed(
            f"stationary({made.recursion.name}): the closed form differs from the linear solution by {worst:.1e}; please report"
        )
    said = f"all entries by one linear solution at random parameters, {d} modes: relative deviation {worst:.0e}"
    return replace(made, checked=said, steps=(*made.steps, Step(title="check", detail="closed form against", check=said)))
