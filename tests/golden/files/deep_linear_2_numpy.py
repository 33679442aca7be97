"""deep linear network, depth 2: right-hand side and observables.

Time: t, in units of 1/tau.

Equations
    dW1/dt = W2'*Syx/tau - W2'*W2*W1*Sx/tau
    dW2/dt = Syx*W1'/tau - W2*W1*Sx*W1'/tau
    loss = 1/2*tr(Sx*W1'*W2'*W2*W1) - tr(Syx*W1'*W2') + 1/2*tr(Syy)

Symbols
    W1   state  (N1, N0)
    W2   state  (N2, N1)
    Sx   given  (N0, N0)  input covariance; sym
    Syx  given  (N2, N0)  input-output covariance
    Syy  given  (N2, N2)  output covariance; sym
    tau  given  number  time constant

Assumptions
    - Gradient flow: the step size tends to zero.

Derivation
    1. gradient: cyclic derivative
"""

# Written by gradientflow for numpy: needs Python and NumPy; import it, or run it with `python -i`.
# rhs(t, states, parameters) and observables(...) return tuples.

import numpy as np


def rhs(t, W1, W2, Sx, Syx, Syy, tau):
    """Time derivatives (W1, W2)."""
    E1 = Syx - W2 @ W1 @ Sx
    # dW1/dt = W2'*Syx/tau - W2'*W2*W1*Sx/tau
    dW1 = (W2.T @ E1) / tau
    # dW2/dt = Syx*W1'/tau - W2*W1*Sx*W1'/tau
    dW2 = (E1 @ W1.T) / tau
    return (dW1, dW2)


def observables(t, W1, W2, Sx, Syx, Syy, tau):
    """(loss)."""
    P1 = W2 @ W1
    # loss = 1/2*tr(Sx*W1'*W2'*W2*W1) - tr(Syx*W1'*W2') + 1/2*tr(Syy)
    loss = np.sum(Sx * (P1.T @ P1).T) / 2 + np.trace(Syy) / 2 - np.sum(Syx * P1)
    return (loss,)
