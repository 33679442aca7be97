"""Flows written by hand, for tests of the emitter: every kind of expression that it has a rule for."""

from fractions import Fraction
from functools import cache, reduce

from derive.indices.indexed import PI, Index, arr, const, fun, kron, power, sqrt, sum_over
from derive.matrices.composite import elem, hadamard, inverse, ones, scalar_power
from derive.matrices.poly import atom, constant, identity, param
from derive.matrices.words import Atom
from derive.system import Assumption, Block, Flow, Function, Step

HALF = Fraction(1, 2)


def deep_linear(depth):
    """tau dW_l/dt = (W_L .. W_{l+1})^T (Syx - W_L .. W_1 Sx) (W_{l-1} .. W_1)^T."""
    W = [atom(Atom(f"W{l}", f"N{l}", f"N{l - 1}")) for l in range(1, depth + 1)]
    Sx, Syx = atom(Atom("Sx", "N0", "N0", ("sym",))), atom(Atom("Syx", f"N{depth}", "N0"))
    Syy = atom(Atom("Syy", f"N{depth}", f"N{depth}", ("sym",)))
    full = reduce(lambda a, b: b * a, W)
    E = Syx - full * Sx
    rhs = {}
    for l in range(depth):
        after = reduce(lambda a, b: b * a, W[l + 1 :], identity(f"N{l + 1}"))
        before = reduce(lambda a, b: b * a, W[:l], identity("N0"))
        rhs[f"W{l + 1}"] = param("tau", -1) * (after.T * E * before.T)
    loss = (Syy.trace() + (full * Sx * full.T).trace()).scale(HALF) - (full * Syx.T).trace()
    return Flow(
        name=f"deep linear network, depth {depth}",
        state=tuple(Block(name=f"W{l}", shape=(f"N{l}", f"N{l - 1}")) for l in range(1, depth + 1)),
        rhs=rhs,
        parameters=(
            Block(name="Sx", shape=("N0", "N0"), tags=("sym",), meaning="input covariance"),
            Block(name="Syx", shape=(f"N{depth}", "N0"), meaning="input-output covariance"),
            Block(name="Syy", shape=(f"N{depth}", f"N{depth}"), tags=("sym",), meaning="output covariance"),
            Block(name="tau", meaning="time constant"),
        ),
        observables={"loss": loss},
        time="t, in units of 1/tau",
        assumptions=(Assumption(text="Gradient flow: the step size tends to zero."),),
        steps=(Step(title="gradient", detail="cyclic derivative"),),
    )


def composites():
    """Elementwise functions and slopes, Hadamard products, an inverse, powers of traces, columns, numbers and sizes."""
    W, V = atom(Atom("W", "K", "N")), atom(Atom("V", "K", "K"))
    x, b = atom(Atom("x", "N", 1)), atom(Atom("b", "K", 1))
    h = W * x + b
    g = elem("tanh", h)
    delta = hadamard(elem("tanh", h, 1), V.T * g - b)
    norm = (x.T * x).trace()
    bump = elem("bump", V * h)
    rhs = {
        "W": delta * x.T * param("N", -1) + W.scale(Fraction(-1, 3)),
        "b": delta + bump + elem("relu", b) + elem("erf2", b, 1) + hadamard(b, b, elem("exp", b.scale(-1))),
        "c": norm * param("c") * param("2", HALF) + scalar_power(norm, Fraction(-1, 2)) + elem("sqrt", constant(1) + norm),
        "V": inverse(identity("K") + V * V.T) * V + (b * ones("K", 1).T) - identity("K").scale(2),
    }
    return Flow(
        name="composites",
        state=tuple(Block(name=n, shape=s) for n, s in (("W", ("K", "N")), ("b", ("K", 1)), ("c", ()), ("V", ("K", "K")))),
        rhs=rhs,
        parameters=(Block(name="x", shape=("N", 1)), Block(name="beta")),
        functions={"bump": Function(name="bump", variable="z", body=("map", "exp", ("mul", -1, "beta", ("pow", "z", 2))))},
        observables={"size": (W * W.T).trace() + V.trace() * param("c"), "slope": (b.T * g).trace()},
    )


