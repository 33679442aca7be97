"""Learning rules, limits and protocols: plain validated data; the passes give them meaning.

``Rate({W: -grad(L, W)/tau})``: dW/dt is the average of the rate over fresh draws, plus ``noise`` times white noise.
``Update({W: new}, dt=1/N)``: one step; a block assigns simultaneously from old values, blocks follow each other, all blocks of
a step share the draws. ``Optimum(objective, over=(w,))``: a static problem. Imported by the spec language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias

import sympy as sp

from derive.errors import InvalidSpec
from derive.spec.laws import LAWS, symbols_of


def _mapping(value: Any, word: str, example: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping) or not value:
        raise InvalidSpec(f"{word}: a mapping from symbols to expressions is needed, for instance {example}")
    symbols_of(tuple(value), word)
    return dict(value)


@dataclass(frozen=True, slots=True)
class Rate:
    """dW/dt = rate, averaged over fresh draws; nothing is implicit, not even the minus sign or a time constant.

    >>> W, L, tau = sp.MatrixSymbol("W", 2, 3), sp.Symbol("L"), sp.Symbol("tau", positive=True)
    >>> from derive.spec.nodes import grad
    >>> list(Rate({W: -grad(L, W) / tau}).rates)
    [W]
    """

    rates: Any
    _: KW_ONLY
    noise: Any = None

    def __post_init__(self) -> None:
        _mapping(self.rates, "Rate", "{W: -grad(L, W)/tau}")
        if self.noise is not None:
            for s in _mapping(self.noise, "Rate: noise", "{W: sqrt(2*T)}"):
                if s not in self.rates:
                    raise InvalidSpec(f"Rate: noise for {s}, which has no rate; add {s}: 0*{s} to the rates")


@dataclass(frozen=True, slots=True, init=False)
class Update:
    """New values after one step, block by block; ``dt`` is the time of one step, ``batch`` averages the first block.

    >>> W, L = sp.MatrixSymbol("W", 2, 3), sp.Symbol("L")
    >>> from derive.spec.nodes import grad
    >>> Update({W: W - grad(L, W)}, dt=sp.Rational(1, 100)).batch
    1
    """

    blocks: tuple[Any, ...]
    dt: Any
    batch: Any

    def __init__(self, *blocks: Any, dt: Any = 1, batch: Any = 1) -> None:
        if not blocks:
            raise InvalidSpec("Update: nothing to update; write Update({W: W - eta*grad(L, W)})")
        made = tuple(_mapping(b, "Update", "{W: W - eta*grad(L, W)}") for b in blocks)
        if isinstance(batch, (int, float)) and (not isinstance(batch, int) or isinstance(batch, bool) or batch < 1):
            raise InvalidSpec(f"Update: batch={batch} is not a number of draws; give a whole number >= 1 or a dimension")
        for name, value in (("blocks", made), ("dt", dt), ("batch", batch)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Optimum:
    """Static problem: the state minimises (or maximises) an objective, under equations.

    >>> w, L = sp.MatrixSymbol("w", 3, 1), sp.Symbol("L")
    >>> Optimum(L, over=(w,)).sense
    'min'
    """

    objective: Any
    _: KW_ONLY
    over: Any
    sense: str = "min"
    subject_to: Any = ()

    def __post_init__(self) -> None:
        symbols_of(self.over, "Optimum: over")
        if self.sense not in ("min", "max"):
            raise InvalidSpec(f"Optimum: sense={self.sense!r}; write 'min' or 'max'")


Rule: TypeAlias = Rate | Update | Optimum


@dataclass(frozen=True, slots=True)
class Limit:
    """Dimensions that tend to infinity, with their fixed ratios; every other dimension stays of order one.

    >>> N, P = sp.symbols("N P", integer=True, positive=True)
    >>> alpha = sp.Symbol("alpha", positive=True)
    >>> list(Limit({N: sp.oo, P: sp.oo}, fixed={alpha: P / N}).fixed)
    [alpha]
    """

    to: Any
    _: KW_ONLY
    fixed: Any = None

    def __post_init__(self) -> None:
        for s, value in _mapping(self.to, "Limit", "{N: oo}").items():
            if isinstance(value, str):
                raise InvalidSpec(f"Limit: {s} -> {value!r}: text is never evaluated; write the SymPy number oo, or 0")
            if value != sp.oo and value != 0:
                raise InvalidSpec(f"Limit: {s} -> {value}; a limit goes to oo (or to 0 for a small parameter)")
        if self.fixed is not None:
            _mapping(self.fixed, "Limit: fixed", "{alpha: P/N}")


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of learning of this length (unit of the rule), with `given` symbols bound to values, schedules in t, or laws.

    >>> Delta = sp.Symbol("Delta", positive=True)
    >>> Phase(10, bind={Delta: sp.Rational(1, 20)}).length
    10
    """

    length: Any
    _: KW_ONLY
    bind: Any = None
    until: Any = None

    def __post_init__(self) -> None:
        if self.bind is not None:
            _mapping(self.bind, "Phase: bind", "{task: 2}")
        if isinstance(self.length, (int, float)) and not self.length > 0:
            raise InvalidSpec(f"Phase: length {self.length} is not positive; give a duration in the unit of the rule")
        if self.until is not None and not isinstance(self.until, sp.Rel):
            raise InvalidSpec(f"Phase: until={self.until} is not a condition; write an inequality such as S > theta")


@dataclass(frozen=True, slots=True)
class Event:
    """Maps the state at once, between two phases.

    >>> W = sp.MatrixSymbol("W", 2, 3)
    >>> list(Event({W: 2 * W}).values)
    [W]
    """

    values: Any

    def __post_init__(self) -> None:
        _mapping(self.values, "Event", "{W: P*W}")


@dataclass(frozen=True, slots=True)
class Drop:
    """Removes ``count`` random entries of a dimension from every array that carries it, between two phases.

    >>> Drop(sp.Symbol("H", integer=True, positive=True), 3).count
    3
    """

    dimension: Any
    count: Any

    def __post_init__(self) -> None:
        symbols_of(self.dimension, "Drop")


@dataclass(frozen=True, slots=True)
class Control:
    """Optimal control: symbols chosen over time to maximise the integral of ``running`` up to ``horizon``, within bounds.

    >>> g, R, T = sp.symbols("g R T", real=True)
    >>> Control((g,), R, T).bounds is None
    True
    """

    controls: Any
    running: Any
    horizon: Any
    bounds: Any = None

    def __post_init__(self) -> None:
        symbols_of(self.controls, "Control")
        if self.bounds is not None:
            for s, pair in _mapping(self.bounds, "Control: bounds", "{g: (0, 1)}").items():
                if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                    raise InvalidSpec(f"Control: the bounds of {s} are not a pair; write {{{s}: (low, high)}}")


PROTOCOL = (Phase, Event, Drop)


def is_law(value: Any) -> bool:
    """Whether a value is one of the four data laws."""
    return isinstance(value, LAWS)
