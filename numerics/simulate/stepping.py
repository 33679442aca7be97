"""One run of a plan: arrays, streams and laws bound, and the step that carries the state on.

    block by block:  W <- E over the batch of the new value;      rate:  W <- W + dt E[rate], the average exact

A given symbol may be a function of time, eta(t); it is evaluated at the time at which the step begins.
Imported by the engine and by protocols; imports NumPy and this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bind import bind_state, bind_values, control_value, sizes_of
from .draws import Sampler, enumerate_laws
from .errors import BindingError, NotSimulable
from .interpret import Scope, evaluate
from .plan import Law, Plan, Rule
from .streams import Stream
from .tape import Array, Node, constant
from .trees import Tree, has

#: Most joint outcomes of finite laws that a rate is averaged over exactly.
MOST_OUTCOMES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """A plan with its arrays, streams and the scope of everything that stays fixed."""

    plan: Plan
    base: Scope
    rule: Rule
    laws: tuple[Law, ...]
    dt: float
    batch: int
    train: Sampler
    observe: Sampler
    mean_draws: int
    controls: Mapping[str, Callable[[float], Any]]

    def scope(self, state: Mapping[str, Array], t: float = 0.0) -> Scope:
        """Names at one moment: fixed values, controls and the state, without draws; ``t`` is the time of a protocol."""
        nodes = dict(self.base.nodes)
        nodes["t"] = constant(t, 0)
        for name, control in self.controls.items():
            array = control_value(self.plan, name, control, t, self.base.sizes)
            nodes[name] = constant(array[None, None], array.ndim)
        for name, array in state.items():
            nodes[name] = constant(array[:, None], array.ndim - 1)
        return Scope(plan=self.plan, sizes=self.base.sizes, nodes=nodes, let=self.plan.let, fresh=self.fresh)

    def fresh(self, scope: Scope, tree: Tree) -> tuple[Scope, Array]:
        """Inner scope of an average: every outcome of finite laws, otherwise a sample of its own stream."""
        laws = self.plan.laws((tree,))
        inner = scope.inner({})
        if not laws:
            return inner, np.ones(1)
        weights = enumerate_laws(laws, inner, self.mean_draws)
        if weights is None:
            self.observe.draw(laws, inner, self.mean_draws)
            weights = np.full(self.mean_draws, 1.0 / self.mean_draws)
        return inner, weights

    def value(self, tree: Tree, state: Mapping[str, Array], t: float = 0.0) -> Array:
        """Value of an expression without draws, shape (replicas, ...)."""
        node = evaluate(tree, self.scope(state, t))
        replicas = len(next(iter(state.values())))
        return np.broadcast_to(node.value, (replicas, 1, *node.shape))[:, 0].copy()

    def observable(self, name: str, state: Mapping[str, Array], t: float = 0.0) -> Array:
        """An observable, shape (replicas, ...)."""
        return self.value(self.plan.observe[name], state, t)

    def advance(self, state: dict[str, Array], draws: Mapping[str, Node] | None, t: float = 0.0) -> dict[str, Array]:
        """One step from time t; ``draws`` replaces the random ones."""
        laws, scope = self.laws, self.scope(state, t)
        weights: Array | None = None
        if draws is not None:
            missing = [name for law in laws for name in law.symbols if name not in draws]
            if missing:
                raise BindingError(f"no value for the draw {missing[0]}. Pass draws={{{missing[0]!r}: ...}}.")
            scope.nodes.update(draws)
        elif self.rule.kind == "rate":
            weights = enumerate_laws(laws, scope, MOST_OUTCOMES) if laws else None
        else:
            self.train.draw(laws, scope, self.batch)
        drawn = {name: scope.nodes[name] for law in laws for name in law.symbols}
        for number, block in enumerate(self.rule.blocks):
            if number:
                scope = self.scope(state, t)
                scope.nodes.update(drawn)
            state = {**state, **{name: self._assign(name, tree, scope, state, number, weights) for name, tree in block}}
        return state

    def _assign(
        self, name: str, tree: Tree, scope: Scope, state: Mapping[str, Array], number: int, weights: Array | None
    ) -> Array:
        node = evaluate(tree, scope)
        old = state[name]
        if node.shape != old.shape[1:]:
            raise NotSimulable(f"the rule gives {name} the shape {node.shape}, its own is {old.shape[1:]}.")
        axis = -1 - node.rank
        value = np.broadcast_to(node.value, (old.shape[0], *np.broadcast_shapes(node.batch, (1, 1))[1:], *node.shape))
        if number and value.shape[1] != 1:
            raise NotSimulable(
                f"block {number + 1} of the rule uses draws for {name} while batch > 1: only the first block is averaged over "
                "the batch. Move the draws into the first block."
            )
        if weights is not None:
            w = weights if node.rank == 0 else weights[..., None, None]
            mean = np.asarray((w * value).sum(axis=axis))
        else:
            mean = np.asarray(value.mean(axis=axis))
        return mean if self.rule.kind == "update" else old + self.dt * mean


def open_run(
    plan: Plan,
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    replicas: int,
    seed: int,
    dt: float | None,
    mean_draws: int,
    open_law: str | None,
    phase: int = 0,
) -> Stepper:
    """Check that the plan can be run as asked and bind its arrays and streams; every phase of a protocol has its own."""
    rule = _runnable(plan, dt)
    if open_law not in (None, "normal"):
        raise NotSimulable(
            f"open_law={open_law!r}: the only choice is 'normal', the zero-mean Gaussian with the named moments."
        )
    controls = {name: value for name, value in values.items() if callable(value)}
    still = {name: value for name, value in values.items() if name not in controls}
    sizes = sizes_of(plan, still, state)
    arrays = bind_values(plan, still, sizes, moving=tuple(controls))
    for name, control in controls.items():
        control_value(plan, name, control, 0.0, sizes)
    nodes = {name: constant(array[None, None], array.ndim) for name, array in arrays.items()}
    base = Scope(plan=plan, sizes=sizes, nodes=nodes, let=plan.let)
    streams = [Stream(root=seed, cell=phase, replica=r) for r in range(replicas)]
    once_streams = [Stream(root=seed, replica=r) for r in range(replicas)]
    fixed = frozenset(arrays) | frozenset(sizes)

    def sampler(purpose: str, more: frozenset[str] = frozenset()) -> Sampler:
        chosen = once_streams if purpose == "once" else streams
        return Sampler(generators=tuple(s.generator(purpose) for s in chosen), fixed=fixed | more, open_law=open_law)

    once = tuple(law for law in plan.draws if law.once)
    sampler("once").draw(once, base, 1)
    kept = frozenset(name for law in once for name in law.symbols)
    _check_facts(plan, base)
    step = dt if dt is not None else _number(rule.dt, base, "dt")
    batch = _number(rule.batch, base, "batch")
    if batch != int(batch) or batch < 1:
        raise BindingError(f"batch is {batch:g}; it must be a positive integer.")
    run = Stepper(
        plan=plan,
        base=base,
        rule=rule,
        laws=plan.laws(rule.trees),
        dt=step,
        batch=int(batch),
        train=sampler("train", kept),
        observe=sampler("observe", kept),
        mean_draws=mean_draws,
        controls=controls,
    )
    if rule.kind == "rate":
        _check_exact(run, bind_state(plan, state, sizes, replicas))
    return run


def _runnable(plan: Plan, dt: float | None) -> Rule:
    rule = plan.rule
    if rule is None:
        raise NotSimulable(f"{plan.name} has no learning rule, so nothing moves. Give the model learn=Update(...).")
    if plan.phases:
        raise NotSimulable(
            f"{plan.name} has a protocol; run it by simulate_protocol(plan, values, state), which knows its lengths."
        )
    if rule.kind == "update" and dt is not None:
        raise NotSimulable("dt belongs to a Rate; an Update brings its own dt. Leave it out.")
    if rule.kind == "rate":
        if dt is None:
            raise NotSimulable(
                "a Rate is a flow, not a simulation. Turn it into the SGD that simulates it, "
                "as_updates(model, eta, batch=...), or pass dt=... for full-batch descent with exact averages."
            )
        if rule.noise:
            raise NotSimulable(f"the rate of {rule.noise[0][0]} has a noise term. Write the discrete rule as an Update.")
    for tree in (*rule.trees, *plan.let.values()):
        if has(tree, "mean"):
            moved = [law.label for law in plan.draws if plan.reach(law.trees) & set(plan.state)]
            if moved:
                raise NotSimulable(
                    f"mean(...) in the rule while {moved[0]} depends on the state: its gradient is not simulated."
                )
    return rule


def _check_exact(run: Stepper, state: Mapping[str, Array]) -> None:
    if run.laws and enumerate_laws(run.laws, run.scope(state), MOST_OUTCOMES) is None:
        labels = ", ".join(law.label for law in run.laws)
        raise NotSimulable(
            f"the average of the rate over {labels} cannot be summed exactly. "
            "Use as_updates(model, eta, batch=...), or bind data."
        )


def _number(tree: Tree | None, scope: Scope, what: str) -> float:
    if tree is None:
        return 1.0
    node = evaluate(tree, scope)
    if node.value.size != 1:
        raise BindingError(f"{what} must be one number; it has shape {node.shape}.")
    return float(node.value.reshape(()))


def _check_facts(plan: Plan, base: Scope) -> None:
    """Facts about given arrays are measured; a fact about draws is taken on trust."""
    fixed = frozenset(base.nodes) | frozenset(base.sizes)
    for left, right in plan.facts:
        if not plan.reach((left, right)) <= fixed:
            continue
        a, b = evaluate(left, base).value, evaluate(right, base).value
        size = max(1.0, float(np.max(np.abs(a))), float(np.max(np.abs(b))))
        if np.max(np.abs(a - b)) > 1e-8 * size:  # 1e-8: facts are typed by hand, arrays rounded by a few products
            raise BindingError(
                f"the arrays break the fact {left!r} = {right!r} by {np.max(np.abs(a - b)):.3g}. Pass arrays that obey it."
            )
