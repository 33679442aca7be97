"""What a run or a verification needs of its numbers, checked before anything is derived: sizes, times, seeds, rates.

    sizes 1 .. 10^6,   0 < time <= 10^9,   seed >= 0,   u0, scale > 0,   parameters finite, and >= 0 if declared positive

Zero is allowed for a parameter that is declared positive: it is the limit in which noise or a second rate is switched off.
Imported by `numerics.run`, `numerics.verify` and the command line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from derive.errors import InvalidSpec

#: Run settings and the kind of their values; every entry and every user's model takes them.
KINDS: dict[str, type] = {"time": float, "seeds": int, "seed": int, "eta": float, "batch": int, "u0": float, "scale": float}
LARGEST, LONGEST = 10**6, 1e9  # a layer of 10^6 units fills the memory; 10^9 steps take an hour in the fastest engine


def check_settings(entry: Any, seed: int | None = None) -> None:
    """Refuse numbers of an entry with which no run can begin.

    Raises
    ------
    InvalidSpec
        The message names the setting, its range and the remedy.

    >>> from derive.catalog import load
    >>> check_settings(load("saxe_2014_deep_linear"))
    """
    m, values = entry.model.lowered, entry.values
    for name in m.dims:
        if name in values:
            _integer(name, values[name], 1, LARGEST, f"{name} counts entries, so it")
    for name in (n for n in KINDS if n in values and n not in m.dims):
        number = _number(name, values[name])
        if KINDS[name] is int and not number.is_integer():
            raise InvalidSpec(f"{name}={values[name]!r}: {name} is a count; give an integer")
    if "time" in values and not 0 < float(values["time"]) <= LONGEST:
        raise InvalidSpec(f"time={values['time']:g}: give a positive time, at most {LONGEST:g}")
    for name in ("u0", "scale"):
        if name in values and name not in m.given and not float(values[name]) > 0:
            raise InvalidSpec(f"{name}={values[name]:g}: weights that start at zero do not move; give a positive number")
    for name, least in (("seeds", 1), ("batch", 1)):
        if name in values and name not in m.given:
            _integer(name, values[name], least, LARGEST, name)
    root = values.get("seed", 0) if seed is None else seed
    _integer("seed", root, 0, 2**63, "the root of all random streams")
    _parameters(m, values)


def _parameters(m: Any, values: Mapping[str, Any]) -> None:
    """Scalar parameters of the model."""
    for name in m.given:
        if name not in values or m.shapes[name] != ():
            continue
        number = _number(name, values[name])
        if number < 0 and getattr(m.symbols.get(name), "is_positive", False):
            raise InvalidSpec(
                f"{name}={number:g}: {name} is declared positive in the model; give a number that is not negative"
            )


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidSpec(f"{name}={value!r} is no number; give a finite real number") from None
    if not math.isfinite(number):
        raise InvalidSpec(f"{name}={number}: give a finite number")
    return number


def _integer(name: str, value: Any, least: int, most: int, what: str) -> None:
    number = _number(name, value)
    if not number.is_integer() or not least <= number <= most:
        raise InvalidSpec(f"{name}={value}: {what} must be an integer from {least} to {most:.3g}; give one")
