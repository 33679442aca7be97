"""Two-layer flows with a balance rule as a matrix Riccati equation, found by linear equations over words.

With  W2'W2 - W1 W1' = lam I  and  Q = (W1'; W2)  the flow may have the form

    Q' = m (F Q - Q Q'Q / 2),      F = [[f11 I, f12 S'], [f21 S, f22 I]],  f12 = f21.

Both blocks of Q' are written in words, the rule W2'W2 -> W1 W1' + lam I is applied, and f, m are the solution of linear
equations, one for each word: a null space over the rational functions of lam and the parameters. No solution: no Riccati form.
`derive.reductions.gram` then follows  M = Q Q',  M' = m (F M + M F - M^2), because Q -> Q O changes nothing.
Imported by `derive.reductions.reduction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.algebra.nullspace import null_vectors
from derive.errors import CheckFailed, NotInvariant, UnsupportedNode
from derive.matrices.calculus import ddt, substitute
from derive.matrices.composite import atoms, parameters
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, identity, monomial, product, text, zero
from derive.matrices.word_space import as_coefficient
from derive.matrices.words import Atom, Key, Letter
from derive.reductions.aligned import Chain, find_chain
from derive.reductions.ansatz import LambdaBalanced, Modes, name_of
from derive.reductions.counter_examples import balanced_point
from derive.reductions.riccati_value import balanced_blocks
from derive.system import Assumption, Block, Flow, Reduction, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class RiccatiForm:
    """Q' = rate (F Q - Q Q'Q / 2), F by blocks.

    Attributes
    ----------
    first, second, cross : Atom
        W1, W2 and the correlation S.
    rate : Poly
        m, a scalar.
    blocks : tuple of rows of Poly
        F.
    """

    first: Atom
    second: Atom
    cross: Atom
    rate: Poly
    blocks: tuple[tuple[Poly, Poly], tuple[Poly, Poly]]


def rewrite(p: Poly, left: Letter, right: Letter, by: Poly) -> Poly:
    """Replace the adjacent letters ``left right`` of open words by an expression, until none is left.

    >>> A, B = Atom("A", "n", "n"), Atom("B", "n", "n")
    >>> rewrite(atom(B) * atom(A).T * atom(A), Letter(A, True), Letter(A, False), identity("n").scale(2))
    2*B
    """
    out, todo = zero(p.shape), p
    while todo:
        key, c = next(todo.items())
        todo = todo - monomial(p.shape, key, c)
        word = key.word or ()
        at = next((i for i in range(len(word) - 1) if word[i] == left and word[i + 1] == right), None)
        if at is None:
            out = out + monomial(p.shape, key, c)
            continue
        scalar = monomial(None, Key(key.params, key.traces, None), c)
        before = product(word[:at], word[0].rows) if at else identity(left.rows)
        after = product(word[at + 2 :], right.cols)
        todo = todo + scalar * before * by * after
    return out


def riccati_form(flow: Flow, lam: sp.Expr) -> RiccatiForm:
    """Coefficients of the Riccati form of a two-layer flow under the balance rule.

    Raises
    ------
    UnsupportedNode
        If the flow is no chain of two weights.
    NotInvariant
        If the balance does not last, or no coefficients meet every word.
    """
    chain = find_chain(flow, Modes())
    if len(chain.weights) != 2:
        raise UnsupportedNode(
            f"LambdaBalanced: {flow.name} has {len(chain.weights)} layers; the Riccati form exists for two. Use Modes()"
        )
    first, second = (Atom(b.name, b.shape[0], b.shape[1], b.tags) for b in chain.weights)
    w1, w2, s = atom(first), atom(second), atom(chain.cross)
    white = {chain.inner.name: identity(chain.cross.cols)} if chain.inner is not None else {}
    rule = w1 * w1.T + as_coefficient(lam) * identity(first.rows)
    left, right = Letter(second, True), Letter(second, False)
    drift = rewrite(ddt(w2.T * w2 - w1 * w1.T, flow), left, right, rule)
    if drift:
        size, point = _point(flow, lam, chain)
        raise NotInvariant(
            f"{flow.name}: {second.name}'*{second.name} - {first.name}*{first.name}' changes at the rate {text(drift)[:160]}, "
            "so no balance lasts; give both layers one time constant",
            leftover=drift,
            point=point,
            size=size,
        )
    targets = tuple(substitute(p, white) for p in (_poly(flow, first).T, _poly(flow, second)))
    nothing = tuple(zero(p.shape) for p in targets)
    cubic = w1 * w1.T + w2.T * w2
    candidates = [
        targets,
        (w1.T, nothing[1]),
        (s.T * w2, nothing[1]),
        (nothing[0], s * w1.T),
        (nothing[0], w2),
        (w1.T * cubic, w2 * cubic),
    ]
    columns = [_column(pair, left, right, rule) for pair in candidates]
    vectors = [v for v in null_vectors(columns) if v[0] != 0]
    if len(vectors) != 1:
        raise _refused(flow, lam, chain, targets, _unmet(targets, candidates[1:], left, right, rule))
    f11, f12, f21, f22, cube = (sp.cancel(-v / vectors[0][0]) for v in vectors[0][1:])
    if cube == 0 or sp.cancel(f12 - f21) != 0:
        raise _refused(flow, lam, chain, targets, targets[0])
    m = sp.cancel(-2 * cube)

    def scaled(f: sp.Expr, p: Poly) -> Poly:
        return as_coefficient(sp.expand(sp.cancel(f / m))) * p

    n_in, n_out = chain.cross.cols, chain.cross.rows
    return RiccatiForm(
        first=first,
        second=second,
        cross=chain.cross,
        rate=as_coefficient(sp.expand(m)),
        blocks=((scaled(f11, identity(n_in)), scaled(f12, s.T)), (scaled(f21, s), scaled(f22, identity(n_out)))),
    )


def _poly(flow: Flow, a: Atom) -> Poly:
    p = flow.rhs[a.name]
    assert isinstance(p, Poly)  # find_chain refuses other flows
    return p


def _column(pair: tuple[Poly, ...], left: Letter, right: Letter, rule: Poly) -> dict[Any, sp.Expr]:
    out: dict[Any, sp.Expr] = {}
    for block, p in enumerate(pair):
        for key, c in rewrite(p, left, right, rule).items():
            factors = [sp.Symbol(n, positive=True) ** sp.Rational(e.numerator, e.denominator) for n, e in key.params]
            row = (block, key.traces, key.word)
            out[row] = out.get(row, sp.Integer(0)) + sp.Mul(sp.Rational(c.numerator, c.denominator), *factors)
    return out


def _unmet(targets: tuple[Poly, ...], known: list[tuple[Poly, ...]], left: Letter, right: Letter, rule: Poly) -> Poly:
    """The words of the equations of Q that no term of the Riccati form has; the first equation if there are none."""
    for block, p in enumerate(targets):
        words = {(k.traces, k.word) for pair in known for k in rewrite(pair[block], left, right, rule).terms}
        rest = {k: c for k, c in rewrite(p, left, right, rule).terms.items() if (k.traces, k.word) not in words}
        if rest:
            return Poly(p.shape, rest)
    return targets[0]


def _refused(flow: Flow, lam: sp.Expr, chain: Chain, targets: tuple[Poly, ...], leftover: Poly) -> NotInvariant:
    a, b = (w.name for w in chain.weights)
    _, point = _point(flow, lam, chain)
    size = np.linalg.norm(evaluate(leftover, point)) / sum(np.linalg.norm(evaluate(p, point)) for p in targets)
    return NotInvariant(
        f"{flow.name} has no form Q' = m (F Q - Q Q'Q/2) for Q = ({a}'; {b}) under {b}'*{b} = {a}*{a}' + {lam} I: no F and m "
        f"meet the words {text(leftover)[:160]}. Integrate the full flow, or reduce it with Modes()",
        leftover=leftover,
        point=point,
        size=float(size),
    )


def _point(flow: Flow, lam: sp.Expr, chain: Chain) -> tuple[float, dict[str, Any]]:
    """A balanced point, with white inputs, and the relative drift of the balance there."""
    first, second = (Atom(b.name, b.shape[0], b.shape[1], b.tags) for b in chain.weights)
    return balanced_point(flow, first, second, lam, white=() if chain.inner is None else (chain.inner.name,))


def reduce_riccati(flow: Flow, ansatz: LambdaBalanced) -> Reduction:
    """The Riccati equation of Q = (W1'; W2), with F as one array.

    Raises
    ------
    UnsupportedNode, NotInvariant
        See `riccati_form`.
    CheckFailed
        If the equation disagrees with the flow at a random balanced point.
    """
    form = riccati_form(flow, ansatz.lam)
    taken = {b.name for b in (*flow.state, *flow.parameters)} | {
        str(n) for b in (*flow.state, *flow.parameters) for n in b.shape
    }
    n, big, matrix, into, out = (_fresh(w, taken) for w in ("n", "Q", "F", "E_in", "E_out"))
    n_in, hidden, n_out = form.first.cols, form.first.rows, form.second.rows
    q, f = Atom(big, n, hidden), Atom(matrix, n, n, ("sym",))
    e_in, e_out = Atom(into, n, n_in, ("orth",)), Atom(out, n, n_out, ("orth",))
    rhs = form.rate * (atom(f) * atom(q) - (atom(q) * atom(q).T * atom(q)).scale(Fraction(1, 2)))
    lift = {form.first.name: atom(q).T * atom(e_in), form.second.name: atom(e_out).T * atom(q)}
    inner = find_chain(flow, Modes()).inner
    data = {} if inner is None else {inner.name: identity(n_in)}
    observables = {k: substitute(p, {**data, **lift}) for k, p in flow.observables.items() if isinstance(p, Poly)}
    known = {b.name: b for b in flow.parameters}
    letters = {a.name: a for p in (rhs, *observables.values()) for a in atoms(p) if a.comp is None and a.name != big}
    scalars = sorted({s for p in (rhs, *observables.values()) for s in parameters(p)})
    meaning = {matrix: f"[{', '.join('[' + ', '.join(text(p) for p in row) + ']' for row in form.blocks)}]"}
    blocks = [
        known.get(k) or Block(name=k, shape=(a.rows, a.cols), tags=a.tags, meaning=meaning.get(k, "selects a block of Q"))
        for k, a in sorted(letters.items())
    ]
    blocks += [known.get(k) or Block(name=k) for k in scalars if k not in (n, n_in, n_out, hidden)]
    assumptions = _assumptions(flow, form, ansatz.lam, inner)
    step = Step(
        title="matrix Riccati equation",
        detail=f"{big} = ({form.first.name}'; {form.second.name}), {matrix} = {meaning[matrix]}",
        check="coefficients solve one linear equation for each word, uniquely; compared with the flow at a balanced point",
    )
    system = Flow(
        name=f"{flow.name}_riccati",
        state=(Block(name=big, shape=(n, hidden), meaning=f"({form.first.name}'; {form.second.name})"),),
        rhs={big: rhs},
        parameters=tuple(blocks),
        observables=observables,
        functions=flow.functions,
        time=flow.time,
        assumptions=(*flow.assumptions, *assumptions),
        steps=(*flow.steps, step),
        symbols=flow.symbols,
        source=flow,
    )
    numbers = _Numbers(form=form, lam=ansatz.lam, names=(big, matrix, into, out), kept=tuple(b.name for b in blocks))
    made = Reduction(
        full=flow,
        system=system,
        lift=lift,
        data=data,
        assumptions=assumptions,
        steps=(step,),
        parameters_from=numbers.parameters_from,
        lift_state=numbers.lift_state,
        project_state=numbers.project_state,
        constrain=numbers.constrain,
    )
    _check(made, form, ansatz.lam)
    return made


def _fresh(word: str, taken: set[str]) -> str:
    return next(x for x in (word, *(f"{word}_{k}" for k in range(1, 99))) if x not in taken)


def _assumptions(flow: Flow, form: RiccatiForm, lam: sp.Expr, inner: Atom | None) -> tuple[Assumption, ...]:
    a, b = form.first.name, form.second.name
    remedy = "integrate the full matrix flow"
    out = []
    if inner is not None:
        text_ = f"the inputs are white, {inner.name} = I"
        residual = atom(inner) - identity(inner.rows)
        out.append(Assumption(text=text_, residual=residual, scale=atom(inner), remedy=f"whiten the inputs, or {remedy}"))
    out.append(Assumption(text=f"the start is balanced, {b}'*{b} - {a}*{a}' = {lam} I", remedy=remedy))
    return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """Values of the reduced system from those of the full one, and back."""

    form: RiccatiForm
    lam: sp.Expr
    names: tuple[str, str, str, str]
    kept: tuple[str, ...]

    def parameters_from(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        known = {name_of(k): v for k, v in values.items()}
        rows, cols = np.shape(known[self.form.cross.name])
        sizes = {str(self.form.cross.rows): rows, str(self.form.cross.cols): cols}
        at = {self.form.cross.name: known[self.form.cross.name]} | {k: v for k, v in known.items() if np.ndim(v) == 0}
        _, matrix, into, out = self.names
        eye = np.eye(rows + cols)
        blocks = [[evaluate(p, at, sizes=sizes) for p in row] for row in self.form.blocks]
        own = {matrix: np.block(blocks), into: eye[:, :cols], out: eye[:, cols:]}
        return {k: own.get(k, known.get(k)) for k in self.kept if k in own or k in known}

    def lift_state(self, values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        q = np.asarray({name_of(k): v for k, v in reduced_state.items()}[self.names[0]], dtype=float)
        n_in = np.shape({name_of(k): v for k, v in values.items()}[self.form.cross.name])[1]
        return {self.form.first.name: np.swapaxes(q[..., :n_in, :], -1, -2), self.form.second.name: q[..., n_in:, :]}

    def project_state(self, values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
        full = {name_of(k): np.asarray(v, dtype=float) for k, v in full_state.items()}
        upper, lower = np.swapaxes(full[self.form.first.name], -1, -2), full[self.form.second.name]
        return {self.names[0]: np.concatenate([upper, lower], axis=-2)}

    def constrain(self, values: Mapping[Any, Any], reduced_state: Mapping[Any, Any]) -> dict[str, Any]:
        known = {name_of(k): v for k, v in values.items()}
        full = self.lift_state(values, reduced_state)
        lam = float(self.lam) if self.lam.is_number else float(known[str(self.lam)])
        first, second = balanced_blocks(full[self.form.first.name], full[self.form.second.name], lam)
        return self.project_state(values, {self.form.first.name: first, self.form.second.name: second})


def _check(made: Reduction, form: RiccatiForm, lam: sp.Expr) -> None:
    """Both right-hand sides at one random balanced point."""
    rng = np.random.default_rng(12)
    value = float(lam) if lam.is_number else 0.7
    hidden, n_in, n_out = 2, 3, 4
    values: dict[str, Any] = {form.cross.name: rng.normal(size=(n_out, n_in)), **{k: np.eye(n_in) for k in made.data}}
    for b in made.full.parameters:
        values.setdefault(b.name, rng.uniform(0.5, 1.5) if not b.shape else np.eye(n_in))
    if not lam.is_number:
        values[str(lam)] = value
    first, second = balanced_blocks(rng.normal(size=(hidden, n_in)), rng.normal(size=(n_out, hidden)), value)
    full = {form.first.name: first, form.second.name: second}
    assert made.project_state is not None
    assert made.parameters_from is not None
    velocity = {k: np.asarray(evaluate(_poly(made.full, a), {**values, **full})) for k, a in _pair(form)}
    wanted = made.project_state(values, velocity)
    reduced = {**made.parameters_from(values), **made.project_state(values, full)}
    for k, p in made.system.rhs.items():
        assert isinstance(p, Poly)
        got = evaluate(p, {**{a: v for a, v in values.items() if np.ndim(v) == 0}, **reduced})
        error = float(np.abs(got - wanted[k]).max() / np.abs(wanted[k]).max())
        if not error < 1e-12:  # sums of a few dozen products of order one
            raise CheckFailed(f"{made.system.name} differs from {made.full.name} by {error:.1e} at a balanced point")


def _pair(form: RiccatiForm) -> tuple[tuple[str, Atom], tuple[str, Atom]]:
    return (form.first.name, form.first), (form.second.name, form.second)
