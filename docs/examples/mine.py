"""An own model: a two-layer erf student that learns from a teacher, one fresh example at each step."""

from sympy import oo, sqrt

from derive import Limit, Model, Normal, Update, dims, dot, fn, grad, matrix, mean, scalars, vector

N, K, M = dims("N K M")
W, Wstar, x = matrix("W", K, N), matrix("Wstar", M, N), vector("x", N)
v, A = vector("v", K), vector("A", M)
eta = scalars("eta", positive=True)
f, y, L = scalars("f y L")

model = Model(
    name="mine",
    state=W,
    given=(Wstar, v, A, eta),
    data=Normal(x),
    let={f: dot(v, fn.erf2(W * x / sqrt(N))), y: dot(A, fn.erf2(Wstar * x / sqrt(N))), L: (f - y) ** 2 / 2},
    learn=Update({W: W - eta * grad(L, W)}, dt=1 / N),
    limit=Limit({N: oo}),
    observe={"eg": mean(L)},
)
