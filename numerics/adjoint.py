r"""A control over time and what it is worth, with the exact derivative of that number: the discrete adjoint.

    u(t) = straight lines through u_0, ..., u_n;     y: Runge-Kutta steps of fourth order;     J = Phi(y_n) + sum of l
    dJ/du_j  by the same steps backwards:  p_n = dPhi/dy,  each stage hands back  w H_y(Y, p / w, u)  and  w H_u(Y, p / w, u)

for the weight w of l in that stage. The derivative is that of the sum itself, so a search for its maximum is not stopped by
errors of the integration. H_y and H_u are those of the derived equations, or differences of f and l. Imported by
`numerics.optimal_control`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from numerics.trajectory import Array

Flat = Callable[[float, Array], Array]
Seen = Callable[[float, Array], dict[str, Any]]
Back = Callable[[Array, Array, Array, float], tuple[Array, Array]]
DISTANCE = 1e-5  # of differences: their errors are 1e-10 of third derivatives, and 1e-11 by rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The sum J, as a function of the control at the ends of the intervals, (n + 1, m).

    Attributes
    ----------
    t : array, shape (n + 1,)
        Equidistant.
    substeps : int
        Runge-Kutta steps in each interval.
    start : array
        The flat state y at the beginning.
    forward : function of (y, u)
        The rates (f, 0).
    gain : function of (y, u), or None
        ``{"running": l}``.
    back : function of (y, u, cotangent c, weight w)
        Derivatives of ``c . f + w l`` by y and by u.
    end, end_value : function of y, or None
        dPhi/dy, and ``{"objective": Phi}``.
    """

    t: Array
    substeps: int
    start: Array
    forward: Flat
    gain: Seen | None
    back: Back
    end: Flat | None
    end_value: Seen | None

    @property
    def weights(self) -> Array:
        """Of the ends of the intervals in an integral over time, (n + 1, 1)."""
        out = np.full((len(self.t), 1), (self.t[-1] - self.t[0]) / (len(self.t) - 1))
        out[[0, -1]] /= 2
        return out

    def value(self, u: Array) -> float:
        """J of a control."""
        return self._forwards(u)[0]

    def gradient(self, u: Array) -> tuple[float, Array]:
        """J and its derivatives by all values of the control."""
        j, stages, last = self._forwards(u)
        return (j, np.full_like(u, np.nan)) if not math.isfinite(j) else (j, self._backwards(u, stages, last)[0])

    def costates(self, u: Array) -> Array:
        """Derivatives of J by the state at the ends of the intervals, (n + 1, size of the state)."""
        _, stages, last = self._forwards(u)
        return self._backwards(u, stages, last)[1]

    def _forwards(self, u: Array) -> tuple[float, list[tuple[Array, ...]], Array]:
        y, j, n = self.start, 0.0, len(self.start)
        stages: list[tuple[Array, ...]] = []
        h = (self.t[1] - self.t[0]) / self.substeps
        with np.errstate(all="ignore"):
            for a, b in pairwise(u):
                for s in range(self.substeps):
                    ua, um, ub = (a + (s + x) / self.substeps * (b - a) for x in (0.0, 0.5, 1.0))
                    k1 = self.forward(0.0, np.concatenate([y, ua]))[:n]
                    y2 = y + h / 2 * k1
                    k2 = self.forward(0.0, np.concatenate([y2, um]))[:n]
                    y3 = y + h / 2 * k2
                    k3 = self.forward(0.0, np.concatenate([y3, um]))[:n]
                    y4 = y + h * k3
                    k4 = self.forward(0.0, np.concatenate([y4, ub]))[:n]
                    if self.gain is not None:
                        at = ((y, ua, 1), (y2, um, 2), (y3, um, 2), (y4, ub, 1))
                        j += h / 6 * sum(w * float(self.gain(0.0, np.concatenate([x, v]))["running"]) for x, v, w in at)
                    stages.append((y, y2, y3, y4))
                    y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
                if not np.isfinite(y).all():
                    return math.nan, stages, y
            if self.end_value is not None:
                j += float(self.end_value(0.0, y)["objective"])
        return float(j), stages, y

    def _backwards(self, u: Array, stages: list[tuple[Array, ...]], last: Array) -> tuple[Array, Array]:
        """Derivatives of J by the control, and by the state at the ends of the intervals."""
        n, out = len(self.start), np.zeros_like(u)
        h = (self.t[1] - self.t[0]) / self.substeps
        p = np.zeros(n) if self.end is None else self.end(0.0, last)
        costates = [p]
        with np.errstate(all="ignore"):
            for k in range(len(u) - 2, -1, -1):
                a, b = u[k], u[k + 1]
                for s in range(self.substeps - 1, -1, -1):
                    x1, x2, x3, x4 = stages[k * self.substeps + s]
                    low, mid, top = ((s + x) / self.substeps for x in (0.0, 0.5, 1.0))
                    g4, v4 = self.back(x4, a + top * (b - a), p * h / 6, h / 6)
                    g3, v3 = self.back(x3, a + mid * (b - a), p * h / 3 + h * g4, h / 3)
                    g2, v2 = self.back(x2, a + mid * (b - a), p * h / 3 + h / 2 * g3, h / 3)
                    g1, v1 = self.back(x1, a + low * (b - a), p * h / 6 + h / 2 * g2, h / 6)
                    p = p + g1 + g2 + g3 + g4
                    out[k + 1] += low * v1 + mid * (v2 + v3) + top * v4
                    out[k] += (1 - low) * v1 + (1 - mid) * (v2 + v3) + (1 - top) * v4
                costates.append(p)
        return out, np.array(costates[::-1])


def by_equations(field: Flat, size: int) -> Back:
    """The derived conditions hand back: ``field`` maps (y, p, u) to (f, -H_y, H_u); y has ``size`` numbers."""

    def back(y: Array, u: Array, cotangent: Array, weight: float) -> tuple[Array, Array]:
        rates = field(0.0, np.concatenate([y, cotangent / weight, u]))
        return -weight * rates[size : 2 * size], weight * rates[2 * size :]

    return back


def by_differences(forward: Flat, gain: Seen | None, size: int) -> Back:
    """Central differences hand back, two evaluations for each number of y and u."""

    def back(y: Array, u: Array, cotangent: Array, weight: float) -> tuple[Array, Array]:
        z = np.concatenate([y, u])

        def there(at: Array) -> float:
            cost = 0.0 if gain is None else float(gain(0.0, at)["running"])
            return float(cotangent @ forward(0.0, at)[:size]) + weight * cost

        out = slope(there, z)
        return out[:size], out[size:]

    return back


def slope(f: Callable[[Array], float], z: Array) -> Array:
    """Gradient of a function by central differences."""
    out = np.empty(len(z))
    for k in range(len(z)):
        h = DISTANCE * max(1.0, abs(z[k]))
        e = np.zeros(len(z))
        e[k] = h
        out[k] = (f(z + e) - f(z - e)) / (2 * h)
    return out


__all__ = ["Worth", "by_differences", "by_equations", "slope"]
