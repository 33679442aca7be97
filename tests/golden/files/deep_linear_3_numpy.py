"""deep linear network, depth 3: right-hand side and observables.

Time: t, in units of 1/tau.

Equations
    dW1/dt = W2'*W3'*Syx/tau - W2'*W3'*W3*W2*W1*Sx/tau
    dW2/dt = W3'*Syx*W1'/tau - W3'*W3*W2*W1*Sx*W1'/tau
    dW3/dt = Syx*W1'*W2'/tau - W3*W2*W1*Sx*W1'*W2'/tau
    loss = 1/2*tr(Sx*W1'*W2'*W3'*W3*W2*W1) - tr(Syx*W1'*W2'*W3') + 1/2*tr(Syy)

Symbols
    W1   state  (N1, N0)
    W2   state  (N2, N1)
    W3   state  (N3, N2)
    Sx   given  (N0, N0)  input covariance; sym
    Syx  given  (N3, N0)  input-output covariance
    Syy  given  (N3, N3)  output covariance; sym
    tau  given  number  time constant

Assumptions
    - Gradient flow: the step size tends to zero.

Derivation
    1. gradient: cyclic derivative
"""

# Written by gradientflow for numpy: needs Python and NumPy; import it, or run it with `python -i`.
# rhs(t, states, parameters) and observables(...) return tuples.

import numpy as np


def rhs(t, W1, W2, W3, Sx, Syx, Syy, tau):
    """Time derivatives (W1, W2, W3)."""
    P1 = W3 @ W2
    E1 = Syx - P1 @ W1 @ Sx
    # dW1/dt = W2'*W3'*Syx/tau - W2'*W3'*W3*W2*W1*Sx/tau
    dW1 = (P1.T @ E1) / tau
    P2 = E1 @ W1.T
    # dW2/dt = W3'*Syx*W1'/tau - W3'*W3*W2*W1*Sx*W1'/tau
    dW2 = (W3.T @ P2) / tau
    # dW3/dt = Syx*W1'*W2'/tau - W3*W2*W1*Sx*W1'*W2'/tau
    dW3 = (P2 @ W2.T) / tau
    return (dW1, dW2, dW3)


def observables(t, W1, W2, W3, Sx, Syx, Syy, tau):
    """(loss)."""
    P1 = W2 @ W1
    P2 = W3 @ P1
    # loss = 1/2*tr(Sx*W1'*W2'*W3'*W3*W2*W1) - tr(Syx*W1'*W2'*W3') + 1/2*tr(Syy)
    loss = np.sum(Sx * (P2.T @ P2).T) / 2 + np.trace(Syy) / 2 - np.sum(Syx * P2)
    return (loss,)
