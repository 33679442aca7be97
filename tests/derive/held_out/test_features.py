"""Machines with several vectors: majority and parity labels, trees, a generative pair, independent components, consolidation.

Road one: derived. Road two: published or hand-made equations typed here, or direct SGD.
"""

import numpy as np
from sympy import oo, sqrt

import codegen
import numerics
from codegen.local_averages import identifier
from derive import (
    Choice,
    Event,
    Limit,
    Model,
    Normal,
    Phase,
    Update,
    case,
    course,
    dims,
    dot,
    fn,
    grad,
    norm2,
    online_limit,
    scalars,
    vector,
)
from derive.gaussian.local import Local
from tests.derive.held_out.direct import agrees, overlap, place, rate

N, N1, N2, N3 = dims("N N1 N2 N3")
eta = scalars("eta", positive=True)
x, w, b1, b2, b3 = (vector(name, N) for name in ("x", "w", "b1", "b2", "b3"))
TIGHT = 1e-12  # rounding of a few dozen operations
SIGNS = 1e-9  # stated error of the integrals of four signs 1e-10


def field(u):
    return fn.sgn(dot(u, x) / sqrt(N))


def test_averages_with_like_functions_have_names_of_their_own():
    """``E[sgn,sgn|sgn|x]`` and ``E[sgn|sgn|sgn,x]`` are two functions of a kernel."""
    one, two = Local(slots=(("tanh",), ("tanh",)), means=False), Local(slots=(("tanh", "tanh"),), means=False)
    assert identifier(one) != identifier(two)


def test_hebbian_learning_of_a_majority_and_of_a_parity():
    """Orthonormal teachers. Majority: y = (s1 + s2 + s3 - s1 s2 s3) / 2, so E[y nu_1] = sqrt(2/pi) / 2; parity: 0."""
    signs = [field(b) for b in (b1, b2, b3)]
    for label, want in ((fn.sgn(sum(signs)), np.sqrt(2 / np.pi) / 2), (signs[0] * signs[1] * signs[2], 0.0)):
        flow = online_limit(
            Model(
                name="labels", state=(w,), given=(b1, b2, b3, eta), data=(Normal(x),),
                learn=Update({w: w + eta / sqrt(N) * label * x}, dt=1 / N), limit=Limit({N: oo}),
            )
        )  # fmt: skip
        at = {"Q_w": 0.8, "R_w_b1": 0.3, "R_w_b2": -0.2, "R_w_b3": 0.1, "eta": 0.5}
        at |= {f"T_b{i}": 1.0 for i in (1, 2, 3)} | {f"T_b{i}_b{j}": 0.0 for i, j in ((1, 2), (1, 3), (2, 3))}
        assert abs(rate(flow, "R_w_b1", **at) - 0.5 * want) < SIGNS
        assert abs(rate(flow, "Q_w", **at) - (2 * 0.5 * want * (0.3 - 0.2 + 0.1) + 0.25)) < SIGNS