def modes():
    """u_a' = 2 u_a (s_a - u_a) / tau, with the sum of all u as an observable."""
    i = Index("i", "r")
    u, s = arr("u", i), arr("s", i)
    return Flow(
        name="modes",
        state=(Block(name="u", shape=("r",), indices=(i,)),),
        rhs={"u": const(2) * u * (s - u) / arr("tau")},
        parameters=(Block(name="s", shape=("r",)), Block(name="tau")),
        observables={"total": sum_over(i, u), "mean": sum_over(i, u) / arr("r")},
    )


def committee():
    """Terms as one-pass learning gives them: asin under double sums, tilted rows, symmetric outputs, two families."""
    k, l, i, j = (Index(n, "K") for n in "klij")
    m, n = Index("m", "M"), Index("n", "M")
    eta = arr("eta")

    def q(a, b):
        return arr("Q", a, b, symmetric=True)

    def tilted(a, b):
        return q(a, b) - q(a, k) * q(b, k) / (1 + q(k, k))

    def twice(a, b):
        return tilted(a, b) - tilted(a, l) * tilted(b, l) / (1 + tilted(l, l))

    def angle(c, a, b):
        return fun("asin", c(a, b) * power(1 + c(a, a), -HALF) * power(1 + c(b, b), -HALF))

    def cross(a, b):
        return fun("asin", arr("R", a, b) * power(1 + q(a, a), -HALF) * power(1 + arr("T", b, b), -HALF))

    both = sum_over(i, sum_over(j, arr("v", i) * arr("v", j) * angle(twice, i, j)))
    one = sum_over(i, arr("v", i) * tilted(i, l) * power(1 + tilted(i, i), -HALF))
    weight = arr("v", k) * arr("v", l) * power(1 + q(k, k), -HALF) * power(1 + tilted(l, l), -HALF)
    half = {
        "drift": -(eta / PI) * arr("v", k) * one + (eta / PI) * sum_over(m, arr("R", l, m) * cross(k, m)),
        "noise": eta**2 * sqrt(const(2)) * weight * both / PI**2,
    }
    from derive.indices.indexed import substitute

    drift = half["drift"] + substitute(half["drift"], {k: l, l: k})
    noise = half["noise"]
    noise = noise + substitute(noise, {k: l, l: k}) + kron(k, l) * arr("sigma") ** 2
    rhs = {
        "Q": drift + noise,
        "R": sum_over(n, cross(k, n) * arr("T", n, m)) - eta * arr("R", k, m),
        "v": sum_over(m, cross(k, m)) - sum_over(i, arr("v", i) * angle(q, i, k)) + fun("exp", -(arr("v", k) ** 2)) / arr("N"),
    }
    return Flow(
        name="committee",
        state=(
            Block(name="Q", shape=("K", "K"), indices=(k, l), symmetric=True),
            Block(name="R", shape=("K", "M"), indices=(k, m)),
            Block(name="v", shape=("K",), indices=(k,)),
        ),
        rhs=rhs,
        parameters=(Block(name="T", shape=("M", "M")), Block(name="eta"), Block(name="sigma")),
        observables={"eg": sum_over(i, sum_over(j, arr("v", i) * arr("v", j) * angle(q, i, j))) / PI},
    )


@cache
def teacher_student():
    """The derived equations of the soft committee machine, both layers."""
    from derive.library.teacher import teacher_student as model
    from derive.online.limit import online_limit

    return online_limit(model())


def values(rng, shapes):
    """Random arrays by name; a shape of None is a positive number."""
    return {name: rng.uniform(0.5, 1.5) if shape is None else rng.standard_normal(shape) for name, shape in shapes.items()}


def overlaps(rng, K, M):
    """State and parameters of a committee: overlaps of random vectors, hence a positive definite Gram matrix."""
    W = rng.standard_normal((K + M, 40))
    G = W @ W.T / 40
    state = {"Q": G[:K, :K].copy(), "R": G[:K, K:].copy(), "v": rng.standard_normal(K)}
    return state, G[K:, K:].copy()
