r"""Trees to index level: every entry of an expression as a function of fields, overlaps and O(1) arrays.

An N-vector is a list of terms ``coefficient * basis vector`` (rows of weight families, inputs), and is never looked into.
Products of two N-vectors become scalars, and this is where the order parameters enter:

    V_k . x = sqrt(N) lam_k,     V_k . U_l = N C_kl,     x . x = N rho var(x) (self-averaging),     x . x' = 0 for independent
    inputs.

Powers of N are kept as powers of the symbol, so that they can be counted later. Labels of rows are introduced here for the
first time. Random labels have the value of one outcome. Imported by `derive.fields.rule` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count

from derive.errors import UnsupportedNode
from derive.fields.calculus import differentiate, powers_of
from derive.fields.concentration import alike, concentrated
from derive.fields.crossed import cross_name, leading, settled
from derive.fields.labels import Outcome
from derive.fields.overlaps import Overlaps, field_name
from derive.fields.vectors import Part, Value, Vector
from derive.gaussian.activations import applied
from derive.indices.indexed import ONE, PI, ZERO, Index, Node, add, arr, arrays, const, fun, kron, mul, power, sum_over
from derive.spec.lowered import Function, Lowered
from derive.spec.tree import Tree, as_fraction, names

_NATURAL: Mapping[str, Fraction] = {"sq": Fraction(2), "inv": Fraction(-1), "sqrt": Fraction(1, 2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads entries of trees of one model.

    Attributes
    ----------
    lowered : Lowered
    big : str
        The dimension that tends to infinity.
    overlaps : Overlaps
        Families of N-vectors and the names of their Gram matrices.
    inputs : mapping name -> Node
        Centred Gaussian N-vector draws x and the limit of |x|^2 / N.
    average : callable(Node) -> Node
        Average over fresh draws, for ``mean``.
    sizes : mapping dimension -> Node
        Dimensions that tend to infinity, as multiples of N.
    means : mapping name -> tree
        What stands beside the centred input, where it has a mean.
    outcome : Outcome
        Values of the random labels.
    mixture : callable(Reader -> Node) -> Node, or None
        Average over fresh draws and labels, for ``mean``, if there are several outcomes.
    products : callable(Part, Part) -> Node, or None
        Product of two inputs over N, in place of its limit, where nothing tends to infinity.
    """

    lowered: Lowered
    big: str
    overlaps: Overlaps
    inputs: Mapping[str, Node]
    average: Callable[[Node], Node]
    sizes: Mapping[str, Node]
    means: Mapping[str, Tree] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)
    mixture: Callable[[Callable[[Reader], Node]], Node] | None = field(default=None, compare=False)
    products: Callable[[Part, Part], Node] | None = field(default=None, compare=False)
    fresh: count[int] = field(default_factory=lambda: count(1), compare=False, repr=False)

    # ------------------------------------------------------------------------------------------------ dimensions
    def is_big(self, dimension: Tree) -> bool:
        """Whether a dimension tends to infinity."""
        return any(n in self.sizes for n in names(dimension))

    def label(self, dimension: Tree) -> Index | None:
        """A fresh label for an axis; None for axes of length 1 and of length N."""
        if dimension == 1 or self.is_big(dimension):
            if dimension != 1 and dimension not in self.sizes:
                raise UnsupportedNode(
                    f"{self.lowered.name}: an axis of length {dimension}; use {self.big} itself as the length"
                )
            return None
        if not isinstance(dimension, str):
            raise UnsupportedNode(
                f"{self.lowered.name}: an axis of length {dimension} has no name; declare it with dims('K'), its size "
                "is chosen at run time"
            )
        return Index(f"_{next(self.fresh)}", dimension)

    # ---------------------------------------------------------------------------------------------------- values
    def scalar(self, tree: Tree) -> Node:
        """Value of a number."""
        return self.node(tree, None, None)

    def node(self, tree: Tree, row: Index | None, col: Index | None) -> Node:
        """Entry of an O(1) array."""
        value = self.value(tree, row, col)
        if isinstance(value, tuple):
            raise UnsupportedNode(
                f"{self._shown(tree)} is a vector of length {self.big} where a number is needed; elementwise functions "
                "of such vectors are not "
                "functions of few fields; use products such as W*x"
            )
        return value

    def value(self, tree: Tree, row: Index | None, col: Index | None) -> Value:
        """Entry (row, col) of a tree; an axis of length N stays implicit and gives a `Vector`."""
        if isinstance(tree, str):
            return self._symbol(tree, row, col)
        q = as_fraction(tree)
        if q is not None:
            return const(q)
        rule = _RULES.get(tree[0])
        if rule is None:
            raise UnsupportedNode(f"{self._shown(tree)}: {tree[0]} is not treated by online_limit; write the update without it")
        return rule(self, tree, row, col)

    def _symbol(self, name: str, row: Index | None, col: Index | None) -> Value:
        if name in self.sizes:
            return self.sizes[name]
        if name in self.outcome.values:
            return self.value(self.outcome.values[name], row, col)
        if name in self.outcome.columns:
            return kron(i, self.outcome.columns[name]) if (i := row or col) else ONE
        shape = self.lowered.shapes.get(name, ())  # a dimension is a number
        if not any(self.is_big(d) for d in shape):
            return arr(name, *(i for i in (row, col) if i))
        if name not in self.inputs and name not in self.overlaps.families:
            raise UnsupportedNode(
                f"{name} is neither a family of weight vectors nor a Gaussian input; online_limit treats these only"
            )
        own = Part(coefficient=ONE, vector=name, index=row or col)
        mean = self.value(self.means[name], None, None) if name in self.means else ()
        assert isinstance(mean, tuple)
        return (own, *mean)

    def product(self, a: Vector, b: Vector) -> Node:
        """Scalar product of two N-vectors."""
        out = []
        for p in a:
            for q in b:
                body = mul(p.coefficient, q.coefficient, self._pair(p, q))
                for i in (*p.bound, *q.bound):
                    body = sum_over(i, body)
                out.append(body)
        return add(*out)

    def _pair(self, p: Part, q: Part) -> Node:
        n = arr(self.big)
        if p.vector in self.inputs and q.vector in self.inputs:
            if self.products is not None:
                return mul(n, self.products(p, q))
            same = kron(p.index, q.index) if p.index and q.index else ONE  # columns are independent
            if p.vector == q.vector:
                return mul(n, same, self.inputs[p.vector])
            return mul(power(n, Fraction(1, 2)), arr(cross_name(p.vector, q.vector), *(i for i in (p.index, q.index) if i)))
        if p.vector in self.inputs:
            p, q = q, p
        if q.vector in self.inputs:
            return mul(power(n, Fraction(1, 2)), arr(field_name(p.vector, q.vector), *(i for i in (p.index, q.index) if i)))
        return mul(n, self.overlaps.entry(p.vector, p.index, q.vector, q.index))

    def function(self, name: str, argument: Node) -> Node:
        """A function of one number; a user's activation is replaced by its body, powers of N in the argument must cancel."""
        parts = settled(powers_of(argument, self.big, f"the argument of {name}"), Fraction(0), self.inputs)
        number = self.products is not None  # then nothing tends to infinity, and N is a number
        whole = any(parts) and (number or concentrated(parts, Fraction(0), self.inputs))  # lower orders have derivatives
        if any(parts) and not whole:
            worst = max(parts, key=abs)
            raise UnsupportedNode(
                f"the argument of {name} is of order {self.big}^({worst}), so {name} saturates or becomes linear as "
                f"{self.big} grows; "
                f"divide products such as W*x by sqrt({self.big})"
            )
        argument = argument if whole else parts.get(Fraction(0), ZERO)
        known: Function | None = self.lowered.functions.get(name)
        if known is None:
            return power(argument, _NATURAL[name]) if name in _NATURAL else fun(name, argument)
        if not self.is_random(argument):
            return self._body(known.body, known.variable, argument)
        return applied(name, self._body(known.body, known.variable, arr("~")), "~", argument)

    def _body(self, tree: Tree, variable: str, z: Node) -> Node:
        if tree == variable:
            return z
        if isinstance(tree, str):
            return self.scalar(tree)
        if as_fraction(tree) is not None or tree[0] == "pi":
            return self.scalar(tree)
        if tree[0] == "map":
            return self.function(tree[1], self._body(tree[2], variable, z))
        if tree[0] == "pow" and (e := as_fraction(tree[2])) is not None:
            return power(self._body(tree[1], variable, z), e)
        if tree[0] in ("add", "mul"):
            return (add if tree[0] == "add" else mul)(*(self._body(p, variable, z) for p in tree[1:]))
        raise UnsupportedNode(
            f"the body of an activation contains {tree[0]}, which is not treated; use powers and functions of derive.fn"
        )

    def is_random(self, node: Node) -> bool:
        """Whether a node contains a field or a noise."""
        return any("." in n or self.lowered.roles.get(n) == "draw" for n in arrays(node))

    def _shown(self, tree: Tree) -> str:
        from derive.spec.notation import text

        return text(tree)


