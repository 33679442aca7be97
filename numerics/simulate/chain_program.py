r"""Expressions of a chain plan as a register program: straight-line code over numbers, for given sizes.

The expressions are written out over the values of their labels (sums become additions, Kronecker deltas 0 or 1), equal
sub-expressions share a register, and whatever depends on given numbers only is computed once, here. What is left is a list of
rows

    (operation, out, a, b):     r[out] <- operation(r[a], r[b])

that `chain_loop` runs once per step and `evaluate` runs on whole arrays. Derivatives of built-in functions are written out in
elementary functions: erf2' = sqrt(2/pi) exp(-z^2/2), tanh' = 1 - tanh^2, and so on. Imported by the chain only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import NotSimulable, PlanError

Array = NDArray[np.float64]
#: Of an input: ("field", row, column), ("product", column, column), ("noise", i), ("gram", p, q), ("state", i), ("control", i).
Key = tuple[Any, ...]
Labels = Mapping[tuple[str, str], int]

#: Operations by number; `chain_loop` spells out the same list.
OPERATIONS = (
    "add", "mul", "pow", "inv", "sqrt", "exp", "log", "erf", "tanh", "relu", "step", "sgn", "abs", "sin", "cos", "asin",
    "is_zero",
)  # fmt: skip
#: Most operations of one step; more means that the sizes are not those of order parameters.
MOST_OPERATIONS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Straight-line code.

    Attributes
    ----------
    start : array, shape (R,)
        Registers before the first operation: constants in their places, zero elsewhere.
    inputs : mapping Key -> int
        Registers to be filled before a run.
    code : array of int, shape (n, 4)
        Operation, out, a, b.
    outputs : tuple of int
        Registers of the results.
    """

    start: Array
    inputs: Mapping[Key, int]
    code: NDArray[np.int64]
    outputs: tuple[int, ...]


def evaluate(program: Program, inputs: Mapping[Key, Any]) -> list[Array]:
    """Run a program on arrays that broadcast together; returns its outputs.

    >>> square = Writer(lambda leaf, labels: 3.0)
    >>> program = square.finish([square.write(["pow", ["arr", "a", []], 2, 1], {})])
    >>> [float(x) for x in evaluate(program, {})]
    [9.0]
    """
    registers: list[Any] = list(program.start)
    for key, register in program.inputs.items():
        registers[register] = np.asarray(inputs[key], dtype=np.float64)
    with np.errstate(all="ignore"):
        for op, out, a, b in program.code.tolist():
            registers[out] = apply(OPERATIONS[op], registers[a], registers[b])
    return [np.asarray(registers[out], dtype=np.float64) for out in program.outputs]


def apply(operation: str, a: Any, b: Any) -> Any:
    """One operation on arrays or numbers; those of one argument ignore ``b``."""
    return _NUMPY[operation](a, b)


def _erf(a: Any, b: Any) -> Any:
    from scipy.special import erf

    return erf(a)


_NUMPY: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "pow": lambda a, b: np.power(a, b),
    "inv": lambda a, b: np.divide(1.0, a),
    "sqrt": lambda a, b: np.sqrt(a),
    "exp": lambda a, b: np.exp(a),
    "log": lambda a, b: np.log(a),
    "erf": _erf,
    "tanh": lambda a, b: np.tanh(a),
    "relu": lambda a, b: np.maximum(a, 0.0),
    "step": lambda a, b: np.heaviside(a, 0.5),
    "sgn": lambda a, b: np.sign(a),
    "abs": lambda a, b: np.abs(a),
    "sin": lambda a, b: np.sin(a),
    "cos": lambda a, b: np.cos(a),
    "asin": lambda a, b: np.arcsin(np.clip(a, -1.0, 1.0)),  # overlaps that saturate leave [-1, 1] by rounding
    "is_zero": lambda a, b: np.equal(a, 0.0) * 1.0,
}


