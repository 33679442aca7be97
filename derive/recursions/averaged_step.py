"""`recursion`: the exact discrete dynamics of means and second moments under one step of a rule with fresh draws.

A step  s+ = F(s, draws)  of a rule affine in the state maps the average of a product of two state letters to averages of such
products, because fresh draws are independent of the state. With a batch of B draws, s+ = (1/B) sum_b n(s, draw_b) and

    E[s+ s+'] = (1/B) E[n n'] + (1 - 1/B) E_state[ E_draw[n] E_draw[n]' ],

so no product of more than one draw's Gaussian factors is ever paired. Nothing is expanded in the step and no limit is taken:
Gaussian draws enter with their fourth moments, items of bound data with an exact sum.

Without a list of moments they are taken about a rest of the mean that the model itself names (a teacher), if there is one.
Imported by users through `derive.recursion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product as combinations
from typing import Any

from derive.averages.expect import expect
from derive.errors import DerivationError, NotClosed, UnsupportedNode
from derive.flows.flow import model_reader
from derive.flows.parts import average_steps, blocks_of
from derive.matrices.calculus import substitute
from derive.matrices.composite import mentions
from derive.matrices.poly import Poly, atom, constant, monomial, power, text, zero
from derive.matrices.relations import related
from derive.matrices.words import Atom
from derive.recursions.discrete import Recursion
from derive.recursions.moment_table import MomentTable, letters_of, moment_table, named, stands_inside
from derive.recursions.named_moments import default_moments, symbol_of, typed_moments
from derive.spec.lowered import Lowered, LoweredUpdate
from derive.spec.notation import text as tree_text
from derive.spec.tree import Tree, walk
from derive.system import Assumption, Block, Step

__all__ = ["recursion"]

CENTRES = 64  # combinations of given symbols that are tried as a rest of the mean


def recursion(model: Any, moments: Mapping[Any, Any] | None = None) -> Recursion:
    """Exact recursion of averages of the state of a model whose rule is an `Update`.

    Parameters
    ----------
    model : Model
        Its rule is affine in the state, given the draws; ``batch`` may be a number or a symbol.
    moments : mapping symbol -> expression of the state, optional
        What to follow: ``{m: w - c, X: (w - c)*(w - c).T}``, each with one leading product of at most two letters.
        Left out: the mean ``m_w`` of every state and the second moments ``X_w``, ``X_w_v`` of every pair, all about a rest of
        the mean if a given symbol (or zero) is one. Of columns and numbers E[a b'], of matrices E[a'b] (or E[a b'], if that one
        closes).

    Returns
    -------
    Recursion
        Moments after one step in moments before it, as words of matrices; observables of the model in the moments.

    Raises
    ------
    NotClosed
        If a product of the state is left that is none of the moments: the message shows it, and what would mend it.
    UnsupportedNode
        If the rule is no `Update`, or a law does not state an average that is needed.
    InvalidSpec
        If a moment is no product of one or two letters of the state, or its name is taken.
    CheckFailed
        If the recursion disagrees with an exact enumeration of one step.

    Examples
    --------
    Least mean squares with Gaussian inputs; H tr(H X) is what their fourth moments add.

    >>> from derive import Model, Normal, Update, dims, dot, matrix, scalars, vector
    >>> d = dims("d")
    >>> w, c, x = vector("w", d), vector("c", d), vector("x", d)
    >>> H, (eta, noise) = matrix("H", d, d), scalars("eta noise")
    >>> rule = Update({w: w - eta * (dot(w - c, x) - noise) * x})
    >>> lms = Model(name="lms", state=w, given=(c, H, eta), data=(Normal(x, cov=H), Normal(noise)), learn=rule)
    >>> made = recursion(lms)
    >>> print(made.after["m_w"])
    m_w - eta*H*m_w
    >>> print(made.after["X_w"])
    eta^2*H + eta^2*tr(H*X_w)*H + X_w - eta*H*X_w - eta*X_w*H + 2*eta^2*H*X_w*H
    """
    lowered: Lowered = model.lowered
    if not isinstance(lowered.rule, LoweredUpdate):
        kind = "no rule" if lowered.rule is None else type(lowered.rule).__name__.removeprefix("Lowered")
        raise UnsupportedNode(
            f"recursion({lowered.name}): a rule of discrete steps is needed, the model has {kind}; state learn=Update({{w: new "
            "value}), or turn a Rate into one by as_updates(model, eta)"
        )
    if any(item[0] == "phase" for item in lowered.protocol):
        raise UnsupportedNode(
            f"recursion({lowered.name}): the protocol changes the rule; take recursion of each of phases(model)"
        )
    from derive.recursions.step_check import checked

    opened = lowered.opened()
    if opened is lowered:
        return checked(_Averages(lowered, model).recursion(moments), lowered)
    try:
        return checked(_Averages(opened, model).recursion(moments), opened)
    except UnsupportedNode as reason:
        note = Step(title="exact sum over the bound items", detail=f"the named moments do not suffice: {reason}")
        return checked(_Averages(lowered, model, (note,)).recursion(moments), lowered)


class _Averages:
    """One derivation: the lowered model, one step as words, and what is noted on the way."""

    def __init__(self, lowered: Lowered, model: Any, steps: tuple[Step, ...] = ()):
        assert isinstance(lowered.rule, LoweredUpdate)
        self.lowered, self.model, self.rule = lowered, model, lowered.rule
        self.reader = model_reader(lowered, model, steps)
        self.shapes = {n: tuple(lowered.shapes[n]) for n in lowered.state}
        self.drawn = [s for d in lowered.draws if not d.once for s in d.symbols]
        self.first, self.later = self._blocks()
        self.share = self._share()

    # ------------------------------------------------------------------------------------------------------- one step
    def _read(self, tree: Tree, what: str) -> Poly:
        """A tree of the rule as words, held copies released, numbers of the state as letters."""
        try:
            p = self.reader.read(tree)
        except UnsupportedNode as reason:
            raise UnsupportedNode(f"{self.lowered.name}, {what}: {reason}") from reason
        held = {(s.name if isinstance(s, Atom) else s): self.reader.read(n) for n, s in self.reader.stopped.items()}
        return letters_of(substitute(p, held), self.shapes)

    def _letter(self, name: str) -> Poly:
        shape = self.shapes[name]
        return atom(Atom(name, *shape)) if shape else atom(Atom(name, 1, 1)).trace()

    def _blocks(self) -> tuple[dict[str, Poly], dict[str, Poly]]:
        """New values after the first block, for one draw; and the blocks after it, composed, in the values after the first."""
        here = {n: self._letter(n) for n in self.lowered.state}
        blocks = [{n: self._read(tree, f"step of {n}") for n, tree in block} for block in self.rule.blocks]
        first, later = {**here, **blocks[0]}, dict(here)
        for block in blocks[1:]:
            later = {**later, **{n: self._at(p, later) for n, p in block.items()}}
        return first, later

    def _at(self, p: Poly, values: Mapping[str, Poly]) -> Poly:
        return substitute(p, {n: v for n, v in values.items() if v != self._letter(n)})

    def _share(self) -> Poly | None:
        """1/B; None for single draws."""
        batch = self._read(self.rule.batch, "batch")
        if batch == constant(1):
            return None
        if len(batch.terms) != 1 or batch.shape is not None:
            raise UnsupportedNode(f"{self.lowered.name}: a batch of {text(batch)} draws; give a number or one symbol")
        if any(mentions(p, s) for p in self.later.values() for s in self.drawn):
            raise UnsupportedNode(
                f"{self.lowered.name}: a block after the first uses a draw while batch = {text(batch)}: only the first "
                "block is averaged over the batch; move the draws into it"
            )
        return power(batch, Fraction(-1))

    # ------------------------------------------------------------------------------------------------------- averages
    def average(self, p: Poly, table: MomentTable, known: tuple[str, ...]) -> Poly:
        """Over the state, where a product has a name, then over the draws, then over the state again."""
        p = table.averaged(p)
        try:
            p = expect(
                p, self.lowered.draws, self.reader.read, known=(*self.reader.known, *known), functions=self.reader.functions
            )
        except UnsupportedNode as reason:
            if not stands_inside(p, self.shapes):
                raise UnsupportedNode(f"recursion({self.lowered.name}): {reason}") from reason
            key = next(k for k, _ in p.items() if table.degree(k) < 0)
            raise NotClosed(
                f"recursion({self.lowered.name}): a step needs E[{text(monomial(p.shape, key))}]: {self._affine()}"
            ) from reason
        p = table.averaged(letters_of(p, self.shapes))
        return related(p, self.reader.relations) if self.reader.relations else p

    def after(self, definition: Poly, table: MomentTable, known: tuple[str, ...]) -> Poly:
        """The average of a moment after one step."""
        whole = self._at(definition, self.later)
        if self.share is None:
            return self.average(self._at(whole, self.first), table, known)
        squares = Poly(whole.shape, {k: c for k, c in whole.terms.items() if table.degree(k) == 2})
        if any(table.degree(k) not in (0, 1, 2) for k in whole.terms):
            raise NotClosed(f"{self.lowered.name}: a block after the first is not affine ({text(whole)}): {self._affine()}")
        means = {n: self.mean(p, known) for n, p in self.first.items()}
        one = self.average(self._at(squares, self.first), table, known)
        two = self.average(self._at(squares, means), table, known)
        rest = self.average(self._at(whole - squares, means), table, known)
        return rest + two + self.share * (one - two)

    def mean(self, p: Poly, known: tuple[str, ...] = ()) -> Poly:
        """Average over the draws alone, at a fixed state."""
        nothing = MomentTable(state={n: s or (1, 1) for n, s in self.shapes.items()}, first={}, pairs={})
        return self.average(p, nothing, known)

    def centre(self) -> dict[str, Poly]:
        """A rest of the mean step among zero and the given symbols; zero if there is none."""
        rest = {n: zero(s) if s else zero(None) for n, s in self.shapes.items()}
        try:
            means = {n: self.mean(self._at(p, self.first)) for n, p in self.later.items()}
        except DerivationError:
            return rest
        given = [n for n in self.lowered.given if not any(n == d for d in self.lowered.dims)]
        options = [
            [rest[n], *(self.reader.read(g) for g in given if tuple(self.lowered.shapes[g]) == s)]
            for n, s in self.shapes.items()
        ]
        for number, chosen in enumerate(combinations(*options)):
            if number == CENTRES:
                break
            at = dict(zip(self.shapes, chosen, strict=True))
            if all(substitute(p, at) == at[n] for n, p in means.items()):
                return at
        return rest

    # -------------------------------------------------------------------------------------------------------- assembly
    def recursion(self, moments: Mapping[Any, Any] | None) -> Recursion:
        if moments is not None:
            return self._closed(typed_moments(moments, self.lowered, self.reader.read), "as listed")
        centre, reasons = self.centre(), []
        about = ", ".join(f"{n} = {text(c)}" for n, c in centre.items() if c) or "zero"
        for chosen in default_moments(self.lowered, centre):
            try:
                return self._closed(chosen, f"about {about}" + (", a rest of the mean" if about != "zero" else ""))
            except NotClosed as reason:
                reasons.append(reason)
        raise reasons[0]

    def _closed(self, blocks: Mapping[Block, Poly], what: str) -> Recursion:
        names = tuple(b.name for b in blocks)
        definitions = {b.name: letters_of(p, self.shapes) for b, p in blocks.items()}
        table = moment_table(definitions, self.shapes, {b.name: named(b.name, b.shape, b.tags) for b in blocks})
        after = {}
        for name, p in definitions.items():
            after[name] = self.after(p, table, names)
            self._check_closed(name, after[name], table)
        observables, left_out = self._observables(table, names)
        shown = (*after.values(), *observables.values())
        self.reader.known |= {*names}
        lowered, reader = self.lowered, self.reader
        batch = () if self.share is None else (_batch_step(tree_text(self.rule.batch)),)
        steps = (
            *reader.steps,
            Step(title="moments of the state", detail=f"{what}: " + ", ".join(f"{b.name} = {b.meaning}" for b in blocks)),
            *average_steps(lowered, shown),
            *batch,
            *left_out,
        )
        return Recursion(
            name=lowered.name,
            state=tuple(blocks),
            after=after,
            moments={b.name: p for b, p in blocks.items()},
            parameters=blocks_of(lowered, reader.parameter_names(shown), reader.tags, made=reader.made(shown)),
            observables=observables,
            functions=reader.used(shown),
            time=_time(self.rule.dt),
            assumptions=self._assumptions(),
            steps=steps,
            symbols={**lowered.symbols, **{b.name: symbol_of(b, lowered.symbols) for b in blocks}},
            source=self.model,
        )

    def _check_closed(self, name: str, p: Poly, table: MomentTable) -> None:
        left = table.left(p)
        if not left:
            return
        degrees = [table.degree(k) for k in p.terms]
        if min(degrees) < 0 or max(degrees) > 2:
            shown = next(text(monomial(p.shape, k)) for k, _ in p.items() if not 0 <= table.degree(k) <= 2)
            raise NotClosed(f"recursion({self.lowered.name}): {name} after one step needs E[{shown}]: {self._affine()}")
        key = next(k for k, _ in p.items() if table.degree(k))
        letters = [
            x.atom.name
            for w, e in (*key.traces, (key.word or (), Fraction(1)))
            for x in w * int(e)
            if x.atom.name in self.shapes
        ]
        what = (
            f"the mean of {letters[0]}" if len(letters) == 1 else f"a second moment of {' and '.join(dict.fromkeys(letters))}"
        )
        raise NotClosed(
            f"recursion({self.lowered.name}): {name} after one step needs {what}, in E[{left[0]}], which is none of the "
            "moments; name it too, recursion(model, {..., M: product of states}), or leave the moments out"
        )

    def _affine(self) -> str:
        return (
            f"the step is not affine in the state ({', '.join(self.shapes)}), so its second moments do not close; derive a "
            "limit of it by online_limit, with limit=Limit({N: oo})"
        )

    def _observables(self, table: MomentTable, names: tuple[str, ...]) -> tuple[dict[str, Poly], tuple[Step, ...]]:
        """Averages of what the model watches; without any, of the losses of its gradients that have a name."""
        wanted = dict(self.lowered.observe)
        if not wanted:
            trees = [tree for block in self.rule.blocks for _, tree in block]
            losses = {node[1] for tree in trees for node in walk(tree) if isinstance(node, tuple) and node[0] == "grad"}
            wanted = {name: name for name, _ in self.lowered.let if name in losses}
        out: dict[str, Poly] = {}
        left_out: list[Step] = []
        for name, tree in wanted.items():
            try:
                p = self.average(self._read(tree, f"observable {name}"), table, names)
            except UnsupportedNode as reason:
                left_out.append(Step(title=f"observable {name} left out", detail=str(reason)))
                continue
            if left := table.left(p):
                left_out.append(Step(title=f"observable {name} left out", detail=f"E[{left[0]}] is none of the moments"))
            else:
                out[name] = p
        return out, tuple(left_out)

    def _assumptions(self) -> tuple[Assumption, ...]:
        fresh = [s for d in self.lowered.draws if not d.once for s in d.symbols]
        said = [Assumption(text=f"Every step draws {', '.join(fresh)} afresh, independently of the state.")] if fresh else []
        facts = self.lowered.facts
        said += [Assumption(text=f"{tree_text(a)} = {tree_text(b)} (a fact of the model).") for a, b in facts]
        if self.lowered.protocol:
            said.append(
                Assumption(text="Events of the protocol change the state from outside.", remedy="follow it phase by phase")
            )
        return tuple(said)


def _batch_step(batch: str) -> Step:
    return Step(
        title=f"average over a batch of {batch}",
        detail=f"the draws are independent: E[s s'] = E[n n']/{batch} + (1 - 1/{batch}) E[n] E[n'], n the step of one draw",
    )


def _time(dt: Tree) -> str:
    return "n, number of steps" if dt == 1 else f"n, number of steps; one step takes the time {tree_text(dt)}"
