"""`complete`: the smallest closed system of equations that contains chosen observables.

    d O_i / dt = sum of products of O_1, ..., O_n        for observables O_i = tr(word), or O_i = word

Take the time derivative of an observable along the flow, cut every word of it into observables (`derive.completion.units`),
add those that are new, and go on until there is none. What comes out is a proof: each equation is an identity of words. It
holds for every state, so there is no manifold, no assumption and no lift. If words grow without end, the refusal names the
factor that repeats. Every equation is compared with differences along the full flow before it is returned.
Imported by users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.completion.check import check_closure
from derive.completion.names import name_unit
from derive.completion.read import Wanted, read_wanted
from derive.completion.refusal import refusal
from derive.completion.units import Lookup, Reader, UnitKey, variable
from derive.errors import InvalidSpec, NotClosed, UnsupportedNode
from derive.matrices.calculus import ddt
from derive.matrices.composite import atoms, parameters
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, constant, monomial, param, power, text
from derive.matrices.words import Key, Size, Word, is_ones
from derive.reductions.ansatz import name_of
from derive.reductions.reduction import then
from derive.spec.raising import to_sympy
from derive.spec.tree import names as tree_names
from derive.system import Block, Flow, Reduction, Step

__all__ = ["complete"]

CAP = 40
LONGEST = 8


def complete(system: Flow | Reduction, observables: Any, *, cap: int = CAP, max_length: int = LONGEST) -> Reduction:
    """Closed equations for observables of a matrix flow, with those added that the closure needs.

    If all observables are numbers the closed system consists of numbers (traces of words); if one is a matrix, of matrices
    whose sizes are those of given arrays, so that hidden sizes disappear.

    Parameters
    ----------
    system : Flow or Reduction
        At matrix level. A Reduction is closed further, and the result reaches back to its full flow.
    observables : sequence, or mapping name -> observable
        SymPy expressions of the state, Polys, or names of states or of the flow's own observables. A mapping names the
        variables; otherwise ``n_a`` is a norm a'a, ``x_a_b`` a product a'b, ``W2_W1`` a matrix product, ``t`` a transpose
        (see `derive.completion.names`).
    cap : int
        Largest number of variables.
    max_length : int
        Largest number of letters of a word.

    Returns
    -------
    Reduction
        ``system`` in the new variables, ``lift`` empty, ``project_state`` computes the variables of a full state.

    Raises
    ------
    NotClosed
        If there are more variables or longer words than allowed; with the first such word, the factor that repeats, the remedy.
    InvalidSpec
        If an observable is no expression of the flow's symbols, or a name is taken.
    UnsupportedNode
        If the flow is not at matrix level.

    Examples
    --------
    >>> import derive
    >>> flow = derive.gradient_flow(derive.linear_network(depth=2))
    >>> W1, W2 = flow.symbols["W1"], flow.symbols["W2"]
    >>> closed = complete(flow, {"P": W2 * W1}).system
    >>> [b.name for b in closed.state]
    ['P', 'W1t_W1', 'W2_W2t']
    >>> print(closed.rhs["P"])
    Syx*W1t_W1/tau + W2_W2t*Syx/tau - P*Sx*W1t_W1/tau - W2_W2t*P*Sx/tau
    """
    if isinstance(system, Reduction):
        return then(system, complete(system.system, observables, cap=cap, max_length=max_length))
    if not isinstance(system, Flow) or system.level != "matrix":
        raise UnsupportedNode(
            f"complete: {getattr(system, 'name', system)} is no flow of matrices; use gradient_flow (the order parameters of "
            "online_limit are closed already)"
        )
    wanted = read_wanted(system, observables)
    return _Closure(system, wanted, cap, max_length).reduction()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A variable: its value on the full state, and the expression in it that stands for its unit."""

    key: UnitKey
    name: str
    value: Poly
    stand: Poly