def test_parity_machine_by_least_action_against_direct_sgd():
    """Two hidden units, y = sgn(lam_1) sgn(lam_2): a mistake moves both units so that each would have been right."""
    w1, w2, out, label = vector("w1", N), vector("w2", N), *scalars("out label")
    wrong = fn.step(-out * label)
    flow = online_limit(
        Model(
            name="parity", state=(w1, w2), given=(b1, b2, eta), data=(Normal(x),),
            let={out: field(w1) * field(w2), label: field(b1) * field(b2)},
            learn=Update({u: u + eta / sqrt(N) * wrong * label * field(v) * x for u, v in ((w1, w2), (w2, w1))}, dt=1 / N),
            limit=Limit({N: oo}),
        )
    )  # fmt: skip
    gram = np.array([[1.0, 0.1, 0.5, 0.1], [0.1, 0.9, 0.0, 0.4], [0.5, 0.0, 1.0, 0.0], [0.1, 0.4, 0.0, 1.0]])
    n, seeds = 200, 40
    rng = np.random.default_rng(5)
    V = place(gram, n, seeds, rng)
    for _ in range(n // 2):
        z = rng.normal(size=(seeds, n))
        s = np.sign(np.einsum("skn,sn->sk", V, z))
        push = 0.5 / np.sqrt(n) * (s.prod(1) < 0) * s[:, 2] * s[:, 3]
        V[:, 0], V[:, 1] = V[:, 0] + (push * s[:, 1])[:, None] * z, V[:, 1] + (push * s[:, 0])[:, None] * z
    start = {"Q_w1": 1.0, "Q_w1_w2": 0.1, "R_w1_b1": 0.5, "R_w1_b2": 0.1, "Q_w2": 0.9, "R_w2_b1": 0.0, "R_w2_b2": 0.4}
    seen = {"Q_w1": overlap(V[:, 0], V[:, 0]), "Q_w1_w2": overlap(V[:, 0], V[:, 1]), "R_w1_b1": overlap(V[:, 0], V[:, 2])}
    agrees(flow, start, {"T_b1": 1.0, "T_b1_b2": 0.0, "T_b2": 1.0, "eta": 0.5}, seen, 0.5, n)


def test_tree_of_three_perceptrons_whose_majority_decides():
    """Disjoint inputs, F_i = label step(-out label). By hand for orthogonal students: all signs are independent, so
    E[F_i nu_i] = E[label |..| P(out wrong | ..)] by the 64 cases of six signs."""
    r1, r2 = scalars("r1 r2", positive=True)
    sizes, total = (N1, N2, N3), N1 + N2 + N3
    ws, bs, xs = ([vector(f"{c}{i}", n) for i, n in enumerate(sizes, 1)] for c in "vcz")
    out, label = (fn.sgn(sum(fn.sgn(dot(u, z) / sqrt(total)) for u, z in zip(group, xs, strict=True))) for group in (ws, bs))
    f, y = scalars("f y")
    flow = online_limit(
        Model(
            name="tree", state=tuple(ws), given=(*bs, eta), data=tuple(Normal(z) for z in xs), let={f: out, y: label},
            learn=Update(
                {u: u + eta / sqrt(total) * fn.step(-f * y) * y * z for u, z in zip(ws, xs, strict=True)}, dt=1 / total
            ),
            limit=Limit(dict.fromkeys(sizes, oo), fixed={r1: N1 / total, r2: N2 / total}),
        )
    )  # fmt: skip
    thirds = {"r1": 1 / 3, "r2": 1 / 3, "eta": 0.5}
    at = thirds | {f"{k}_v{i}": 1 / 3 for k in ("Q",) for i in (1, 2, 3)}
    at |= {f"R_v{i}_c{i}": 0.0 for i in (1, 2, 3)} | {f"T_c{i}": 1 / 3 for i in (1, 2, 3)}
    cases = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)
    right, said = np.sign(cases[:3].sum(0)), np.sign(cases[3:].sum(0))
    force = right * (right != said)
    scale = np.sqrt(2 / np.pi / 3)  # E|nu_i| for nu_i of variance 1/3
    assert abs(rate(flow, "R_v1_c1", **at) - 0.5 * scale * np.mean(force * cases[0])) < SIGNS
    assert abs(rate(flow, "Q_v1", **at) - (scale * np.mean(force * cases[3]) + 0.25 / 3 * np.mean(force**2))) < SIGNS


def test_a_generator_against_a_discriminator_with_one_feature():
    """Linear pair: y = c u / sqrt N + z (true), y' = c' v / sqrt N + z' (made), discriminator w, generator v.

    w += t (y (w.y) - y' (w.y')) / N,   v += t c' w (w.y' / sqrt N) / N.   By hand with P = w.u, q = w.v, r = u.v, all over N:
    the noise parts cancel in the drift of w.u: dP = t (P |u|^2 - q r), dq = t (P r - q |v|^2) + t q S, d|v|^2 = 2 t q^2,
    dr = t q P, dS = 2 t (P^2 - q^2) + t^2 (P^2 + q^2 + 2 S), S = |w|^2.
    """
    t = scalars("t0", positive=True)
    c0, c1 = scalars("c0 c1")
    u, v, z0, z1, Y0, Y1 = (vector(name, N) for name in ("u", "v", "z0", "z1", "Y0", "Y1"))
    flow = online_limit(
        Model(
            name="gan", state=(w, v), given=(u, t), data=(Normal(z0), Normal(z1), Choice(c0, (1, -1)), Normal(c1)),
            let={Y0: u * c0 / sqrt(N) + z0, Y1: v * c1 / sqrt(N) + z1},
            learn=Update(
                {w: w + t / N * (Y0 * dot(w, Y0) - Y1 * dot(w, Y1)), v: v + t / N * c1 * w * dot(w, Y1) / sqrt(N)}, dt=1 / N
            ),
            limit=Limit({N: oo}),
        )
    )  # fmt: skip
    S, q, P, V, r, U, rate_ = 0.7, 0.2, 0.3, 0.9, 0.4, 1.1, 0.25
    at = {"Q_w": S, "Q_w_v": q, "R_w_u": P, "Q_v": V, "R_v_u": r, "T_u": U, "t0": rate_}
    want = {
        "R_w_u": rate_ * (P * U - q * r), "Q_w_v": rate_ * (P * r - q * V) + rate_ * q * S, "Q_v": 2 * rate_ * q**2,
        "R_v_u": rate_ * q * P, "Q_w": 2 * rate_ * (P**2 - q**2) + rate_**2 * (P**2 + q**2 + 2 * S),
    }  # fmt: skip
    for name, value in want.items():
        assert abs(rate(flow, name, **at) - value) < TIGHT, name