# ------------------------------------------------------------------------------------------------------------- rules
def _scaled(s: Node, value: Value) -> Value:
    if isinstance(value, tuple):
        return tuple(Part(bound=p.bound, coefficient=mul(s, p.coefficient), vector=p.vector, index=p.index) for p in value)
    return mul(s, value)


def _add(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    values = [r.value(p, row, col) for p in tree[1:]]
    if any(isinstance(v, tuple) for v in values):
        return tuple(p for v in values if isinstance(v, tuple) for p in v)
    return add(*(v for v in values if isinstance(v, Node)))


def _mul(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    *scalars, last = tree[1:]
    return _scaled(mul(*(r.scalar(s) for s in scalars)), r.value(last, row, col))


def _pow(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    e = as_fraction(tree[2])
    if e is None:
        raise UnsupportedNode(f"{r._shown(tree)}: a symbolic exponent is not treated; use a number")
    return power(r.scalar(tree[1]), e)


def _matmul(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    return _chain(r, tuple(tree[1:]), row, col)


def _chain(r: Reader, factors: tuple[Tree, ...], row: Index | None, col: Index | None) -> Value:
    if len(factors) == 1:
        return r.value(factors[0], row, col)
    inner = [r.lowered.shape(f)[1] for f in factors[:-1]]
    cut = next((n for n, d in enumerate(inner) if not r.is_big(d)), None)
    if cut is None:
        if len(factors) > 2:
            raise UnsupportedNode(
                f"{r._shown(factors[1])} has both axes of length {r.big}; only vectors of that length are treated"
            )
        a, b = r.value(factors[0], row, None), r.value(factors[1], None, col)
        if not (isinstance(a, tuple) and isinstance(b, tuple)):
            raise UnsupportedNode(f"{r._shown(('matmul', *factors))}: not a product of weight vectors and inputs")
        return r.product(a, b)
    j = r.label(inner[cut])
    return _summed(j, _chain(r, factors[: cut + 1], row, j), _chain(r, factors[cut + 1 :], j, col), r, factors)


def _summed(j: Index | None, a: Value, b: Value, r: Reader, factors: tuple[Tree, ...]) -> Value:
    if isinstance(a, tuple) and isinstance(b, tuple):
        raise UnsupportedNode(
            f"{r._shown(('matmul', *factors))} has both axes of length {r.big}; only vectors of that length are treated"
        )
    if isinstance(b, tuple):
        a, b = b, a
    assert isinstance(b, Node)
    if isinstance(a, tuple):
        scaled = _scaled(b, a)
        assert isinstance(scaled, tuple)
        if j is None:
            return scaled
        return tuple(Part(bound=(*p.bound, j), coefficient=p.coefficient, vector=p.vector, index=p.index) for p in scaled)
    return mul(a, b) if j is None else sum_over(j, mul(a, b))


def _transpose(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    return r.value(tree[1], col, row)


def _trace(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    inner = tree[1]
    if isinstance(inner, tuple) and inner[0] == "add":
        return add(*(r.scalar(("trace", p)) for p in inner[1:]))
    if isinstance(inner, tuple) and inner[0] == "mul":
        return mul(*(r.scalar(s) for s in inner[1:-1]), r.scalar(("trace", inner[-1])))
    dimension = r.lowered.shape(inner)[0]
    if r.is_big(dimension) and isinstance(inner, tuple) and inner[0] == "matmul":
        factors = inner[1:]
        cut = next((n for n in range(1, len(factors)) if not r.is_big(r.lowered.shape(factors[n])[0])), None)
        if cut is not None:
            return r.scalar(("trace", ("matmul", *factors[cut:], *factors[:cut])))
    if r.is_big(dimension):
        raise UnsupportedNode(
            f"{r._shown(tree)}: the trace of a matrix with two axes of length {r.big}; write it with dot(...)"
        )
    j = r.label(dimension)
    body = r.node(inner, j, j)
    return body if j is None else sum_over(j, body)


def _had(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    return mul(*(r.node(p, row, col) for p in tree[1:]))


def _map(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    return r.function(tree[1], r.node(tree[2], row, col))


def _constant(value: Node) -> Callable[[Reader, Tree, Index | None, Index | None], Value]:
    def rule(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
        if any(r.is_big(d) for d in tree[1:]):
            raise UnsupportedNode(
                f"{r._shown(tree)}: a fixed vector of length {r.big}; declare it as a given family and pass its overlaps"
            )
        return value

    return rule


def _eye(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    if r.is_big(tree[1]):
        raise UnsupportedNode(
            f"{r._shown(tree)}: a matrix with two axes of length {r.big}; only vectors of that length are treated"
        )
    return kron(row, col) if row and col else ONE


def _diag(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    return mul(kron(row, col) if row and col else ONE, r.node(tree[1], row, None))


def _mean(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    if r.mixture is not None:
        return r.mixture(lambda one: leading(alike(one, r).node(tree[1], row, col), r.big, r.inputs))
    return r.average(leading(r.node(tree[1], row, col), r.big, r.inputs))


def _delta(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    a, b = r.scalar(tree[1]), r.scalar(tree[2])
    if a.op == b.op == "const" or a == b:
        return ONE if a == b else ZERO
    if r.is_random(a) or r.is_random(b):
        return fun("is_zero", add(a, mul(const(-1), b)))
    raise UnsupportedNode(
        f"{r._shown(tree)}: the two sides are no numbers; compare a label or a given switch with numbers, "
        "case(task, {1: ..., 2: ...})"
    )


def _stop(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    return fun("stop", r.node(tree[1], row, col))


def _grad(r: Reader, tree: Tree, row: Index | None, col: Index | None) -> Value:
    loss, w = r.scalar(tree[1]), tree[2]
    here = tuple(i for i in (row, col) if i)

    def by(name: str, *labels: Index, twice: bool = False) -> Node:
        def leaf(a: Node) -> Node:
            if a.args[0] != name:
                return ZERO
            found = a.args[1]
            first = mul(*(kron(i, j) for i, j in zip(found, labels, strict=True)))
            return add(first, mul(*(kron(i, j) for i, j in zip(reversed(found), labels, strict=True)))) if twice else first

        return differentiate(loss, leaf)

    if w not in r.overlaps.families:
        return by(w, *here)
    k = row or col
    n = arr(r.big)
    out = []
    for x in sorted(r.inputs):
        t = r.label(r.lowered.shapes[x][1])  # the step of an episode
        slope = by(field_name(w, x), *(i for i in (k, t) if i))
        out.append(Part(bound=(t,) if t else (), coefficient=mul(power(n, Fraction(-1, 2)), slope), vector=x, index=t))
    for other, size in r.overlaps.families.items():
        if not r.overlaps.together(w, other):
            continue
        j = r.label(size)
        name, swapped = r.overlaps.name(w, other)
        labels = [i for i in ((j, k) if swapped else (k, j)) if i]
        d = by(name, *labels, twice=other == w and bool(k)) if other != w or k else mul(const(2), by(name))
        out.append(Part(bound=(j,) if j else (), coefficient=mul(power(n, -1), d), vector=other, index=j))
    return tuple(p for p in out if p.coefficient != ZERO)


_RULES: Mapping[str, Callable[[Reader, Tree, Index | None, Index | None], Value]] = {
    "add": _add, "mul": _mul, "pow": _pow, "matmul": _matmul, "T": _transpose, "trace": _trace, "had": _had, "map": _map,
    "eye": _eye, "ones": _constant(ONE), "zeros": _constant(ZERO), "diag": _diag, "grad": _grad, "mean": _mean, "stop": _stop,
    "delta": _delta, "pi": lambda r, tree, row, col: PI,
}  # fmt: skip
