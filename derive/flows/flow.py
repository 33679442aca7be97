"""From a model with a `Rate` to its matrix-level flow.

    d W / dt = E[rate],     grad(L, W) inside the rate: cyclic derivative of the loss as a sum of words

``grad``, ``mean`` and ``stop`` may stand anywhere in a rate: gradients are taken draw by draw, then the whole rate is averaged,
so rates that are no gradients, or only partly, are no special case. Every gradient is compared with differences of its loss
before it is used. A model that was bound to arrays is derived from its named moments if they suffice, else as an exact sum
over items. Imported by users through `derive.gradient_flow`.
"""

from __future__ import annotations

from typing import Any

from derive.averages.expect import expect
from derive.errors import UnsupportedNode
from derive.flows.check import TOLERANCE, check_gradient
from derive.flows.parts import assumptions_of, average_steps, blocks_of, functions_of, tags_of
from derive.matrices.calculus import grad, substitute
from derive.matrices.composite import atoms, functions_in, mentions, parameters
from derive.matrices.convert import to_poly
from derive.matrices.entrywise import DELTA, freed
from derive.matrices.facts import relations_of
from derive.matrices.implicit import solution
from derive.matrices.poly import Poly, atom, param
from derive.matrices.relations import related
from derive.matrices.two_sided import domain
from derive.matrices.words import Atom
from derive.spec.lowered import Lowered, LoweredOptimum, LoweredRate, LoweredUpdate, lowered_of
from derive.spec.tree import Tree, names, walk
from derive.system import Flow, Function, Step

__all__ = ["gradient_flow"]


def gradient_flow(model: Any) -> Flow:
    """Flow of a model whose rule is a `Rate`, averaged over its data law.

    Parameters
    ----------
    model : Model

    Returns
    -------
    Flow
        State in the order of the model; right-hand sides, observables and assumptions as words of matrices; parameters are
        every other array or number that occurs, moments that the law leaves unnamed included (``Sxy``, ``mx``); every step with
        its rule and its check.

    Raises
    ------
    UnsupportedNode
        If the rule is no `Rate`, or a law or node has no matrix-level treatment; the message names the verb that has one.
    CheckFailed
        If a symbolic gradient disagrees with differences of its loss.

    Examples
    --------
    >>> from derive.library.linear import linear_network
    >>> flow = gradient_flow(linear_network(depth=2))
    >>> print(flow.rhs["W1"])
    W2'*Syx/tau - W2'*W2*W1*Sx/tau
    """
    lowered = lowered_of("gradient_flow", model)
    _check_rule(lowered)
    opened = lowered.opened()
    if opened is lowered:
        return _Derivation(lowered, model).flow()
    try:
        return _Derivation(opened, model).flow()
    except UnsupportedNode as reason:
        if any(d.odd or d.even for d in opened.draws):  # on symmetric data the even averages are summed over the items
            return _Derivation(lowered.opened(keep_items=True), model).flow()
        note = Step(title="exact sum over the bound items", detail=f"the named moments do not suffice: {reason}")
        return _Derivation(lowered, model, (note,)).flow()


def _check_rule(lowered: Lowered) -> None:
    rule = lowered.rule
    if isinstance(rule, LoweredUpdate):
        raise UnsupportedNode(
            f"gradient_flow({lowered.name}): the rule is an Update, a step; use online_limit for its continuous-time limit, "
            "recursion for the discrete map, or state a Rate"
        )
    if isinstance(rule, LoweredOptimum):
        raise UnsupportedNode(f"gradient_flow({lowered.name}): the rule is an Optimum, a static problem; use stationary")
    if not isinstance(rule, LoweredRate):
        raise UnsupportedNode(f"gradient_flow({lowered.name}): the model has no rule; add learn=Rate({{W: -grad(L, W)/tau}})")
    if rule.noise:
        noisy = ", ".join(name for name, _ in rule.noise)
        raise UnsupportedNode(
            f"gradient_flow({lowered.name}): {noisy} has noise; a Flow is deterministic, drop noise from the Rate"
        )


def model_reader(lowered: Lowered, model: Any, steps: tuple[Step, ...] = ()) -> _Derivation:
    """The reader of one model: trees as words, gradients taken and checked; other verbs of this level begin with it."""
    return _Derivation(lowered, model, steps)