def test_an_independent_component_with_two_values():
    """x = s b / sqrt N + z, s = +-1, w -= eta lam^3 x / sqrt N, |w|^2 = N = |b|^2. By hand, lam = s R + sqrt(1) z:

    dR = -eta (3 R + 4 R^3 .. ) : E[lam^3 nu] with nu = s + b.z is R^3 + 3 R + 3 R (1 + R^2); E[lam^4] = R^4 + 6 R^2 + 3,
    E[lam^6] = R^6 + 15 R^4 + 45 R^2 + 15; then R' = -eta (E[lam^3 nu] - R E[lam^4]) - eta^2 R E[lam^6] / 2.
    """
    s, b, z = scalars("s"), vector("b", N), vector("z", N)
    X = vector("X", N)
    flow = online_limit(
        Model(
            name="ica", state=(w,), given=(b, eta), data=(Normal(z), Choice(s, (1, -1))), let={X: s * b / sqrt(N) + z},
            learn=Update(
                {w: w - eta / sqrt(N) * (dot(w, X) / sqrt(N)) ** 3 * X}, {w: w * sqrt(N) / sqrt(norm2(w))}, dt=1 / N
            ),
            limit=Limit({N: oo}),
        )
    )  # fmt: skip
    R, e = 0.4, 0.05
    third, fourth, sixth = R**3 + 3 * R + 3 * R * (1 + R**2), R**4 + 6 * R**2 + 3, R**6 + 15 * R**4 + 45 * R**2 + 15
    want = -e * (third - R * fourth) - e**2 * R * sixth / 2
    assert abs(rate(flow, "R", Q=1.0, R=R, T=1.0, eta=e) - want) < TIGHT


def test_consolidation_keeps_the_weights_of_the_first_task():
    """Linear student, task 1, then task 2 with a spring to the weights that task 1 left: w -= (kappa / N)(w - w0).

    By hand without the step's noise, in the second phase: d(w.b2) = eta (T2 - w.b2) - kappa (w.b2 - w0.b2).
    """
    task, L = scalars("task L")
    kappa, w0 = scalars("kappa", positive=True), vector("w0", N)
    errors = {1: (dot(w, x) - dot(b1, x)) ** 2 / N / 2, 2: (dot(w, x) - dot(b2, x)) ** 2 / N / 2}
    model = Model(
        name="consolidation", state=(w, w0), given=(b1, b2, task, eta, kappa), data=(Normal(x),), let={L: case(task, errors)},
        learn=Update({w: w - eta * grad(L, w) - kappa / N * (w - w0), w0: w0}, dt=1 / N), limit=Limit({N: oo}),
        protocol=(Phase(3, bind={task: 1, kappa: 0}), Event({w0: w}), Phase(3, bind={task: 2})),
    )  # fmt: skip
    start = {
        "Q_w": 0.5, "Q_w_w0": 0.0, "R_w_b1": 0.2, "R_w_b2": 0.1, "Q_w0": 1.0, "R_w0_b1": 0.0, "R_w0_b2": 0.0,
    }  # fmt: skip
    given = {"T_b1": 1.0, "T_b1_b2": 0.3, "T_b2": 1.2, "eta": 0.4, "kappa": 0.7}
    run = numerics.follow(course(model), start, given)
    first = 0.3 + (0.1 - 0.3) * np.exp(-0.4 * 3)  # R_w_b2 relaxes to b1.b2 in the first phase
    pull, rest = 0.4 + 0.7, (0.4 * 1.2 + 0.7 * first) / (0.4 + 0.7)
    want = rest + (first - rest) * np.exp(-pull * 3)
    assert abs(run.values["R_w_b2"][-1] - want) < 1e-6  # integrated with rtol 1e-8
    assert abs(run.values["R_w0_b2"][-1] - first) < 1e-6


def test_a_compiled_rule_with_like_averages_gives_the_numbers_of_the_equations():
    """REINFORCE with a noisy sign policy: the kernel holds ``E[sgn|sgn|x,x]`` and its like."""
    from derive import had, matrix, total

    N, T = dims("N T")
    X, xi, w, b, act = matrix("X", N, T), vector("xi", T), vector("w", N), vector("b", N), vector("act", T)
    k, sigma = scalars("k sigma")
    flow = online_limit(
        Model(
            name="reinforce", state=(w,), given=(b, eta, sigma), data=(Normal(X), Normal(xi)),
            let={
                act: fn.sgn(X.T * w / sqrt(N) + sigma * xi), k: total(fn.step(had(act, fn.sgn(X.T * b / sqrt(N))))),
            },
            learn=Update({w: w + eta / (T * sqrt(N)) * k / T * X * xi}, dt=1 / N), limit=Limit({N: oo}),
        )
    )  # fmt: skip
    at = {"Q": 0.8, "R": 0.5, "eta": 0.6, "sigma": 0.5, "T": 4}
    at |= {p.name: 1.3 for p in flow.parameters if p.name not in at}
    kernel = codegen.compile(flow, backend="numpy")
    layout = kernel.layout({"Q": 0.8, "R": 0.5})
    parameters = {p.name: at[p.name] for p in flow.parameters}
    got = layout.unpack(kernel.flat_rhs(layout, kernel.arguments(parameters))(0.0, layout.pack({"Q": 0.8, "R": 0.5})))
    for name in ("Q", "R"):
        assert abs(float(got[name]) - rate(flow, name, **at)) < SIGNS
