"""`Subject`: the system that claims are about, derived once, and replaced as a whole when a mutated one is to be judged.

Imported by the claim checkers and by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.system import Flow, Reduction
from numerics.integrate import integrate
from numerics.trajectory import Array, Trajectory

POINTS = 2  # random states per algebraic claim; a wrong polynomial vanishes at one with probability zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a claim is checked on.

    Attributes
    ----------
    entry : Entry
    flow : Flow
        Derived from the entry's model, or given in its place.
    reduced : Flow or None
        Takes the place of the reduced system with the same state, if given.
    seed, claim : int
        Root of the streams, and number of the claim.
    quick : bool
        Smaller ensembles.
    """

    entry: Any
    flow: Flow
    reduced: Flow | None = None
    seed: int = 0
    claim: int = 0
    quick: bool = False

    @property
    def values(self) -> Mapping[str, Any]:
        """Known values: those of bound data, then those of the entry."""
        return {**dict(self.entry.model.values), **dict(self.entry.values)}

    def rng(self, purpose: int) -> np.random.Generator:
        """A stream of this claim and purpose."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.claim, purpose)))

    def reduction(self, ansatz: Any) -> Reduction:
        """The reduction by an ansatz, a function of the flow, or a chain of them; refuses if a manifold is not invariant."""
        made = _derived(self.flow, ansatz)
        if isinstance(made, Reduction):
            return made
        raise InvalidSpec(
            f"a claim of {self.entry.name} needs a reduction, but its function gives the flow {made.name} alone; let it return "
            "the Reduction, not its .system"
        )

    def system(self, ansatz: Any = None) -> Flow:
        """The flow, its reduction by an ansatz, or what a function Flow -> Flow or Reduction makes of it."""
        if ansatz is None:
            return self.flow
        made = _derived(self.flow, ansatz)
        system = made.system if isinstance(made, Reduction) else made
        if self.reduced is not None and [b.name for b in self.reduced.state] == [b.name for b in system.state]:
            return self.reduced
        return system


def _derived(flow: Flow, ansatz: Any) -> Flow | Reduction:
    """Apply a chain of ansatz objects and functions."""
    from derive.reductions.reduction import reduce

    made: Flow | Reduction = flow
    for step in ansatz if isinstance(ansatz, list | tuple) else (ansatz,):
        made = step(made) if callable(step) else reduce(made, step)
        if not isinstance(made, Flow | Reduction):
            raise InvalidSpec(
                f"a function in on= or ansatz= of a claim gives {type(made).__name__}; let it return a Flow or a Reduction"
            )
    return made


def fitted(kernel: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a kernel takes as parameters (sizes that it uses as numbers among them)."""
    return {b.name: params[b.name] for b in kernel.parameters if b.name in params}


def rates(flow: Flow, state: Mapping[str, Array], params: Mapping[str, Any], *, kernel: Any = None) -> dict[str, Array]:
    """Right-hand side of a system at a state, by its NumPy kernel (compiled here if it is not given)."""
    from codegen import compile

    kernel = kernel or compile(flow, backend="numpy")
    layout = kernel.layout(dict(state))
    f = kernel.flat_rhs(layout, kernel.arguments(fitted(kernel, params)))
    return {name: np.asarray(rate) for name, rate in layout.unpack(f(0.0, layout.pack(dict(state)))).items()}


def solve(
    flow: Flow, state: Mapping[str, Array], params: Mapping[str, Any], times: Array, *, rtol: float = 1e-10
) -> Trajectory:
    """Integrate a system with its NumPy kernel; an integration that does not reach the end is an error."""
    from codegen import compile

    kernel = compile(flow, backend="numpy")
    span = (0.0, float(times[-1]))
    return integrate(kernel, state, fitted(kernel, params), span, times, rtol=rtol).raise_if_failed()


def horizon(flow: Flow, state: Mapping[str, Array], params: Mapping[str, Any], known: Mapping[str, Any]) -> float:
    """A time in which the system moves: ``known["time"]``, else a few times |state| / |rhs|."""
    if "time" in known:
        return float(known["time"])
    speed = max(float(np.abs(v).max()) for v in rates(flow, state, params).values())
    size = max(float(np.abs(v).max()) for v in state.values())
    return 5 * size / speed if speed > 0 else 1.0
