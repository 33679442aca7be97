"""Claims about learning times in a network that fuses two modalities: leading order in the small equal start of both.

The race: while g_A and g_B keep their first values, uB follows uA with the exponent, or the ratio of rates, kappa = syB / syA;
after A is learned B grows at the frozen rate syB - syA sAB / sA. Judged by convergence, never by equality.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import LeadingOrder
from derive.flows.elimination import eliminate
from derive.library.fusion import two_strengths
from derive.solutions.asymptotics import learning_times
from derive.spec.symbols import scalars

uA, uB, u, sA, sB, sAB, syA, syB = scalars("uA uB u sA sB sAB syA syB")
tau, u0, v = scalars("tau u0 v", positive=True)
SIGNS = (sA, sB, sA * sB - sAB**2, syA, syB, syA - syB, sA * syB - sAB * syA)  # A is learned first, and B matters too


def time_claims(layers: int, f: int) -> tuple[Any, ...]:
    """Times at which half of each modality's weight is learned from the start uA = uB = u0, to leading order."""
    total, (tA, tB) = [w**f * (uA**2 + uB**2) ** sp.Rational(layers - f, 2) for w in (uA, uB)], scalars("tA tB")
    times = {tA: (total[0], syA / sA / 2), tB: (total[1], (sA * syB - sAB * syA) / (sA * sB - sAB**2) / 2)}
    common = {"small": u0, "times": times, "start": {uA: u0, uB: u0}}
    lag = (syA - syB) / (syB - syA * sAB / sA)
    if f == layers:
        ratio = LeadingOrder(
            "ratio of the learning times", quantity=tB / tA, formula=1 + lag, rate="log" if f == 2 else float(f - 2), **common,
            derived=lambda flow: learning_times(flow, (uA, uB), positive=SIGNS).ratio(uB, uA), on=two_strengths(layers, f),
        )  # fmt: skip
        return (ratio,)
    kappa, on_cone = syB / syA, (two_strengths(layers, f), lambda flow: eliminate(flow, u**2 - uA**2 - uB**2, u, name="c0"))
    other = v**kappa if f == 2 else (kappa * v ** (2 - f) + 1 - kappa) ** sp.Rational(1, 2 - f)
    first = sp.Integral(v ** (1 - f) * (v**2 + other**2) ** sp.Rational(f - layers, 2), (v, 1, sp.oo))
    wait = sp.log(1 / u0) if f == 2 else u0 ** (2 - f) / (f - 2)
    sizes = tuple(10 ** (-k / (layers - 2)) for k in (5, 6, 7, 8))  # the first time, up to 1e8, hides what is shorter than 1e-8
    common |= {"values": {"c0": 0}, "on": on_cone}

    def derived(flow: Any) -> Any:
        return learning_times(flow, (uA, uB), positive=SIGNS, at={"c0": 0})

    return (
        LeadingOrder("time of the first modality", quantity=tA, formula=tau * u0 ** (2 - layers) / syA * first, **common,
                     rate=float(layers - 2), derived=lambda flow: derived(flow).times["uA"]),
        LeadingOrder("lag of the second modality", quantity=tB - tA, rate="log" if f == 2 else float(f - 2), **common,
                     formula=tau * lag / syA * wait * (sA / syA) ** (1 - sp.Rational(f, layers)),
                     sizes=sizes if f == 2 else (), derived=lambda flow: derived(flow).lags["uB"]),
    )  # fmt: skip
