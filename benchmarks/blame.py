"""How well `numerics.blame` names a wrong term: single-term mutations of derived equations, and repetitions on the right ones.

    python benchmarks/blame.py [runs of each right system] [seed of mutations, states and simulations]

Five systems: erf network with both layers and noise, linear network with decay, two tasks with two heads, ReLU network, and a
perceptron whose inputs have a relevant and an irrelevant block. Every mutation changes one term: its factor, its sign, a power
of a parameter, a label, an array inside it, or it is dropped. "named" counts mutations where the culprit is that term, or the
term as it should be, reported as missing (with the derived terms as candidates, which is what `blame` does with equations of
the user's). "own terms" is the same with no candidates: then a dropped term can only be noticed, and counts if no coefficient
explains it. Mutations that change the right-hand side of their equation by less than 5 % (root mean square over
the states) are not drawn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.fields.rule import FieldRule, field_rule
from derive.indices.indexed import Index, Node, add, arr, arrays, const, mul, replace
from derive.library.tasks import two_tasks
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit
from derive.protocols.sequence import phases
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Limit, Update
from derive.spec.simulation_plan import plan
from derive.spec.sugar import total
from derive.spec.symbols import dims, matrix, scalars, vector
from derive.system import Flow
from numerics.blame import Blame, absent, draw_spots, on_entries, regress, terms_of
from numerics.bursts import Drift, Spot, measure_drift

KINDS = ("factor", "sign", "dropped", "power", "label", "inside", "factor", "inside")
LEAST = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A wrong system: term ``was`` of ``equation`` has become ``now`` (None: it is gone)."""

    kind: str
    equation: str
    was: Node
    now: Node | None
    system: Flow


def curriculum() -> Model:
    """Sign teacher on the relevant inputs, erf student on all of them, L2 penalty."""
    Nr, Ni, K, M = dims("Nr Ni K M")
    eta, kappa, Delta, rho = scalars("eta kappa Delta rho", positive=True)
    lam, L = scalars("lam L")
    W, V, B = matrix("W", K, Nr), matrix("V", K, Ni), matrix("B", M, Nr)
    x, z, N = vector("x", Nr), vector("z", Ni), Nr + Ni
    return Model(
        name="curriculum",
        state=(W, V),
        given=(B, eta, kappa, Delta),
        data=(Normal(x), Normal(z, cov=Delta * sp.Identity(Ni))),
        let={lam: total(W * x + V * z) / sp.sqrt(N), L: (fn.erf2(lam) - fn.sgn(total(B * x) / sp.sqrt(N))) ** 2 / 2},
        learn=Update({w: w - eta * grad(L, w) - eta * kappa / N * w for w in (W, V)}, dt=1 / N),
        limit=Limit({Nr: sp.oo, Ni: sp.oo}, fixed={rho: Nr / N}),
    )


SYSTEMS: Mapping[str, tuple[Callable[[], Model], Mapping[str, Any]]] = {
    "erf, both layers": (
        lambda: teacher_student(train="both"), {"K": 3, "M": 2, "eta": 0.7, "eta_v": 0.5, "sigma": 0.5},
    ),
    "linear, decay": (
        lambda: teacher_student("linear", train="first", decay=True), {"K": 3, "M": 2, "eta": 0.4, "sigma": 0.7, "kappa": 0.4},
    ),
    "two tasks": (lambda: phases(two_tasks(lengths=(1, 1)))[0], {"K": 2, "M1": 2, "M2": 1, "eta": 0.8, "eta_h": 0.6}),
    "ReLU": (lambda: teacher_student("relu", train="first"), {"K": 2, "M": 2, "eta": 0.6, "sigma": 0.5}),
    "two blocks": (curriculum, {"K": 1, "M": 1, "eta": 1.0, "kappa": 0.3, "Delta": 0.5, "rho": 0.5}),
}  # fmt: skip


def mutations(case: Case, count: int, seed: int) -> list[Mutation]:
    """Seeded mutations of single terms, one kind after the other, none of them without effect."""
    rng, flow = np.random.default_rng(seed), case.flow
    places = [(name, n) for name, e in flow.rhs.items() for n in range(len(terms_of(e)))]
    out: list[Mutation] = []
    while len(out) < count:
        kind = KINDS[len(out) % len(KINDS)]
        name, n = places[int(rng.integers(len(places)))]
        terms = terms_of(flow.rhs[name])
        now = _mutate(kind, terms[n], flow, flow.block(name).indices, rng)
        whole = add(*terms[:n], *terms[n + 1 :], *((now,) if now is not None else ()))
        if now == terms[n] or (now is not None and now not in terms_of(whole)) or any(m.system.rhs[name] == whole for m in out):
            continue  # no effect, merged with another term, or seen before
        made = Mutation(kind=kind, equation=name, was=terms[n], now=now, system=flow.replace(rhs={**flow.rhs, name: whole}))
        if case.effect(made) >= LEAST:
            out.append(made)
    return out


def _mutate(kind: str, term: Node, flow: Flow, labels: tuple[Index, ...], rng: np.random.Generator) -> Node | None:
    if kind == "dropped":
        return None
    if kind == "sign":
        return -term
    if kind == "factor":
        return mul(const((2, 3, 4)[int(rng.integers(3))]), term, const(2) ** -1)
    if kind == "power":
        numbers = [b.name for b in flow.parameters if not b.shape and b.name in arrays(term)]
        return mul(term, arr(str(rng.choice(numbers)))) if numbers else term
    leaves: list[Node] = []
    replace(term, lambda a: leaves.append(a) or a)  # type: ignore[func-returns-value]
    chosen = int(rng.integers(len(leaves)))
    seen = iter(range(len(leaves)))

    def leaf(a: Node) -> Node:
        if next(seen) != chosen:
            return a
        if kind == "inside" or len(labels) < 2 or not a.args[1]:
            return mul(const(3), a, const(2) ** -1)
        names, (i, j) = a.args[1], labels[:2]
        other = {i: j, j: i} if i.family == j.family else {}
        return arr(a.args[0], *(other.get(x, x) for x in names), symmetric=a.symmetric)

    return replace(term, leaf)