@dataclass(slots=True, kw_only=False)
class Writer:
    """Writes expressions into one program; ``leaf(expression, labels)`` gives the number or the input of a leaf.

    A leaf is an ``arr``, ``field`` or ``product`` node; a float is a constant, a Key an input.
    """

    leaf: Callable[[list[Any], Labels], float | Key]
    constants: dict[int, float] = field(default_factory=dict)
    inputs: dict[Key, int] = field(default_factory=dict)
    code: list[tuple[int, int, int, int]] = field(default_factory=list)
    known: dict[Any, int] = field(default_factory=dict)
    count: int = 0

    def finish(self, outputs: list[int]) -> Program:
        """The program whose results are these registers."""
        start = np.zeros(max(1, self.count))
        for register, value in self.constants.items():
            start[register] = value
        code = np.array(self.code, dtype=np.int64).reshape(-1, 4)
        return Program(start=start, inputs=dict(self.inputs), code=code, outputs=tuple(outputs))

    def constant(self, value: float) -> int:
        """Register of a number."""
        key = ("const", float(value))
        if key not in self.known:
            self.known[key] = self._new()
            self.constants[self.known[key]] = float(value)
        return self.known[key]

    def input(self, key: Key) -> int:
        """Register of an input."""
        if key not in self.inputs:
            self.inputs[key] = self._new()
        return self.inputs[key]

    def operate(self, name: str, a: int, b: int | None = None) -> int:
        """Register of ``name(a, b)``; computed now if both are constants, shared if it is there already."""
        second = a if b is None else b
        if name in ("add", "mul") and second < a:
            a, second = second, a
        if name in ("add", "mul"):
            unit = 0.0 if name == "add" else 1.0
            for one, other in ((a, second), (second, a)):
                if self.constants.get(one) == unit:
                    return other
                if name == "mul" and self.constants.get(one) == 0.0:
                    return one
        if a in self.constants and second in self.constants:
            with np.errstate(all="ignore"):
                value = float(apply(name, self.constants[a], self.constants[second]))
            if not math.isfinite(value):
                raise NotSimulable(f"{name} of the given number {self.constants[a]:g} is not finite. Pass other values.")
            return self.constant(value)
        key = (name, a, second)
        if key not in self.known:
            if len(self.code) >= MOST_OPERATIONS:
                raise NotSimulable(
                    f"one step takes more than {MOST_OPERATIONS} operations: the families are too large for a chain of "
                    "overlaps. Simulate the plan with its weights, or use fewer vectors."
                )
            self.known[key] = self._new()
            self.code.append((OPERATIONS.index(name), self.known[key], a, second))
        return self.known[key]

    def write(self, tree: list[Any], labels: Labels) -> int:
        """Register of an expression at given values of its labels."""
        head = tree[0]
        if head == "const":
            return self.constant(tree[1] / tree[2])
        if head == "pi":
            return self.constant(math.pi)
        if head in ("arr", "field", "product"):
            found = self.leaf(tree, labels)
            return self.input(found) if isinstance(found, tuple) else self.constant(found)
        if head == "kron":
            i, j = (labels[name, family] for name, family in tree[1:])
            return self.constant(1.0 if i == j else 0.0)
        if head == "pow":
            return self._power(self.write(tree[1], labels), tree[2], tree[3])
        if head == "sum":
            name, family = tree[1]
            size = self.leaf(["arr", family, []], {})
            assert isinstance(size, float)
            terms = [self.write(tree[2], {**labels, (name, family): n}) for n in range(int(size))]
            return self._fold("add", terms)
        if head in ("add", "mul"):
            return self._fold(head, [self.write(a, labels) for a in tree[1:]])
        if head == "fun":
            return self._function(tree[1], [self.write(a, labels) for a in tree[2:]])
        raise PlanError(f"the expression {head!r} is unknown. Write the plan with `derive.chain_plan.exact_chain`.")

    def _new(self) -> int:
        self.count += 1
        return self.count - 1

    def _fold(self, name: str, parts: list[int]) -> int:
        """Sum or product; constants first, so that they meet each other."""
        parts = sorted(parts, key=lambda r: r not in self.constants)
        out = self.constant(0.0 if name == "add" else 1.0)
        for part in parts:
            out = self.operate(name, out, part)
        return out

    def _power(self, base: int, p: int, q: int) -> int:
        if p < 0:
            return self.operate("inv", self._power(base, -p, q))
        if q == 2 and p % 2:
            return self._power(self.operate("sqrt", base), p, 1)
        if q != 1:
            return self.operate("pow", base, self.constant(p / q))
        if p > 16:  # beyond this, repeated products lose to one call
            return self.operate("pow", base, self.constant(p))
        out = self.constant(1.0)
        for _ in range(p):
            out = self.operate("mul", out, base)
        return out

    def _function(self, name: str, arguments: list[int]) -> int:
        if name == "angle" and len(arguments) == 3:  # asin of a cosine
            cosine = self._fold("mul", [arguments[0], *(self._power(a, -1, 2) for a in arguments[1:])])
            return self.operate("asin", cosine)
        base = name.rstrip("'")
        order = len(name) - len(base)
        if len(arguments) != 1 or (base, order) not in _FUNCTIONS:
            raise NotSimulable(
                f"the function {name} is not known to the chain, or is a delta function. It knows "
                f"{', '.join(f + chr(39) * n for f, n in _FUNCTIONS)}. Write the activation with these."
            )
        return _FUNCTIONS[base, order](self, arguments[0])


