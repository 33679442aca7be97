"""A speaker learns words by policy gradient from the difference of two listeners: a softmax replicator.

Reference: A. K. Singh et al., "Know your audience: specializing grounded language models with listener subtraction", EACL 2023.
Analogue, not a reproduction: the paper trains language models and has no equations of learning.

==========  ========  =======================================================  ==================
symbol      shape     meaning                                                  name in the paper
==========  ========  =======================================================  ==================
W           (X, A)    logits of A words for each of X images                   -
R           (X, A)    reward, near listener minus far listener                 r
px          (X, 1)    probabilities of the images                              p(x)
s, a        one-hot   the image shown, the word spoken                         x, a
u           scalar    difference of the two logits of the first image, A = 2   -
reward      scalar    expected reward                                          -
tau         scalar    time constant                                            -
==========  ========  =======================================================  ==================

The word is drawn from softmax(W^T s), and W moves by  s (a - softmax)^T  times its reward (REINFORCE without a baseline).
On average W_xa' = p(x) pi_a (r_a - sum_b pi_b r_b); for two words u + sinh u grows linearly.
Assumes slow learning, rewards that do not depend on the past.
Fails for a listener that learns too: rewards then move.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.spec.laws import Choice
from derive.spec.model import Model
from derive.spec.nodes import mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot, had, total
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "singh_2023_listener_subtraction"
REFERENCE = "Singh et al., EACL 2023, softmax speaker as analogue"
X, A = dims("X A")
W, R, px, s, a = matrix("W", X, A), matrix("R", X, A), vector("px", X), vector("s", X), vector("a", A)
pi, z, r, y, tau = vector("probs", A), vector("logits", A), *scalars("r y"), scalars("tau", positive=True)


def entry(
    images: int = 3, words: int = 2, tau: float = 1.0, time: float = 30.0, eta: float = 0.02, seeds: int = 12, seed: int = 0,
) -> Entry:  # fmt: skip
    """``images`` of different probabilities, and ``words`` with random rewards between -1 and 1."""
    if words < 2:
        raise InvalidSpec(f"words={words}: a speaker needs two words or more to choose from")
    rng = np.random.default_rng(seed)
    p = np.arange(images, 0.0, -1.0)[:, None]
    world = {"R": rng.uniform(-1, 1, (images, words)), "px": p / p.sum(), "W": np.zeros((images, words))}
    run = {"time": time, "eta": eta, "seeds": seeds, "seed": seed}
    return Entry(
        name=NAME, title="a softmax speaker learns from two listeners", reference=REFERENCE, kind="matrix", model=model(),
        values={"X": images, "A": words, "tau": tau, **world, **run}, claims=claims(words), docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """REINFORCE on a random image; the expected reward is watched."""
    return Model(
        name=NAME,
        state=W,
        given=(R, px, tau),
        data=(Choice(s, probs=px), Choice(a, probs=pi)),
        let={z: W.T * s, pi: fn.exp(z) / total(fn.exp(z)), r: dot(R.T * s, a)},
        learn=Rate({W: r * s * (a - pi).T / tau}),
        observe={"reward": mean(r)},
    )


def claims(words: int) -> tuple[Any, ...]:
    """Replicator of the words, sum of the logits, and two words in closed form."""
    row, each = sp.OneMatrix(1, A), sp.OneMatrix(A, 1)
    policy = had(fn.exp(W), fn.inv(fn.exp(W) * each * row))
    gain = R - had(policy, R) * each * row
    out: list[Any] = [
        Published("replicator of the words", rate={W: had(px * row, policy, gain) / tau}),
        Conserved("sum of the logits of an image", W * each),
    ]
    if words == 2:
        u = W[0, 0] - W[0, 1]
        rate = px[0, 0] * (R[0, 0] - R[0, 1]) / tau
        out.append(Published("two words: u + sinh u grows linearly", where={y: u + sp.sinh(u)}, rate={y: rate}))
    return (*out, MatchesSimulation("REINFORCE", observables=("reward",), sizes=(100, 400), seeds=16, time=6.0))
