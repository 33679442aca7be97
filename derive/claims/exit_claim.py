"""The claim about a mean first-passage time. Imported by `entry`, through it by the catalogue and the verifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from derive.errors import InvalidSpec


@dataclass(frozen=True, slots=True)
class MeanExit:
    """A mean first-passage time of a noisy rule, judged by simulation of many independent entries.

    Parameters
    ----------
    model : Model
        With an `Update`: the rule with its noise, every entry of its states being an independent copy.
    leaves : expression of the state
        An entry has left at the first step at which this is not zero.
    start, values : mapping symbol -> number
        The same start for all entries; parameters, and the number of copies as the size of their dimension.
    mean : expression of the parameters
        The claimed mean time, the correction for the step included.
    derived : expression, optional
        What the engine derives for the limit of small steps; ``mean`` must tend to it as the symbol ``step`` tends to zero.
    step : symbol, optional

    >>> MeanExit("escape", model=None, leaves="g", start={}, values={}, mean=1).derived is None
    True
    """

    label: str
    _: KW_ONLY
    model: Any
    leaves: Any
    start: Mapping[Any, Any]
    values: Mapping[Any, Any]
    mean: Any
    derived: Any = None
    step: Any = None

    def __post_init__(self) -> None:
        if (self.derived is None) != (self.step is None):
            raise InvalidSpec(f"MeanExit({self.label!r}): derived= and step= belong together; give both or none")
