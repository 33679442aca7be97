"""Deterministic comparisons: two roads to the same curve, and the order at which one approaches the other.

``deviation(a, b)`` is  max |a - b| / max |a|.  Gradient descent with step eta differs from its flow by C eta + O(eta^2), so the
slope of log error against log eta must be 1: a theory whose time is off by half a per cent still looks right in a plot, but its
error does not vanish with eta, and the slope drops.
Imported by validation and the claim checkers; imports numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from derive.errors import InvalidSpec, ShapeMismatch
from numerics.report import Check, worst
from numerics.trajectory import Array


def deviation(reference: Array, other: Array) -> float:
    """Largest absolute difference relative to the largest absolute value of the reference (absolute if that is zero).

    >>> deviation(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    0.25

    Raises
    ------
    ShapeMismatch
        If the shapes differ; nothing is broadcast.
    """
    a, b = np.asarray(reference, dtype=float), np.asarray(other, dtype=float)
    if a.shape != b.shape:
        raise ShapeMismatch(f"cannot compare arrays of shapes {a.shape} and {b.shape}; ask for both at the same times")
    if not a.size:
        return float("nan")
    scale = np.abs(a).max()
    return float(np.abs(a - b).max() / (scale if scale > 0 else 1.0))


def deviations(reference: Mapping[str, Array], other: Mapping[str, Array]) -> dict[str, float]:
    """`deviation` of every array that both have, by name."""
    return {name: deviation(a, np.asarray(other[name])) for name, a in reference.items() if name in other}


def common_deviation(reference: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """The worst of `deviations`; NaN if nothing is common."""
    return worst(deviations(reference, other).values())


def order(steps: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Slope of log error against log step by least squares, and its standard error.

    >>> slope, error = order([0.1, 0.05, 0.025], [0.2, 0.1, 0.05])
    >>> round(slope, 6), error < 1e-6
    (1.0, True)

    Raises
    ------
    InvalidSpec
        With fewer than three steps, or an error that is not positive: the order cannot be measured.
    """
    x, e = np.asarray(steps, dtype=float), np.asarray(errors, dtype=float)
    if x.size < 3 or x.size != e.size:
        raise InvalidSpec(
            f"order of convergence: three or more steps with one error each are needed, found {x.size} and {e.size}"
        )
    if not ((x > 0).all() and (e > 0).all() and np.isfinite(e).all()):
        raise InvalidSpec("order of convergence: steps and errors must be positive and finite; a zero error has no order")
    x, y = np.log(x), np.log(e)
    x = x - x.mean()
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    return slope, float(np.sqrt(rest @ rest / (x.size - 2) / (x @ x)))


def order_checks(
    found: tuple[Sequence[float], Sequence[float], Sequence[float]],
    *,
    claim: str,
    control: str,
    seed: int | None = None,
    seconds: float = 0.0,
) -> tuple[Check, Check]:
    """Order 1 of descent in its step, and its loss against a theory whose time is off.

    Parameters
    ----------
    found : steps, deviations from the flow, deviations from the flow in the wrong time
    claim, control : str
        What both rows say.

    Raises
    ------
    InvalidSpec
        As `order`.

    >>> rows = order_checks(([4, 2, 1], [0.4, 0.2, 0.1], [0.5, 0.4, 0.4]), claim="order 1", control="order drops")
    >>> [row.passed for row in rows]
    [True, True]
    """
    etas, errors, stretched = found
    (slope, error), (wrong, _) = order(etas, errors), order(etas, stretched)
    return (
        Check(
            claim=claim,
            statistic=abs(slope - 1),
            bound=0.03,
            reason="distance of the fitted order from 1; the next order in the step contributes about a hundredth",
            seconds=seconds,
            seed=seed,
            detail=f"order {slope:.4f} +- {error:.4f}, errors {errors[0]:.1e} to {errors[-1]:.1e}",
        ),
        Check(
            claim=control,
            statistic=wrong,
            bound=0.8,
            reason="fitted order with the wrong time; if it stayed at 1 the comparison could not fail",
            seed=seed,
        ),
    )
