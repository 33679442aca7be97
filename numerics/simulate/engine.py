"""The tape engine: runs any plan, with gradients taken numerically for every single draw.

An update is applied block by block; a block assigns simultaneously from old values, all blocks of a step share its draws, and
definitions are evaluated anew for each block. The first block is averaged over ``batch`` independent draws. A rate is run only
when the caller gives a step ``dt`` and its average is exact (no draw in it, or finite laws that can be enumerated): it is then
full-batch gradient descent, w <- w + dt E[rate].

Replicas run side by side on a batch axis, each with its own streams. This engine is the witness: slow, general and independent
of every derivation; `families` holds the fast ones. Imported by `numerics`; imports NumPy and this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bind import bind_state, bind_values, sizes_of
from .draws import Sampler, enumerate_laws
from .errors import BindingError, NotSimulable
from .interpret import Scope, evaluate
from .plan import Law, Plan, Rule, read_plan
from .streams import Stream
from .tape import Array, Node, constant
from .trees import Tree, dimension, has

#: Most joint outcomes of finite laws that a rate is averaged over exactly.
MOST_OUTCOMES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What a simulation recorded.

    Attributes
    ----------
    name : str
        Name of the plan.
    t : array, shape (T,)
        Time: number of steps times the ``dt`` of the rule.
    steps : array of int, shape (T,)
        Number of steps done at each record.
    values : dict of arrays, shape (replicas, T, ...)
        State at the records; vectors are columns.
    observables : dict of arrays, shape (replicas, T, ...)
    status : tuple of str
        "ok" or "nonfinite" for each replica.
    seed : int
    """

    name: str
    t: Array
    steps: np.ndarray
    values: Mapping[str, Array]
    observables: Mapping[str, Array]
    status: tuple[str, ...]
    seed: int


