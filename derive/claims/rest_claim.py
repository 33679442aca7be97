"""The claim about a rest state to first order in a small parameter. Imported by `entry`, through it by the catalogue
and the verifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from derive.errors import InvalidSpec


@dataclass(frozen=True, slots=True)
class RestsNear:
    """As a small symbol vanishes the system rests near a state, where observables have printed values to first order.

    Judged twice: the expansion that the engine derives (`derive.rest_states.rest_expansion`) must be the formula, for all
    values of the symbols in it; and the observable at rest states that are found by numbers at falling values of the small
    symbol must tend to it.

    Parameters
    ----------
    small : symbol
    at : mapping name -> number or expression
        The state at small = 0, and the parameters that the formula takes for granted.
    observables : mapping name -> expression
        Of the small symbol and the other parameters.
    on : as in `Published`
    sizes : tuple of numbers
        Falling values of the small symbol, each half of the one before.

    >>> RestsNear("error at rest", small="eta", at={"u": 0}, observables={"eg": 0}).sizes[-1]
    0.005
    """

    label: str
    _: KW_ONLY
    small: Any
    at: Mapping[Any, Any]
    observables: Mapping[str, Any]
    on: Any = None
    sizes: tuple[float, ...] = (0.04, 0.02, 0.01, 0.005)

    def __post_init__(self) -> None:
        if not self.observables:
            raise InvalidSpec(f"RestsNear({self.label!r}): nothing is claimed; add observables={{name: expression}}")
        if len(self.sizes) < 3 or any(abs(2 * b / a - 1) > 1e-9 for a, b in zip(self.sizes, self.sizes[1:], strict=False)):
            raise InvalidSpec(f"RestsNear({self.label!r}): sizes={self.sizes}; give three or more, each half of the one before")
