"""Specs of rules with an exact recursion, used by the tests beside this file."""

from __future__ import annotations

from typing import Any

from derive import Choice, Model, Normal, Update, dims, dot, grad, matrix, mean, norm2, scalars, vector

d, B, p, P = dims("d B p P")
w, v, ws, x = vector("w", d), vector("v", d), vector("ws", d), vector("x", d)
H = matrix("H", d, d)
z, loss = scalars("z loss")
eta, sigma, mu, lam, rho, gamma = scalars("eta sigma mu lam rho gamma")
DATA = (Normal(x, cov=H), Normal(z))
LOSS = {loss: (dot(w - ws, x) - sigma * z) ** 2 / 2}


def regression(batch: Any = B) -> Model:
    """SGD on linear regression."""
    given = (ws, H, eta, sigma, *((B,) if batch is B else ()))
    rule = Update({w: w - eta * grad(loss, w)}, batch=batch)
    return Model(name="sgd", state=w, given=given, data=DATA, let=LOSS, learn=rule, observe={"loss": mean(loss)})


def heavy_ball(*, blocks: bool = False) -> Model:
    """Momentum as a second state, in one block or in two."""
    force = mu * v - eta * grad(loss, w)
    rule = Update({v: force}, {w: w + v}, batch=B) if blocks else Update({v: force, w: w + force}, batch=B)
    return Model(name="heavy_ball", state=(w, v), given=(ws, H, eta, sigma, mu, B), data=DATA, let=LOSS, learn=rule)


def decaying() -> Model:
    """Least mean squares with weight decay."""
    rule = Update({w: w - eta * grad(loss, w) - eta * lam * w})
    return Model(name="decaying", state=w, given=(ws, H, eta, sigma, lam), data=DATA, let=LOSS, learn=rule)


def averaging() -> Model:
    """A running average (Polyak) of the weights, taken after their step."""
    rule = Update({w: w - eta * grad(loss, w)}, {v: (1 - rho) * v + rho * w})
    return Model(name="averaging", state=(w, v), given=(ws, H, eta, sigma, rho), data=DATA, let=LOSS, learn=rule)


def two_heads() -> Model:
    """Regression of p outputs with biases."""
    W, Ws, b, bs, e = matrix("W", p, d), matrix("Ws", p, d), vector("b", p), vector("bs", p), vector("e", p)
    square = {loss: norm2((W - Ws) * x + b - bs - sigma * e) / 2}
    rule = Update({W: W - eta * grad(loss, W), b: b - eta * grad(loss, b)}, batch=B)
    data = (Normal(x, cov=H), Normal(e))
    given = (Ws, bs, H, eta, sigma, B)
    return Model(name="two_heads", state=(W, b), given=given, data=data, let=square, learn=rule, observe={"loss": mean(loss)})


def with_offset() -> Model:
    """Regression with a number as second state."""
    c, cs = scalars("c cs")
    square = {loss: (dot(w - ws, x) + c - cs - sigma * z) ** 2 / 2}
    rule = Update({w: w - eta * grad(loss, w), c: c - eta * grad(loss, c)}, batch=B)
    return Model(name="with_offset", state=(w, c), given=(ws, cs, H, eta, sigma, B), data=DATA, let=square, learn=rule)


def td_chain() -> Model:
    """TD(0) with linear features on a chain of P states, visited at random; columns of T are the laws of the next state."""
    s, n, F, T, r = vector("s", P), vector("n", P), matrix("F", d, P), matrix("T", P, P), vector("r", P)
    error = dot(r, s) + gamma * dot(w, F * n) - dot(w, F * s)
    data = (Choice(s), Choice(n, probs=T * s))
    return Model(name="td", state=w, given=(F, T, r, eta, gamma), data=data, learn=Update({w: w + eta * error * F * s}))