def simulate(
    plan: Mapping[str, Any] | Plan,
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    steps: int,
    *,
    seed: int = 0,
    replicas: int = 1,
    every: int | None = None,
    engine: str = "tape",
    observe: bool = True,
    dt: float | None = None,
    mean_draws: int = 1000,
    open_law: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Run the learning rule of a plan on random draws.

    Parameters
    ----------
    plan : mapping or Plan
        Plain data, see `read_plan`.
    values, state : mapping name -> array
        Given symbols and initial state; sizes of the dimensions are read off the arrays (or passed in ``values``). A state
        array may have a leading axis of length ``replicas``.
    steps : int
        Number of steps; 0 records the start.
    seed, replicas : int
        Replica r uses the streams of ``Stream(root=seed, replica=r)``, whatever the number of replicas.
    every : int, optional
        Steps between records; a hundred records by default. The last step is always recorded.
    engine : str
        "tape", the only one that runs plans.
    observe : bool
        Whether to evaluate the observables.
    dt : float, optional
        Step of an exactly averaged `Rate`; an `Update` brings its own.
    mean_draws : int
        Samples of a ``mean(...)``, from a stream of its own; a finite law of at most as many outcomes is summed exactly.
    open_law : {None, "normal"}
        How to draw a law of which only moments are known.
    progress : callable, optional
        Called as ``progress(done, steps)`` at each record.

    Returns
    -------
    SimulationResult

    Raises
    ------
    PlanError, BindingError, NotSimulable

    Examples
    --------
    Online least squares, w <- w - eta (w'x - w0'x) x, loses its error at a rate set by eta:

    >>> loss = ["mul", ["frac", 1, 2], ["pow", ["trace", ["matmul", ["T", ["add", "w", ["mul", -1, "w0"]]], "x"]], 2]]
    >>> data = {"version": 1, "name": "lms", "state": {"w": ["N", 1]}, "given": {"w0": ["N", 1], "eta": []},
    ...     "draws": [{"law": "Normal", "symbols": ["x"], "shapes": [["N", 1]]}], "let": [["L", loss]],
    ...     "rule": {"kind": "update", "blocks": [[["w", ["add", "w", ["mul", -1, "eta", ["grad", "L", "w"]]]]]]}}
    >>> run = simulate(data, {"w0": [1.0, -2.0], "eta": 0.1}, {"w": [0.0, 0.0]}, 300, seed=3)
    >>> run.values["w"][0, -1, :, 0].round(6).tolist()
    [1.0, -2.0]
    """
    if engine != "tape":
        raise NotSimulable(f"engine {engine!r}: a plan runs on 'tape'. The kernels of numerics.simulate.families take arrays.")
    if steps < 0 or replicas < 1 or mean_draws < 1 or (every is not None and every < 1):
        raise BindingError("steps must be >= 0; replicas, every and mean_draws at least 1.")
    run = _open(read_plan(plan), values, state, replicas, seed, dt, mean_draws, open_law)
    every = every or max(1, steps // 100)
    current = bind_state(run.plan, state, run.base.sizes, replicas)
    marks = [*range(0, steps, every), steps]
    kept: dict[str, list[Array]] = {name: [] for name in run.plan.state}
    seen: dict[str, list[Array]] = {name: [] for name in run.plan.observe} if observe else {}
    done = 0
    for mark in marks:
        for _ in range(mark - done):
            current = run.advance(current, None)
        done = mark
        for name, array in current.items():
            kept[name].append(array)
        for name in seen:
            seen[name].append(run.observable(name, current))
        if progress is not None:
            progress(done, steps)
    recorded = {name: np.stack(arrays, axis=1) for name, arrays in kept.items()}
    finite = [all(np.all(np.isfinite(array[r])) for array in recorded.values()) for r in range(replicas)]
    return SimulationResult(
        name=run.plan.name,
        t=np.array(marks) * run.dt,
        steps=np.array(marks),
        values=recorded,
        observables={name: np.stack(arrays, axis=1) for name, arrays in seen.items()},
        status=tuple("ok" if good else "nonfinite" for good in finite),
        seed=seed,
    )


def one_step(
    plan: Mapping[str, Any] | Plan,
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    draws: Mapping[str, Any],
    *,
    dt: float | None = None,
) -> dict[str, Array]:
    """The state after one step with prescribed draws: what hand-written steps are compared with.

    Parameters
    ----------
    draws : mapping name -> array
        One value of every draw that the rule uses, or a stack of them along a leading axis (a batch).

    Returns
    -------
    dict of arrays
        New state, shapes as in the plan.
    """
    run = _open(read_plan(plan), values, state, 1, 0, dt, 1, None)
    nodes = {}
    for law in run.plan.draws:
        for name, shape in zip(law.symbols, law.shapes, strict=True):
            if name in draws:
                target = tuple(dimension(tree, run.base.sizes) for tree in shape)
                nodes[name] = constant(np.asarray(draws[name], dtype=np.float64).reshape(1, -1, *target), len(target))
    stepped = run.advance(bind_state(run.plan, state, run.base.sizes, 1), nodes)
    return {name: array[0] for name, array in stepped.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
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

    def scope(self, state: Mapping[str, Array]) -> Scope:
        """Names at one moment: fixed values and the state, without draws."""
        nodes = dict(self.base.nodes)
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

    def observable(self, name: str, state: Mapping[str, Array]) -> Array:
        """An observable, shape (replicas, ...)."""
        node = evaluate(self.plan.observe[name], self.scope(state))
        replicas = len(next(iter(state.values())))
        return np.broadcast_to(node.value, (replicas, 1, *node.shape))[:, 0].copy()

    def advance(self, state: dict[str, Array], draws: Mapping[str, Node] | None) -> dict[str, Array]:
        """One step; ``draws`` replaces the random ones."""
        laws, scope = self.laws, self.scope(state)
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
                scope = self.scope(state)
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


def _open(
    plan: Plan,
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    replicas: int,
    seed: int,
    dt: float | None,
    mean_draws: int,
    open_law: str | None,
) -> _Run:
    """Check that the plan can be run as asked and bind its arrays and streams."""
    rule = _runnable(plan, dt)
    if open_law not in (None, "normal"):
        raise NotSimulable(
            f"open_law={open_law!r}: the only choice is 'normal', the zero-mean Gaussian with the named moments."
        )
    sizes = sizes_of(plan, values, state)
    arrays = bind_values(plan, values, sizes)
    nodes = {name: constant(array[None, None], array.ndim) for name, array in arrays.items()}
    base = Scope(plan=plan, sizes=sizes, nodes=nodes, let=plan.let)
    streams = [Stream(root=seed, replica=r) for r in range(replicas)]
    fixed = frozenset(arrays) | frozenset(sizes)

    def sampler(purpose: str, more: frozenset[str] = frozenset()) -> Sampler:
        return Sampler(generators=tuple(s.generator(purpose) for s in streams), fixed=fixed | more, open_law=open_law)

    once = tuple(law for law in plan.draws if law.once)
    sampler("once").draw(once, base, 1)
    kept = frozenset(name for law in once for name in law.symbols)
    _check_facts(plan, base)
    step = dt if dt is not None else _number(rule.dt, base, "dt")
    batch = _number(rule.batch, base, "batch")
    if batch != int(batch) or batch < 1:
        raise BindingError(f"batch is {batch:g}; it must be a positive integer.")
    run = _Run(
        plan=plan,
        base=base,
        rule=rule,
        laws=plan.laws(rule.trees),
        dt=step,
        batch=int(batch),
        train=sampler("train", kept),
        observe=sampler("observe", kept),
        mean_draws=mean_draws,
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
            f"{plan.name} has a protocol; simulate each phase by itself, from the state where the last one ended."
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


def _check_exact(run: _Run, state: Mapping[str, Array]) -> None:
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