class _Derivation:
    """One derivation: the lowered model, and what is noted on the way."""

    def __init__(self, lowered: Lowered, model: Any, steps: tuple[Step, ...] = ()):
        self.lowered, self.model, self.steps = lowered, model, list(steps)
        self.shapes = {**dict.fromkeys(lowered.dims, ()), **lowered.shapes}
        self.tags = tags_of(lowered)
        self.positive = [n for n, s in lowered.symbols.items() if getattr(s, "is_positive", False)] + list(lowered.dims)
        self.memo: dict[Tree, Poly] = {}
        self.called = {lowered.inline(definition): n for n, definition in reversed(lowered.let)}
        self.functions = functions_of(lowered)
        self.stopped = {n: self._stopped(n) for n in lowered.state}
        self.roots: dict[str, Poly] = {}
        self.domains = tuple(domain(n, p) for n, p in self._roots().items())
        self.relations = relations_of(lowered, self.read)
        self.known = {*self.shapes, *(p.name if isinstance(p, Atom) else p for p in self.stopped.values())}

    def _stopped(self, name: str) -> Atom | str:
        held = f"stop[{name}]"
        return Atom(held, *self.shapes[name]) if self.shapes[name] else held

    def flow(self) -> Flow:
        lowered = self.lowered
        assert isinstance(lowered.rule, LoweredRate)
        rates = dict(lowered.rule.rates)
        rhs = {name: self.averaged(rates[name], f"rate of {name}") for name in lowered.state}
        observables = self.observables()
        shown = (*rhs.values(), *observables.values())
        self.steps += average_steps(lowered, shown)
        if self.relations:
            self.steps.append(Step(title="facts of the model used", detail="; ".join(str(r) for r in self.relations)))
        return Flow(
            name=lowered.name,
            state=blocks_of(lowered, lowered.state, self.tags),
            rhs=rhs,
            parameters=blocks_of(lowered, self.parameter_names(shown), self.tags, made=self.made(shown)),
            observables=observables,
            functions=self.used(shown),
            time="t, in the unit of the rates",
            assumptions=(*assumptions_of(lowered, self.plain), *self.domains),
            steps=tuple(self.steps),
            symbols=dict(lowered.symbols),
            source=self.model,
        )

    def _roots(self) -> dict[str, Poly]:
        """Definitions by an equation, each solved with those before it."""
        for name, tree in self.lowered.let:
            if isinstance(tree, tuple) and tree[0] == "root":
                try:
                    self.roots[name] = solution(self.read(tree[1]), name)
                except UnsupportedNode as reason:
                    raise UnsupportedNode(f"{self.lowered.name}, definition of {name}: {reason}") from reason
                self.memo.clear()
        return self.roots

    def read(self, tree: Tree) -> Poly:
        """Poly of a tree over the names of the model, definitions inlined."""
        if tree not in self.memo:
            inlined = self.lowered.inline(tree)
            p = to_poly(inlined, self.shapes, tags=self.tags, positive=self.positive, special=self.special)
            self.memo[tree] = substitute(p, self.roots)
        return self.memo[tree]

    def special(self, tree: Tree) -> Poly:
        """Value of a ``grad``, ``mean`` or ``stop`` node."""
        if tree[0] == "mean":
            return self.average(self.read(tree[1]))
        if tree[0] == "stop":
            held = {n: atom(s) if isinstance(s, Atom) else param(s) for n, s in self.stopped.items()}
            return substitute(self.read(tree[1]), held)
        loss, name = self.read(tree[1]), tree[2]
        shape = self.shapes[name]
        variable: Atom | str = Atom(name, shape[0], shape[1], self.tags.get(name, ())) if shape else name
        for f in functions_in(loss):
            if f in self.functions and name in names(self.functions[f].body):
                raise UnsupportedNode(f"gradient by {name}, a parameter of the activation {f}: write the function out in `let`")
        gradient = grad(loss, variable)
        check_gradient(freed(loss), variable, freed(gradient), functions=self.functions)
        self.note_gradient(tree, name, loss)
        return gradient

    def note_gradient(self, tree: Tree, name: str, loss: Poly) -> None:
        composite = functions_in(loss)
        rule = "cyclic derivative of words" + (f", chain rule through {', '.join(composite)}" if composite else "")
        step = Step(
            title=f"gradient of {self.called.get(tree[1], 'the loss')} by {name}",
            detail=rule,
            check=f"agrees with central differences of the loss at random sizes and points to {TOLERANCE:.0e}",
        )
        if step not in self.steps:
            self.steps.append(step)

    def average(self, p: Poly) -> Poly:
        return expect(p, self.lowered.draws, self.read, known=self.known, functions=self.functions)

    def averaged(self, tree: Tree, what: str) -> Poly:
        """Average of a rate or observable over fresh draws, stopped copies released."""
        try:
            p = self.average(self.read(tree))
        except UnsupportedNode as reason:
            raise UnsupportedNode(f"{self.lowered.name}, {what}: {reason}") from reason
        p = substitute(p, {(s.name if isinstance(s, Atom) else s): self.read(n) for n, s in self.stopped.items()})
        if DELTA in functions_in(p):
            raise UnsupportedNode(
                f"{self.lowered.name}, {what}: a branch of case(...) is chosen by a number that is not drawn; draw it, "
                "Choice(task, (1, 2)), or bind it in phases and take gradient_flow of each of phases(model)"
            )
        return related(p, self.relations) if self.relations else p

    def plain(self, tree: Tree) -> Poly:
        """Poly of a tree without what the facts say about tags, so that a fact can be measured."""
        return to_poly(self.lowered.inline(tree), self.shapes, positive=self.positive, special=self.special)

    def observables(self) -> dict[str, Poly]:
        """Averages of what the model watches; without any, of the losses of its gradients that have a name."""
        wanted = dict(self.lowered.observe)
        if not wanted:
            assert isinstance(self.lowered.rule, LoweredRate)
            losses = {node[1] for _, tree in self.lowered.rule.rates for node in walk(tree) if _is_grad(node)}
            wanted = {name: name for name, _ in self.lowered.let if name in losses}
        out: dict[str, Poly] = {}
        for name, tree in wanted.items():
            try:
                out[name] = self.averaged(tree, f"observable {name}")
            except UnsupportedNode as reason:
                self.steps.append(Step(title=f"observable {name} left out", detail=str(reason)))
        return out

    def used(self, shown: tuple[Poly, ...]) -> dict[str, Function]:
        """Activations that occur, and those that their bodies call."""
        wanted, found = [n for p in shown for n in functions_in(p)], {}
        while wanted:
            name = wanted.pop()
            if name in self.functions and name not in found:
                found[name] = self.functions[name]
                wanted += [node[1] for node in walk(found[name].body) if isinstance(node, tuple) and node[0] == "map"]
        return dict(sorted(found.items()))

    def made(self, shown: tuple[Poly, ...]) -> dict[str, Atom | None]:
        """Moments that the law does not name: atoms, None for numbers."""
        found: dict[str, Atom | None] = {}
        for p in shown:
            found |= {a.name: a for a in atoms(p) if a.name not in self.known and not a.name.startswith("ones[")}
            found |= {n: None for n in parameters(p) if n not in self.known}
        return dict(sorted(found.items()))

    def parameter_names(self, shown: tuple[Poly, ...]) -> tuple[str, ...]:
        """Names that occur and are no state, in the order of the model; dimensions only if no array shows them."""
        inside = {n for f in self.used(shown).values() for n in names(f.body) if n != f.variable}
        made = self.made(shown)
        order = [*self.lowered.given, *sorted(set(self.lowered.roles) - set(self.lowered.given)), *made]
        arrays = [
            n for n in order if n not in self.lowered.state and (n in inside or n in made or any(mentions(p, n) for p in shown))
        ]
        visible = {d for n in (*self.lowered.state, *arrays) for s in self.shapes.get(n, ()) for d in names(s)}
        visible |= {d for a in made.values() if a is not None for s in (a.rows, a.cols) for d in names(s)}
        loose = [d for d in self.lowered.dims if d not in visible and d not in arrays and any(mentions(p, d) for p in shown)]
        return (*arrays, *loose)


def _is_grad(node: Tree) -> bool:
    return isinstance(node, tuple) and node[0] == "grad"