def _plain(name: str) -> Callable[[Writer, int], int]:
    return lambda w, z: w.operate(name, z)


def _times(w: Writer, factor: float, *parts: int) -> int:
    return w._fold("mul", [w.constant(factor), *parts])


def _bell(w: Writer, z: int) -> int:
    """sqrt(2/pi) exp(-z^2/2), the derivative of erf2."""
    return _times(w, math.sqrt(2 / math.pi), w.operate("exp", _times(w, -0.5, w.operate("mul", z, z))))


def _tanh_slope(w: Writer, z: int) -> int:
    y = w.operate("tanh", z)
    return w.operate("add", w.constant(1.0), _times(w, -1.0, w.operate("mul", y, y)))


#: (name, order of the derivative) -> what it is made of.
_FUNCTIONS: Mapping[tuple[str, int], Callable[[Writer, int], int]] = {
    ("erf2", 0): lambda w, z: w.operate("erf", _times(w, math.sqrt(0.5), z)),
    ("erf2", 1): _bell,
    ("erf2", 2): lambda w, z: _times(w, -1.0, z, _bell(w, z)),
    ("tanh", 0): _plain("tanh"),
    ("tanh", 1): _tanh_slope,
    ("tanh", 2): lambda w, z: _times(w, -2.0, w.operate("tanh", z), _tanh_slope(w, z)),
    ("relu", 0): _plain("relu"),
    ("relu", 1): _plain("step"),
    ("step", 0): _plain("step"),
    ("sgn", 0): _plain("sgn"),
    ("abs", 0): _plain("abs"),
    ("abs", 1): _plain("sgn"),
    ("exp", 0): _plain("exp"),
    ("log", 0): _plain("log"),
    ("log", 1): _plain("inv"),
    ("is_zero", 0): _plain("is_zero"),
    ("erf", 0): _plain("erf"),
    ("asin", 0): _plain("asin"),
    ("sin", 0): _plain("sin"),
    ("sin", 1): _plain("cos"),
    ("sin", 2): lambda w, z: _times(w, -1.0, w.operate("sin", z)),
    ("cos", 0): _plain("cos"),
    ("cos", 1): lambda w, z: _times(w, -1.0, w.operate("sin", z)),
    ("cos", 2): lambda w, z: _times(w, -1.0, w.operate("cos", z)),
}