class _Closure:
    """One closure: the work list of variables, which grows while equations are read."""

    def __init__(self, flow: Flow, wanted: tuple[Wanted, ...], cap: int, longest: int):
        self.flow, self.wanted, self.cap, self.longest = flow, wanted, cap, longest
        self.found: dict[UnitKey, _Found] = {}
        self.constants: dict[Word, str] = {}
        self.parent: UnitKey | None = None
        self.closed = False
        self.external = external_sizes(flow, wanted)
        self.reader = self._reader(self._lookup, self._fixed)

    def _reader(self, lookup: Lookup, fixed: Callable[[Word], Poly]) -> Reader:
        return Reader(states=tuple(b.name for b in self.flow.state), external=self.external, lookup=lookup, fixed=fixed)

    def reduction(self) -> Reduction:
        """Read equations until every variable has one."""
        flow = self.flow
        self._seed()
        rates: dict[str, Poly] = {}
        while len(rates) < len(self.found):
            item = list(self.found.values())[len(rates)]
            self.parent = item.key
            rates[item.name] = self.reader.express(ddt(item.value, flow))
        self.parent, self.closed = None, True
        shown, left_out = self._observables()
        values = {v.name: v.value for v in self.found.values()}
        step = Step(
            title=f"closure of {', '.join(w.label for w in self.wanted)}",
            detail="; ".join(f"{n} = {text(p)}" for n, p in values.items()),
            check=check_closure(flow, values, self._constant_values(), rates),
        )
        system = self._system(rates, shown, (step, *left_out))
        kept = [b.name for b in system.parameters]

        def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
            named = {**sizes_in(flow, values), **{name_of(k): v for k, v in values.items()}}
            fixed = {n: evaluate(p, named, functions=flow.functions) for n, p in self._constant_values().items()}
            return {n: v for n, v in {**named, **fixed}.items() if n in kept}

        def project_state(values_: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
            at = {name_of(k): v for k, v in {**values_, **full_state}.items()}
            return {n: evaluate(p, at, functions=flow.functions) for n, p in values.items()}

        return Reduction(
            full=flow,
            system=system,
            lift={},
            proof="proved",
            steps=(step, *left_out),
            parameters_from=parameters_from,
            project_state=project_state,
        )

    # The work list ----------------------------------------------------------------------------------------------------------

    def _seed(self) -> None:
        """What was asked for comes first, and under the name that was given to it."""
        for w in self.wanted:
            single = self._single(w)
            if single is not None:
                key, factor, turned = single
                if w.name is None:
                    self._lookup(key, turned)
                elif key in self.found:
                    raise InvalidSpec(
                        f"complete: {w.label} and {self.found[key].name} differ by a factor only; ask for one of them"
                    )
                else:
                    self._add(key, w.name, factor, turned)
        for w in self.wanted:
            self.reader.express(w.poly)
        if not self.found:
            raise InvalidSpec(f"complete: {self.wanted[0].label} does not depend on the state; ask for something that moves")

    def _single(self, w: Wanted) -> tuple[UnitKey, Poly, bool] | None:
        """The unit of an observable, its factor, and whether it is transposed; None if it is no multiple of one unit."""
        if len(w.poly.terms) != 1:
            return None
        seen: list[UnitKey] = []
        fixed: list[Word] = []

        def look(key: UnitKey) -> Poly:
            seen.append(key)
            return variable(key, "#")

        def keep(word: Word) -> Poly:
            fixed.append(word)
            return constant(1)

        made = self._reader(look, keep).express(w.poly)
        if len(seen) != 1 or fixed or len(made.terms) != 1:
            return None
        stand = variable(seen[0], "#")
        ((key, c),) = made.items()
        factor = Poly(None, {Key(tuple(x for x in key.params if x[0] != "#"), (), None): c})
        if made in (factor * stand, factor * stand.T):
            return seen[0], factor, made != factor * stand
        return None

    def _add(self, key: UnitKey, name: str | None, factor: Poly, turned: bool) -> None:
        if len(self.found) >= self.cap or key.length > self.longest:
            why = (
                f"which is longer than max_length={self.longest}" if key.length > self.longest
                else f"one variable more than cap={self.cap}"
            )  # fmt: skip
            raise refusal(self.flow.name, key, self.parent, self.reader, list(self.found), why)
        shown = key.flip() if turned else key
        name = name or name_unit(shown, self._taken())
        value = factor * key.poly()
        made = variable(shown, name)
        stand = power(factor, Fraction(-1)) * (made.T if turned else made)
        self.found[key] = _Found(key=key, name=name, value=value.T if turned else value, stand=stand)

    def _lookup(self, key: UnitKey, turned: bool | None = None) -> Poly:
        """The variable of a unit, new if need be; a new matrix is written with as few transposes as it can be."""
        if key not in self.found:
            if self.closed:
                raise NotClosed(f"it needs {key}, which is not among the variables; ask for it too")
            fewer = key.kind == "open" and key.flip().transposes < key.transposes
            self._add(key, None, constant(1), fewer if turned is None else turned)
        return self.found[key].stand

    def _fixed(self, word: Word) -> Poly:
        """A trace of given arrays: a new number if all variables are numbers, else the trace itself."""
        if self.external is not None:
            return monomial(None, Key((), ((word, Fraction(1)),), None))
        if word not in self.constants:
            self.constants[word] = name_unit(UnitKey("trace", "", word), self._taken())
        return param(self.constants[word])

    def _constant_values(self) -> dict[str, Poly]:
        return {name: monomial(None, Key((), ((w, Fraction(1)),), None)) for w, name in self.constants.items()}

    def _taken(self) -> list[str]:
        own = [b.name for b in (*self.flow.state, *self.flow.parameters)]
        wished = [w.name for w in self.wanted if w.name is not None]
        return [*own, *self.flow.symbols, *wished, *(v.name for v in self.found.values()), *self.constants.values()]

    # The closed system ------------------------------------------------------------------------------------------------------

    def _observables(self) -> tuple[dict[str, Poly], tuple[Step, ...]]:
        """Observables of the flow and sums that were asked for, in the variables; what cannot be expressed is said."""
        names = [v.name for v in self.found.values()]
        sums = {w.name: w.poly for w in self.wanted if w.name is not None and w.name not in names}
        shown: dict[str, Poly] = {}
        steps = []
        for name, p in {**self.flow.observables, **sums}.items():
            try:
                shown[name] = self.reader.express(p)  # type: ignore[arg-type]
            except NotClosed as reason:
                steps.append(Step(title=f"observable {name} left out", detail=str(reason)))
        return shown, tuple(steps)

    def _system(self, rates: Mapping[str, Poly], shown: Mapping[str, Poly], steps: tuple[Step, ...]) -> Flow:
        flow, exprs = self.flow, [*rates.values(), *shown.values()]
        constants = {n: text(p) for n, p in self._constant_values().items()}
        letters = {a.name: a for p in exprs for a in atoms(p) if a.name not in rates and not is_ones(a)}
        known = {b.name: b for b in flow.parameters}
        blocks = [known.get(n) or Block(name=n, shape=(a.rows, a.cols), tags=a.tags) for n, a in sorted(letters.items())]
        for n in sorted({n for p in exprs for n in parameters(p)} - set(rates)):
            meaning = constants.get(n, "dimension" if n in sizes_of(flow) else "")
            blocks.append(known.get(n) or Block(name=n, meaning=meaning))
        state = tuple(self._block(v) for v in self.found.values())
        return Flow(
            name=f"{flow.name}_closed",
            state=state,
            rhs=rates,
            parameters=tuple(blocks),
            observables=shown,
            functions=flow.functions,
            time=flow.time,
            assumptions=flow.assumptions,
            steps=(*flow.steps, *steps),
            symbols={**self._old_symbols(), **{b.name: _symbol(b, flow) for b in (*state, *blocks)}},
            source=flow,
        )

    def _block(self, v: _Found) -> Block:
        shape = () if v.value.shape is None else v.value.shape
        tags = next((a.tags for a in atoms(v.stand) if a.name == v.name), ())
        return Block(name=v.name, shape=shape, meaning=text(v.value), tags=tags, symmetric="sym" in tags)

    def _old_symbols(self) -> dict[str, sp.Basic]:
        gone = {b.name for b in self.flow.state}
        return {n: s for n, s in self.flow.symbols.items() if n not in gone}


def _symbol(b: Block, flow: Flow) -> sp.Basic:
    if b.name in flow.symbols:
        return flow.symbols[b.name]
    if not b.shape:
        return sp.Symbol(b.name, real=True)
    known = {n: s for n, s in flow.symbols.items() if isinstance(s, sp.Symbol)}
    made = {n: sp.Symbol(n, integer=True, positive=True) for n in sizes_of(flow)}
    return sp.MatrixSymbol(b.name, *(to_sympy(size, {**made, **known}) for size in b.shape))


def sizes_of(flow: Flow) -> tuple[str, ...]:
    """Names of the dimensions of a flow's arrays."""
    return tuple(dict.fromkeys(n for b in (*flow.state, *flow.parameters) for size in b.shape for n in tree_names(size)))


def sizes_in(flow: Flow, values: Mapping[Any, Any]) -> dict[str, int]:
    """Dimensions that can be read off given arrays."""
    shapes = {b.name: b.shape for b in (*flow.state, *flow.parameters)}
    found: dict[str, int] = {}
    for key, value in values.items():
        for axis, size in enumerate(reversed(shapes.get(name_of(key), ()))):
            if isinstance(size, str) and np.ndim(value) > axis:
                found.setdefault(size, np.shape(value)[-1 - axis])
    return found


def external_sizes(flow: Flow, wanted: Sequence[Wanted]) -> tuple[Size, ...] | None:
    """Sizes at which words are cut: 1, those of given arrays and of the observables' ends; None if all are numbers."""
    if all(w.poly.shape is None for w in wanted):
        return None
    states = {b.name for b in flow.state}
    exprs = [*flow.rhs.values(), *(w.poly for w in wanted)]
    given = [a for p in exprs for a in atoms(p) if a.name not in states]  # type: ignore[arg-type]
    ends = [size for w in wanted if w.poly.shape is not None for size in w.poly.shape]
    return tuple(dict.fromkeys([1, *(size for a in given for size in (a.rows, a.cols)), *ends]))
