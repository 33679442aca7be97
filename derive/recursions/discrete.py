"""`Recursion`: a discrete system  state(n+1) = after(state(n)),  the frozen object that `recursion` returns.

Its state is a set of averages of the state of a model: means and second moments. It is no `Flow`: its right-hand sides are
values, not rates, so it has no field ``rhs`` and no pass for flows can take it by mistake. Imported by users, by codegen and by
numerics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp

from derive.matrices.poly import Poly
from derive.system import EMPTY, Assumption, Block, Flow, Function, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Recursion:
    """The discrete system  state(n+1) = after(state(n)).

    Attributes
    ----------
    name : str
    state : tuple of Block
        Averages over the runs of the model.
    after : mapping name -> Poly
        Their values after one step, in their values before it.
    moments : mapping name -> Poly
        What each of them is the average of, in the state of the model.
    parameters : tuple of Block
    observables : mapping name -> Poly
        In the averages.
    functions : mapping name -> Function
    time : str
        Meaning and unit of n.
    assumptions, steps : tuples
    symbols : mapping name -> SymPy symbol
    source : object
        The Model that it was derived from.
    """

    name: str
    state: tuple[Block, ...]
    after: Mapping[str, Poly]
    moments: Mapping[str, Poly]
    parameters: tuple[Block, ...] = ()
    observables: Mapping[str, Poly] = field(default_factory=lambda: EMPTY)
    functions: Mapping[str, Function] = field(default_factory=lambda: EMPTY)
    time: str = "n, number of steps"
    assumptions: tuple[Assumption, ...] = ()
    steps: tuple[Step, ...] = ()
    symbols: Mapping[str, sp.Basic] = field(default_factory=lambda: EMPTY)
    source: Any = None

    @property
    def level(self) -> str:
        """``"matrix"``: the equations are words of matrices."""
        return "matrix"

    def block(self, name: str) -> Block:
        """The state block or parameter of a name."""
        for b in (*self.state, *self.parameters):
            if b.name == name:
                return b
        raise KeyError(name)

    @property
    def carrier(self) -> Flow:
        """The equations in the form that emission reads; their right-hand sides are values after one step. Only for codegen."""
        return Flow(
            name=self.name, state=self.state, rhs=self.after, parameters=self.parameters, observables=self.observables,
            functions=self.functions, time=self.time, assumptions=self.assumptions, steps=self.steps, symbols=self.symbols,
            source=self.source,
        )  # fmt: skip

    def replace(self, **changes: Any) -> Recursion:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def __iter__(self) -> Iterator[tuple[str, Poly]]:
        """Iterates as a list of (name, value after one step)."""
        return iter((b.name, self.after[b.name]) for b in self.state)

    def as_document(self) -> Any:
        """Document for `describe`."""
        from derive.recursions.recursion_text import recursion_document

        return recursion_document(self)

    def as_data(self) -> dict[str, Any]:
        """Plain data for `describe(..., "json")`."""
        from derive.recursions.recursion_text import recursion_data

        return recursion_data(self)

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")
