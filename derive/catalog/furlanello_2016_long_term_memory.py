"""Fine-tuning and distillation with a shared first layer: what an old head forgets, and what keeps it.

Reference: T. Furlanello, J. Zhao, A. M. Saxe, L. Itti, B. S. Tjan, "Active long term memory networks", arXiv:1606.02355 (2016).
The paper is empirical; this is its linear analogue, an analysis and not a reproduction, so no symbol has a name in the paper.

==========  ===========  ====================================================================
symbol      shape        meaning
==========  ===========  ====================================================================
W1          (h, n)       first layer, shared by both tasks
WA, WB      (oA, h) ...  head of the old task, head of the new task
Td          (oA, n)      outputs of the old network at the switch, WA(0) W1(0), frozen
TA, TB      (oA, n) ...  maps of the old and the new task
kA, kB      scalar       weights of the two terms of the loss
tau         scalar       time constant
forgetting  scalar       E|TA x - WA W1 x|^2 / 2
==========  ===========  ====================================================================

``distil``: loss  kA |Td x - WA W1 x|^2 / 2 + kB |TB x - WB W1 x|^2 / 2, all weights learn; otherwise WA is frozen and kA = 0.
``late`` > 0: fine-tuning alone (kA = 0, so WA rests) up to that time, then distillation of the same frozen outputs.
Assumes white inputs of the new task. Td is a constant of the gradient: it is given, not recomputed from the weights.
Fails where the heads are nonlinear. Weights of the loss are no rescaling of the heads: the balance holds for all of them, but
the stacked network [WA; WB] is a plain two-layer one for kA = kB = 1 only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Phase, Rate
from derive.spec.sugar import norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "furlanello_2016_long_term_memory"
REFERENCE = "Furlanello, Zhao, Saxe, Itti, Tjan, arXiv:1606.02355 (2016), linear analogue"
n, h, oA, oB = dims("n h oA oB")
W1, WA, WB = matrix("W1", h, n), matrix("WA", oA, h), matrix("WB", oB, h)
Td, TA, TB = matrix("Td", oA, n), matrix("TA", oA, n), matrix("TB", oB, n)
tau, kA, kB = scalars("tau kA kB", positive=True)


def entry(
    distil: bool = True, n: int = 5, h: int = 4, oA: int = 2, oB: int = 2, kA: float = 1.0, kB: float = 1.0, tau: float = 1.0,
    late: float = 0.0, time: float = 12.0, seeds: int = 12, seed: int = 0,
) -> Entry:  # fmt: skip
    """A network that knows the old task at t = 0 learns a new one, with distillation (from the time ``late``) or without."""
    if late and not (distil and 0 < late < time):
        raise InvalidSpec(f"late={late:g}: distillation begins between 0 and time={time:g}, with distil=True")
    weight = scalars("kA", positive=True)
    change = (Phase(late, bind={weight: 0}), Phase(time - late, bind={weight: kA})) if late else ()
    sizes = {"n": n, "h": h, "oA": oA, "oB": oB, "tau": tau, "kB": kB, **({"kA": kA} if distil else {})}
    return Entry(
        name=NAME,
        title=f"a shared layer learns a second task, {'with' if distil else 'without'} distillation",
        reference=REFERENCE,
        kind="matrix",
        model=model(distil).replace(protocol=change),
        values={**sizes, **start(n, h, oA, oB, seed), "time": time, "eta": 0.02, "seeds": seeds, "seed": seed},
        claims=claims(distil),
        docs=__doc__ or "",
    )


def start(n: int, h: int, oA: int, oB: int, seed: int) -> dict[str, Any]:
    """A trained old network (Td = TA = WA W1), a small new head, a new task of order one."""
    rng = np.random.default_rng(seed)
    W1, WA, WB, TB = (rng.standard_normal(shape) / 2 for shape in ((h, n), (oA, h), (oB, h), (oB, n)))
    return {"W1": W1, "WA": WA, "WB": WB / 10, "TA": WA @ W1, "Td": WA @ W1, "TB": 2 * TB}


def model(distil: bool = True) -> Model:
    """Two heads on one layer; the new task in white inputs, the old one in frozen outputs."""
    x, L, old, new = vector("x", n), *scalars("L old new")
    let = {new: norm2(TB * x - WB * W1 * x) / 2}
    if distil:
        let |= {old: norm2(Td * x - WA * W1 * x) / 2, L: kA * old + kB * new}
    else:
        let |= {L: kB * new}
    state = (W1, WA, WB) if distil else (W1, WB)
    return Model(
        name=NAME,
        state=state,
        given=(TA, TB, kB, tau, *((Td, kA) if distil else (WA,))),
        data=Normal(x),
        let=let,
        learn=Rate({W: -grad(L, W) / tau for W in state}),
        observe={"loss": mean(L), "forgetting": mean(norm2(TA * x - WA * W1 * x) / 2)},
    )


def claims(distil: bool) -> tuple[Any, ...]:
    """The two-layer flow of the stacked heads, and its balance."""
    EA, EB = kA * (Td - WA * W1), kB * (TB - WB * W1)
    rates = {W1: WB.T * EB / tau, WB: EB * W1.T / tau}
    balance = WB.T * WB - W1 * W1.T
    if distil:
        rates |= {W1: (WA.T * EA + WB.T * EB) / tau, WA: EA * W1.T / tau}
        balance = balance + WA.T * WA
    return (
        Published("two-layer flow of the stacked heads", rate=rates),
        Conserved("balance of the heads and the shared layer", balance),
        MatchesSimulation("SGD on fresh inputs", observables=("loss", "forgetting"), sizes=(100, 400), seeds=24, time=6.0),
    )
