"""Soft committee with more hidden units than its teacher: the final error grows with every spare unit.

Reference: S. Goldt, M. S. Advani, A. M. Saxe, F. Krzakala, L. Zdeborova, "Generalisation dynamics of online learning in
over-parameterised neural networks", arXiv:1901.09085 (2019).

======  ========  ===============================================  ==================
symbol  shape     meaning                                          name in the paper
======  ========  ===============================================  ==================
W       (K, N)    first layer of the student, K = M + L            w
Wstar   (M, N)    first layer of the teacher                       B
v, A    (K,)      second layers, all ones, they do not learn       -
eta     scalar    learning rate                                    eta
sigma   scalar    strength of the label noise                      sigma
Q, R, T           overlaps W.W/N, W.Wstar/N, Wstar.Wstar/N         Q, R, T
eg      scalar    generalisation error (without label noise)       epsilon_g
======  ========  ===============================================  ==================

Headline, to leading order in eta at the fixed point of T = I: eg = (eta sigma^2 / 2 pi) (L + M / sqrt 3). Its corrections are
of relative order eta, so it is a statement about convergence as eta -> 0, not an equality. The student there has M units that
are units of the teacher (``pair``) and L units of small norm (``spare``); units of a kind are alike, M and L stay symbols.
Assumes Gaussian white inputs, each seen once; N -> oo with K, M of order one; time alpha = steps / N.
Fails where the second layer learns: the student can then average its spare units.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.catalog.goldt_2019_teacher_student import published
from derive.claims.entry import Entry, MatchesSimulation, RestsNear
from derive.errors import InvalidSpec
from derive.library.teacher import teacher_student
from derive.online.alike_units import Group, symmetric

REFERENCE = "Goldt, Advani, Saxe, Krzakala, Zdeborova, arXiv:1901.09085"


def entry(
    M: int = 2,
    L: int = 1,
    N: int = 1000,
    eta: float = 0.2,
    sigma: float = 0.1,
    time: float = 20.0,
    seeds: int = 20,
    seed: int = 0,
) -> Entry:
    """Teacher with M hidden units, student with M + L; ``time`` in units of steps / N."""
    if L < 0:
        raise InvalidSpec(f"L={L}: the number of spare units is zero or more")
    K = M + L
    return Entry(
        name="goldt_2019_overparameterised",
        title="over-parameterised soft committee, one-pass SGD",
        reference=REFERENCE,
        kind="online",
        model=teacher_student(train="first", name="goldt_2019_overparameterised"),
        values={
            "K": K, "M": M, "L": L, "N": N, "eta": eta, "sigma": sigma, "v": [1.0] * K, "A": [1.0] * M,
            "time": time, "seeds": seeds, "seed": seed,
        },
        claims=(
            *published("first"),
            error_at_rest(L),
            MatchesSimulation(
                "one-pass SGD", observables=("eg", "Q", "R"), sizes=(200, 400, 800), seeds=seeds, time=5.0
            ),
        ),
        docs=__doc__ or "",
    )  # fmt: skip


def error_at_rest(spare: int) -> RestsNear:
    """The error of a student that knows its teacher, to first order in eta; without spare units their group is empty."""
    M, L = sp.symbols("M L", integer=True, positive=True)
    eta, sigma = sp.symbols("eta sigma", positive=True)
    groups = {"pair": Group(size="M", families=("K", "M"))}
    ones = ["Q_pair", "R_pair", "T_pair", "A_pair", "v_pair"]
    zeros = ["Q_pair_pair", "R_pair_pair", "T_pair_pair"]
    if spare:
        groups["spare"] = Group(size="L", families=("K",))
        ones += ["v_spare"]
        zeros += ["Q_pair_spare", "Q_spare", "Q_spare_spare", "R_spare_pair"]
    at: dict[Any, Any] = {**dict.fromkeys(ones, 1), **dict.fromkeys(zeros, 0)}
    formula = eta * sigma**2 / (2 * sp.pi) * ((L if spare else 0) + M / sp.sqrt(3))
    return RestsNear("final error", small=eta, at=at, observables={"eg": formula}, on=lambda flow: symmetric(flow, groups))
