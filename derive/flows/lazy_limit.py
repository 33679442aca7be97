"""The lazy limit: outputs on given data follow a linear equation while the weights hardly move.

Let F (o x P) hold the outputs on all items, and G(F) the derivatives of the loss with respect to them. Gradient flow with any
rates moves the weights by a linear function of G, and to first order in the change of the weights

    F' = dF/dW [ rates(G(F)) ]      with dF/dW at the starting weights,

that is F' = -K G(F), K the neural tangent kernel of the start. Nothing is assumed of the network (any depth, any activation) or
of the loss; for squared error the equation is linear and `closed_form` solves it in the eigenbasis of K. Words hold K as the
product of the backward and the forward pass, so it is never built. Imported by users through `derive`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.averages.onehot import average_over_items, columns_of, pulled_out
from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.flows.check import random_array
from derive.flows.flow import gradient_flow
from derive.flows.parts import blocks_of, functions_of, tags_of
from derive.matrices.calculus import along, grad, substitute
from derive.matrices.composite import atoms, functions_in, hadamard, mentions, ones, parameters
from derive.matrices.convert import to_poly
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, identity, param, zero
from derive.matrices.words import Atom, is_ones
from derive.reductions.ansatz import name_of
from derive.spec.lowered import Draw, Lowered, LoweredRate
from derive.spec.shapes import size_of
from derive.spec.tree import Tree, names, walk
from derive.system import Assumption, Block, Flow, Reduction, Step

TOLERANCE = 1e-6  # central differences: truncation h^2 = 1e-10 times curvature, rounding 1e-11
STEP = 1e-5


def linearise(model: Any, output: Any) -> Reduction:
    """The flow of the outputs of a network on its data, to first order in the change of the weights.

    Parameters
    ----------
    model : Model or Flow
        With a `Rate` made of gradients of losses that depend on the weights through ``output`` only, on finitely many items: a
        model bound to arrays, a `Choice` of a unit column, or data as given matrices without any draw.
    output : symbol
        A definition of ``let``: a column (or number) for an item, or a matrix of all outputs if nothing is drawn.

    Returns
    -------
    Reduction
        ``system`` has the state ``output`` of shape (o, P); its parameters are the weights *at the start* and the data.
        ``project_state(values, weights)`` gives the outputs of any weights. ``proof`` is "leading order": deviations vanish as
        the scale of the starting weights grows.

    Raises
    ------
    InvalidSpec
        If ``output`` is no definition of the model.
    UnsupportedNode
        If the weights enter the loss otherwise (weight decay), a rate is no sum of gradients, or the items are not finite.
    CheckFailed
        If the linearised rate disagrees with differences of the outputs along the rates.

    Examples
    --------
    >>> from derive import Model, Rate, dims, fn, grad, matrix, norm2, scalars
    >>> h, i, P = dims("h i P")
    >>> W, a, X, Y = matrix("W", h, i), matrix("a", 1, h), matrix("X", i, P), matrix("Y", 1, P)
    >>> f, L = matrix("f", 1, P), scalars("L")
    >>> m = Model(name="half_frozen", state=(a,), given=(W, X, Y), let={f: a * fn.tanh(W * X), L: norm2(f.T - Y.T) / 2},
    ...           learn=Rate({a: -grad(L, a)}))
    >>> print(linearise(m, f).system.rhs["f"])
    Y*tanh(W*X)'*tanh(W*X) - f*tanh(W*X)'*tanh(W*X)
    """
    flow = model if isinstance(model, Flow) else gradient_flow(model)
    source = flow.source
    lowered = getattr(source, "lowered", None)
    if not isinstance(lowered, Lowered) or not isinstance(lowered.rule, LoweredRate):
        raise UnsupportedNode(f"linearise({flow.name}): outputs are defined in a Model with a Rate; pass the model itself")
    return _Lazy(flow, lowered, name_of(output)).reduction()


class _Lazy:
    """One linearisation."""

    def __init__(self, flow: Flow, lowered: Lowered, output: str):
        definitions = dict(lowered.let)
        if output not in definitions:
            known = ", ".join(definitions) or "nothing"
            raise InvalidSpec(f"linearise({lowered.name}): {output} is no definition of `let`; the model defines {known}")
        self.flow, self.lowered, self.output = flow, lowered, output
        self.tags = tags_of(lowered)
        self.shapes = {**dict.fromkeys(lowered.dims, ()), **lowered.shapes}
        self.item = self._item()
        self.forward = self._all_items(self._read(output))
        assert self.forward.shape is not None
        self.state = Atom(output, *self.forward.shape)
        self.open = replace(lowered, let=tuple(pair for pair in lowered.let if pair[0] != output))

    def _item(self) -> tuple[Atom, Draw] | None:
        draws = [d for d in self.lowered.draws if not d.once]
        if not draws:
            return None
        (draw, *more) = draws
        if more or draw.law != "Choice" or draw.values is not None:
            listed = ", ".join(f"{d.law}({', '.join(d.symbols)})" for d in draws)
            raise UnsupportedNode(
                f"linearise({self.lowered.name}): outputs are followed on finitely many items, but the data are {listed}; "
                "bind the model to arrays: model.bind(x=X, y=Y)"
            )
        (name,) = draw.symbols
        return Atom(name, *draw.shapes[name]), draw

    def _read(self, tree: Tree, lowered: Lowered | None = None, special: Any = None) -> Poly:
        inlined = (lowered or self.lowered).inline(tree)
        positive = [n for n, s in self.lowered.symbols.items() if getattr(s, "is_positive", False)]
        return to_poly(inlined, self.shapes, tags=self.tags, positive=positive, special=special)

    def _all_items(self, p: Poly) -> Poly:
        """An expression of one item for all items, in columns."""
        if self.item is None:
            return p if p.shape is not None else p * identity(1)
        column = p if p.shape is not None else p * identity(1)
        return columns_of(pulled_out(column, self.item[0]), self.item[0])

    def _weights(self) -> Poly:
        """Probabilities of the items, as a row of the shape of the outputs."""
        assert self.item is not None
        item, draw = self.item
        if draw.probs is None:
            return param(str(item.rows), -1)
        return ones(self.state.rows, 1) * self._read(draw.probs).T

    def _slope(self, loss: Tree) -> Poly:
        """Derivative of a loss by the outputs, items in columns, weighted by their probabilities."""
        shape = self.shapes[self.output]
        p = self._read(loss, self.open)
        for name in self.lowered.state:
            if mentions(p, name):
                raise UnsupportedNode(
                    f"linearise({self.lowered.name}): the loss depends on {name} otherwise than through {self.output}; the "
                    "lazy limit is that of losses of the outputs, leave such terms (weight decay) out"
                )
        slope = grad(p, Atom(self.output, *shape) if shape else self.output)
        held = atom(self.state) if self.item is None else atom(self.state) * atom(self.item[0])
        value: Poly = held if shape else held.trace()
        slope = self._all_items(substitute(slope, {self.output: value}))
        if self.item is None:
            return slope
        weights = self._weights()
        return weights * slope if weights.shape is None else hadamard(weights, slope)

    def _rate(self) -> tuple[Poly, dict[str, Poly]]:
        """Rate of the outputs, and of the weights, both linear in the slopes."""
        assert isinstance(self.lowered.rule, LoweredRate)
        slopes: dict[str, Poly] = {}

        def special(tree: Tree) -> Poly:
            if tree[0] != "grad":
                raise UnsupportedNode(f"linearise({self.lowered.name}): a rate with {tree[0]}(...) is no sum of gradients")
            held = next((n for n, t in losses.items() if t == tree[1]), f"#slope{len(losses)}")
            if held not in losses:
                losses[held] = tree[1]
                slopes[held] = self._slope(tree[1])
            shape = self.shapes[tree[2]]
            variable: Any = Atom(tree[2], *shape) if shape else tree[2]
            return grad((atom(Atom(held, self.state.rows, self.state.cols)).T * self.forward).trace(), variable)

        losses: dict[str, Tree] = {}
        rates = {n: self._read(t, self.open, special) for n, t in self.lowered.rule.rates}
        nothing = {n: zero((self.state.rows, self.state.cols)) for n in slopes}
        for n, p in rates.items():
            if substitute(p, nothing):
                raise UnsupportedNode(
                    f"linearise({self.lowered.name}): the rate of {n} does not vanish with the error, so {n} does not stay "
                    "near its start; leave decay and drift out"
                )
        rates = {n: substitute(p, slopes) for n, p in rates.items()}
        return along(self.forward, rates), rates

    def reduction(self) -> Reduction:
        rhs, rates = self._rate()
        self._check(rhs, rates)
        observables = self._observables()
        shown = (rhs, *observables.values())
        used = {a.name for p in (*shown, self.forward) for a in atoms(p) if not is_ones(a)}
        used |= {n for p in (*shown, self.forward) for n in parameters(p)}
        order = [*self.lowered.state, *self.lowered.given, *sorted(used)]
        kept = tuple(dict.fromkeys(n for n in order if n in used and n != self.output))
        functions = functions_of(self.lowered)
        step = Step(
            title=f"linearised in the weights around their start: outputs {self.output} on all items",
            detail="rates of the weights, with the derivative by the outputs in place of the loss, through the forward map",
            check=f"agrees with central differences of the outputs along the rates to {TOLERANCE:.0e}",
        )
        visible = {d for n in (*kept, self.output) for s in self._shape(n) for d in names(s)}
        system = Flow(
            name=f"{self.lowered.name}_lazy",
            state=(Block(name=self.output, shape=(self.state.rows, self.state.cols), meaning="outputs on all items"),),
            rhs={self.output: rhs},
            parameters=tuple(
                replace(b, meaning="at the start") if b.name in self.lowered.state else b
                for b in blocks_of(self.lowered, [n for n in kept if n not in visible], self.tags)
            ),
            observables=observables,
            functions={n: functions[n] for n in sorted({f for p in shown for f in functions_in(p)}) if n in functions},
            time=self.flow.time,
            assumptions=(
                *self.flow.assumptions,
                Assumption(
                    text="The weights stay near their start: leading order in the change of the weights (lazy limit).",
                    remedy="scale the starting weights up and compare with the full flow: the deviation falls",
                ),
            ),
            steps=(*self.flow.steps, step),
            symbols=dict(self.lowered.symbols),
            source=self.flow,
        )

        def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
            known = {name_of(k): v for k, v in values.items()}
            return {b.name: known[b.name] for b in system.parameters if b.name in known}

        def project_state(values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
            at = {name_of(k): v for k, v in (*values.items(), *full_state.items())}
            return {self.output: evaluate(self.forward, at, functions=functions)}

        return Reduction(
            full=self.flow, system=system, lift={}, proof="leading order", steps=(step,), assumptions=system.assumptions[-1:],
            parameters_from=parameters_from, project_state=project_state,
        )  # fmt: skip

    def _shape(self, name: str) -> tuple[Any, ...]:
        return (self.state.rows, self.state.cols) if name == self.output else tuple(self.shapes.get(name, ()))

    def _observables(self) -> dict[str, Poly]:
        """Averages of what the model watches, as far as it depends on the weights through the outputs only."""
        out = {}
        for name, tree in self.lowered.observe:
            bare = tree[1] if isinstance(tree, tuple) and tree[0] == "mean" else tree
            if any(isinstance(node, tuple) and node[0] in ("mean", "grad", "stop", "root") for node in walk(bare)):
                continue
            p = self._read(bare, self.open)
            if any(mentions(p, w) for w in self.lowered.state):
                continue
            if self.item is not None:
                held = atom(self.state) * atom(self.item[0])
                p = substitute(p, {self.output: held if self.shapes[self.output] else held.trace()})
                probs = self.item[1].probs
                p = average_over_items(p, self.item[0], None if probs is None else self._read(probs))
            out[name] = p
        return out

    def _check(self, rhs: Poly, rates: Mapping[str, Poly]) -> None:
        """Outputs differentiated numerically along the rates, at a few random points (a kink may spoil one of them)."""
        found = {a.name: a for p in (rhs, self.forward, *rates.values()) for a in atoms(p) if not is_ones(a)}
        numbers = sorted({n for p in (rhs, self.forward, *rates.values()) for n in parameters(p)})
        functions = functions_of(self.lowered)
        numbers += sorted({n for f in functions.values() for n in names(f.body) if n != f.variable} - set(numbers))
        sizes = {
            d: 2 + i % 2 for i, d in enumerate(sorted({d for a in found.values() for s in (a.rows, a.cols) for d in names(s)}))
        }
        worst = np.inf
        for attempt in range(4):
            rng = np.random.default_rng([20, attempt])
            at: dict[str, Any] = {n: rng.uniform(0.5, 1.5) for n in numbers if n not in sizes}
            at |= {n: random_array(found[n], sizes, rng) for n in sorted(found)}
            at[self.output] = rng.standard_normal([size_of(s, sizes) or 1 for s in (self.state.rows, self.state.cols)])
            speed = {n: np.asarray(evaluate(p, at, functions=functions, sizes=sizes)) for n, p in rates.items()}
            ends = [
                evaluate(
                    self.forward,
                    {**at, **{n: at[n] + sign * STEP * v for n, v in speed.items()}},
                    functions=functions,
                    sizes=sizes,
                )
                for sign in (1, -1)
            ]
            expected = (np.asarray(ends[0]) - np.asarray(ends[1])) / (2 * STEP)
            given = np.asarray(evaluate(rhs, at, functions=functions, sizes=sizes))
            worst = min(worst, float(np.abs(given - expected).max() / (np.abs(expected).max() + 1e-12)))
            if worst <= TOLERANCE:
                return
        raise CheckFailed(
            f"linearise({self.lowered.name}): the rate of {self.output} deviates by {worst:.1e} from differences of the "
            f"outputs along the rates of the weights (bound {TOLERANCE:g})"
        )