def named(result: Blame, mutation: Mutation) -> bool:
    """Whether the culprit is the mutated term, or what should stand in its place."""
    term = result.culprit
    if term is None or term.equation != mutation.equation:
        return False
    return term.node == mutation.now or (
        not term.present and term.node == mutation.was and term.instead in (None, mutation.now)
    )


def noticed(result: Blame, mutation: Mutation) -> bool:
    """Without candidates: as `named`; a dropped term is noticed if no coefficient explains the disagreement."""
    return (not result.passed and not result.explained) if mutation.now is None else named(result, mutation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A system with states at which it is measured."""

    flow: Flow
    rule: FieldRule
    plan: Mapping[str, Any]
    spots: tuple[Spot, ...]
    memo: dict[Any, Any]

    def measure(self, bursts: int, seed: int) -> tuple[Drift, ...]:
        """Fresh simulations at the states."""
        return tuple(
            measure_drift(self.plan, self.rule, s, bursts=bursts, seed=seed + 104729 * n) for n, s in enumerate(self.spots)
        )

    def judge(
        self, system: Flow, drifts: tuple[Drift, ...], candidates: Mapping[str, Node], derived: Flow | None = None
    ) -> Blame:
        """`numerics.blame` on these simulations; it knows the derived equations if they are given, as it does by default."""
        return regress(system, self.spots, drifts, candidates=candidates, derived=derived, memo=self.memo)

    def effect(self, mutation: Mutation) -> float:
        """Root mean square change of the equation by a mutation, relative to its right-hand side, at the states."""
        total, change = 0.0, 0.0
        names = tuple(self.spots[0].state)
        for n, spot in enumerate(self.spots):
            whole = 0.0
            for t in (*terms_of(self.flow.rhs[mutation.equation]), *((mutation.now,) if mutation.now is not None else ())):
                key = (n, mutation.equation, t)
                if key not in self.memo:
                    self.memo[key] = on_entries(self.flow, spot, names, mutation.equation, t)
                whole = whole + self.memo[key] * (t != mutation.now)
            now = 0.0 if mutation.now is None else self.memo[n, mutation.equation, mutation.now]
            change += float(np.sum((self.memo[n, mutation.equation, mutation.was] - now) ** 2))
            total += float(np.sum(np.square(whole)))
        return float(np.sqrt(change / total))


def open_case(name: str, states: int, seed: int = 1) -> Case:
    """Derive a system of the table and draw its states."""
    make, values = SYSTEMS[name]
    model = make()
    flow, rule = online_limit(model), field_rule(model)
    return Case(flow=flow, rule=rule, plan=plan(model), spots=draw_spots(flow, rule, values, states, 32, seed), memo={})


def candidates_of(mutation: Mutation) -> dict[str, Node]:
    """What the derived equations hold and the mutated ones do not: the default of `numerics.blame`."""
    right = mutation.system.replace(rhs={**mutation.system.rhs, mutation.equation: _with(mutation)})
    return absent(mutation.system, right)


def _with(mutation: Mutation) -> Node:
    kept = [t for t in terms_of(mutation.system.rhs[mutation.equation]) if t != mutation.now]
    return add(*kept, mutation.was)


def main(runs: int = 20, seed: int = 0, states: int = 16, bursts: int = 4000) -> None:
    """Print the table."""
    print(f"{'system':<18}{'mutations':>10}{'named':>7}{'own terms':>11}{'right runs':>12}{'blamed':>8}{'seconds':>9}")
    sums = [0] * 5
    for number, name in enumerate(SYSTEMS):
        start, case = time.perf_counter(), open_case(name, states, seed + 1)
        missed, row = [], [0] * 5
        for n, m in enumerate(mutations(case, len(KINDS), seed=seed + number)):
            drifts = case.measure(bursts, seed=seed + 1000 * number + n)
            one, two = case.judge(m.system, drifts, candidates_of(m), case.flow), case.judge(m.system, drifts, {})
            row[0], row[1], row[2] = row[0] + 1, row[1] + named(one, m), row[2] + noticed(two, m)
            if not (named(one, m) and noticed(two, m)):
                missed.append((m, one, two))
        for n in range(runs):
            right = case.judge(case.flow, case.measure(bursts, seed=seed + 500_000 + 1000 * number + n), {})
            row[3], row[4] = row[3] + 1, row[4] + (not right.passed)
        sums = [a + b for a, b in zip(sums, row, strict=True)]
        print(f"{name:<18}{row[0]:>10}{row[1]:>7}{row[2]:>11}{row[3]:>12}{row[4]:>8}{time.perf_counter() - start:>9.0f}")
        for m, one, two in missed:
            print(
                f"    {m.kind}, d{m.equation}, effect {case.effect(m):.2f}: named {named(one, m)}, own terms {noticed(two, m)}"
            )
            print(f"        {one.terms[0]}\n        {two.terms[0]}", flush=True)
    print(f"{'sum':<18}{sums[0]:>10}{sums[1]:>7}{sums[2]:>11}{sums[3]:>12}{sums[4]:>8}")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
