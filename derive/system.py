"""Systems of equations and what is known about them: the frozen objects that passes hand to each other.

A `Flow` is the ODE  d state / dt = rhs. Its right-hand sides are `Poly` (matrix level) or `Node` (index level); parameters,
shapes and observables go with them, and so do the assumptions under which it was derived and the steps of the derivation.
Imported by every pass, by codegen and by numerics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import sympy as sp

from derive.errors import InvalidSpec
from derive.indices.indexed import Index, Node
from derive.matrices.poly import Poly
from derive.spec.tree import Tree

Expression: TypeAlias = Poly | Node
EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One array of a system.

    Attributes
    ----------
    name : str
    shape : tuple
        Dimension names or integers: ``()`` scalar, ``(rows, cols)`` at matrix level, one entry per index at index level.
    indices : tuple of Index
        At index level, the labels used in the right-hand side of this block; otherwise empty.
    symmetric : bool
        The array is symmetric in its two indices (only half of it needs to be computed).
    meaning : str
        One phrase for the symbol table.
    tags : tuple of str
        ``sym diag orth square`` at matrix level.
    """

    name: str
    shape: tuple[Tree, ...] = ()
    indices: tuple[Index, ...] = ()
    symmetric: bool = False
    meaning: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of one variable: ``body`` is a tree in ``variable``, or None for a built-in of `derive.fn`."""

    name: str
    variable: str = "z"
    body: Tree = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A condition under which a result holds.

    Attributes
    ----------
    text : str
        One sentence.
    residual : Poly or None
        An expression of given arrays that must vanish; None if it cannot be measured on data.
    scale : Poly or None
        What the residual is compared with: the measured violation is |residual| / |scale| in Frobenius norms.
    remedy : str
        What to do if it fails.
    """

    text: str
    residual: Poly | None = None
    scale: Poly | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a derivation: what was done, by which rule, and how it was checked."""

    title: str
    detail: str = ""
    check: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The system  d state / dt = rhs.

    Attributes
    ----------
    name : str
    state : tuple of Block
    rhs : mapping name -> Poly or Node
        One entry per state block.
    parameters : tuple of Block
        Every other array or scalar that occurs, sizes of index families excepted.
    observables : mapping name -> Poly or Node
        Scalars of interest, e.g. the loss.
    functions : mapping name -> Function
        User functions that occur.
    time : str
        Meaning and unit of time, one phrase.
    assumptions, steps : tuples
    rungs : mapping
        For Gaussian averages: which rung of the ladder each right-hand side used, and its stated error.
    symbols : mapping name -> SymPy symbol
    source : object
        The Model or Flow that it was derived from.
    """

    name: str
    state: tuple[Block, ...]
    rhs: Mapping[str, Expression]
    parameters: tuple[Block, ...] = ()
    observables: Mapping[str, Expression] = field(default_factory=lambda: EMPTY)
    functions: Mapping[str, Function] = field(default_factory=lambda: EMPTY)
    time: str = "t"
    assumptions: tuple[Assumption, ...] = ()
    steps: tuple[Step, ...] = ()
    rungs: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    symbols: Mapping[str, sp.Basic] = field(default_factory=lambda: EMPTY)
    source: Any = None

    @property
    def level(self) -> str:
        """``"matrix"`` or ``"index"``."""
        return "matrix" if all(isinstance(e, Poly) for e in self.rhs.values()) else "index"

    def block(self, name: str) -> Block:
        """The state block or parameter of a name."""
        for b in (*self.state, *self.parameters):
            if b.name == name:
                return b
        raise KeyError(name)

    def replace(self, **changes: Any) -> Flow:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def __iter__(self) -> Any:
        """Iterates as a list of (name, right-hand side)."""
        return iter((b.name, self.rhs[b.name]) for b in self.state)

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConservedQuantity:
    """A quantity with  d expr / dt = rate * expr  along a flow (rate 0: conserved).

    ``status`` is "proved" (words cancel exactly) or "tested at n points"; ``functionally_independent`` is False if it is
    a function of earlier ones.
    """

    expr: Expression
    rate: Any = 0
    status: str = "proved"
    functionally_independent: bool = True
    assumptions: tuple[Assumption, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """A proved reduction of ``full`` to ``system``.

    Attributes
    ----------
    full, system : Flow
    lift : mapping name -> Poly or Node
        States of the full system on the manifold, in the reduced variables.
    data : mapping name -> Poly
        Given arrays of the full system in the reduced parameters (e.g. Syx = U S V^T); empty if unchanged.
    proof : str
        "proved", or "tested at n points".
    assumptions, steps : tuples
    parameters_from : callable(values) -> dict
        Numerical values of the reduced parameters from values of the full ones.
    lift_state : callable(values, reduced_state) -> dict
        A full state on the manifold (free orthogonal factors from ``values`` or a seeded draw).
    project_state : callable(values, full_state) -> dict
        Reduced coordinates of a full state.
    constrain : callable(values, reduced_state) -> dict
        A reduced state that satisfies the conditions on the start, made out of any; None if there are no conditions.
    """

    full: Flow
    system: Flow
    lift: Mapping[str, Expression]
    data: Mapping[str, Expression] = field(default_factory=lambda: EMPTY)
    proof: str = "proved"
    assumptions: tuple[Assumption, ...] = ()
    steps: tuple[Step, ...] = ()
    parameters_from: Callable[..., dict[str, Any]] | None = None
    lift_state: Callable[..., dict[str, Any]] | None = None
    project_state: Callable[..., dict[str, Any]] | None = None
    constrain: Callable[..., dict[str, Any]] | None = None

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedForm:
    """A verified solution of a reduced system.

    Attributes
    ----------
    system : Flow
    kind : str
        "explicit": u(t) = expression; "implicit": t = expression of u.
    solution : mapping str -> SymPy expression
        Key: the state's name if explicit, ``"t"`` if implicit. ``initial`` maps each state name to the SymPy symbol of its
        value at t = 0; ``time`` is the SymPy symbol of time.
    domain : str
        Where it holds, in words.
    assumptions, steps : tuples
    checked : str
        How it was verified (substitution; digits of agreement).
    evaluate : callable(t, initial, params) -> dict name -> array
        Overflow-safe evaluation; t array (T,), initial and params by name (scalars or arrays (r,)); result (T,) or (T, r).
    """

    system: Flow
    kind: str
    solution: Mapping[str, sp.Expr]
    time: sp.Symbol
    initial: Mapping[str, sp.Symbol]
    domain: str = ""
    assumptions: tuple[Assumption, ...] = ()
    steps: tuple[Step, ...] = ()
    checked: str = ""
    evaluate: Callable[..., dict[str, Any]] | None = None

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")

    def _repr_latex_(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="latex")


def flow_of(verb: str, system: Flow | Reduction) -> Flow:
    """The equations that a verb works on: of a flow itself, or of what a reduction left of it.

    Raises
    ------
    InvalidSpec
        If it is neither: a model has no equations before they are derived.
    """
    if isinstance(system, Reduction):
        return system.system
    if isinstance(system, Flow):
        return system
    if hasattr(system, "lowered"):
        remedy = "derive its equations first, by gradient_flow(model) or online_limit(model)"
    elif hasattr(system, "model"):
        remedy = "derive the equations of its model first, by gradient_flow(entry.model) or online_limit(entry.model)"
    else:
        remedy = "pass the flow of gradient_flow or online_limit, or a reduction of it"
    raise InvalidSpec(f"{verb}: {type(system).__name__} is no system of equations; {remedy}")
