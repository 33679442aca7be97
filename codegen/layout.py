"""Layouts: the only place where states are flat vectors.

A `Layout` holds name, shape and offset of every state block;  y = (block_1, block_2, ...), each in C order. Sizes are read off
the arrays and checked against the symbolic shapes. Imported by codegen and, through `Kernel`, by numerics.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from derive.errors import InvalidSpec, ShapeMismatch
from derive.spec.tree import Tree
from derive.system import Block

Array: TypeAlias = npt.NDArray[Any]


def name_of(key: Any) -> str:
    """Name of a symbol given as SymPy symbol or as text."""
    return key if isinstance(key, str) else str(getattr(key, "name", key))


def by_name(values: Mapping[Any, Any], known: Iterable[str], what: str) -> dict[str, Any]:
    """The mapping with names as keys.

    Raises
    ------
    InvalidSpec
        If a key is not among the known names; the nearest one is proposed.
    """
    names = list(known)
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = name_of(key)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known names: {', '.join(names) or 'none'}"
            raise InvalidSpec(f"{name!r} is no {what} of this system; {hint}")
        out[name] = value
    return out


def check_shape(block: Block, value: Array, sizes: dict[str, tuple[int, str]]) -> None:
    """Bind the sizes in a block's shape to those of an array, or compare them with what is bound.

    Raises
    ------
    ShapeMismatch
        Naming the symbol, the axis and both sizes.
    """
    shown = f"({', '.join(_shown(s) for s in block.shape)})"
    if value.ndim != len(block.shape):
        remedy = "write x[:, None] for a column" if len(block.shape) == 2 and value.ndim == 1 else "reshape it"
        want = "a number" if not block.shape else f"an array of shape {shown}"
        raise ShapeMismatch(f"{block.name}: expected {want}, got an array of shape {value.shape}; {remedy}")
    for axis, (size, found) in enumerate(zip(block.shape, value.shape, strict=True)):
        value_of, why = _size(size, sizes)
        if value_of is None:
            sizes[size] = (found, f"axis {axis} of {block.name}")
        elif value_of != found:
            raise ShapeMismatch(
                f"{block.name}: axis {axis} is {_shown(size)} = {value_of} ({why}), but the array has shape {value.shape}, "
                f"so {found} there; give an array of shape {shown}"
            )


def _shown(size: Tree) -> str:
    return str(size) if not isinstance(size, tuple) else f"{size[0]}({', '.join(_shown(s) for s in size[1:])})"


def _size(size: Tree, sizes: Mapping[str, tuple[int, str]]) -> tuple[int | None, str]:
    """Value of a size, if it is known, and why."""
    if isinstance(size, int):
        return size, "by declaration"
    if isinstance(size, str):
        return sizes.get(size, (None, ""))
    parts = [_size(s, sizes)[0] for s in size[1:]]
    known = [p for p in parts if p is not None]
    if len(known) < len(parts) or size[0] not in ("add", "mul"):
        raise ShapeMismatch(f"size {_shown(size)}: it cannot be read off the arrays; give that dimension a name of its own")
    return (sum(known) if size[0] == "add" else prod(known)), f"by {_shown(size)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names, shapes and offsets of the blocks of a flat state vector.

    Attributes
    ----------
    names : tuple of str
    shapes : tuple of shapes, one per name
    offsets : tuple of int
    size : int
        Length of the flat vector.
    sizes : tuple of (dimension name, value)

    >>> layout = Layout.of((Block(name="W", shape=("K", "N")), Block(name="b")), {"W": np.ones((2, 3)), "b": 0.5})
    >>> layout.size, layout.pack({"W": np.zeros((2, 3)), "b": 7.0})[-1], layout.unpack(np.arange(7.0))["b"]
    (7, np.float64(7.0), np.float64(6.0))
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    offsets: tuple[int, ...]
    size: int
    sizes: tuple[tuple[str, int], ...] = ()
    dtype: str = "float64"

    @classmethod
    def of(
        cls, state: tuple[Block, ...], values: Mapping[Any, Any], parameters: tuple[Block, ...] = (), dtype: str = "float64"
    ) -> Layout:
        """The layout of state arrays; parameters among the values take part in the check of sizes.

        Raises
        ------
        InvalidSpec
            If a state is missing, or a name is unknown.
        ShapeMismatch
            If a shape does not fit.
        """
        named = by_name(values, [b.name for b in (*state, *parameters)], "state or parameter")
        missing = [b.name for b in state if b.name not in named]
        if missing:
            raise InvalidSpec(
                f"no initial value for {', '.join(missing)}; give one array for each of {', '.join(b.name for b in state)}"
            )
        sizes: dict[str, tuple[int, str]] = {}
        arrays = {b.name: np.asarray(named[b.name]) for b in (*state, *parameters) if b.name in named}
        blocks = [b for b in (*state, *parameters) if b.name in arrays]
        for b in sorted(blocks, key=lambda b: any(isinstance(s, tuple) for s in b.shape)):  # named axes first
            check_shape(b, arrays[b.name], sizes)
        shapes = tuple(arrays[b.name].shape for b in state)
        ends = np.cumsum([0, *(prod(s) for s in shapes)])
        return cls(
            names=tuple(b.name for b in state),
            shapes=shapes,
            offsets=tuple(int(e) for e in ends[:-1]),
            size=int(ends[-1]),
            sizes=tuple((n, v) for n, (v, _) in sizes.items()),
            dtype=dtype,
        )

    def pack(self, values: Mapping[Any, Any]) -> Array:
        """Flat vector of length ``size`` from arrays by name.

        Raises
        ------
        InvalidSpec, ShapeMismatch
            If a state is missing or unknown, or has another shape than the layout.
        """
        named = by_name(values, self.names, "state")
        missing = [n for n in self.names if n not in named]
        if missing:
            raise InvalidSpec(f"no value for {', '.join(missing)}; give one array for each of {', '.join(self.names)}")
        out = np.empty(self.size, dtype=self.dtype)
        for name, shape, start in zip(self.names, self.shapes, self.offsets, strict=True):
            value = np.asarray(named[name])
            if value.shape != shape:
                raise ShapeMismatch(
                    f"{name}: the layout has shape {shape}, the array has shape {value.shape}; make a new layout"
                )
            out[start : start + prod(shape)] = value.ravel()
        return out

    def unpack(self, y: Array) -> dict[str, Any]:
        """Arrays by name: views of ``y`` (a number for a scalar). Leading axes of y, such as time, stay in front.

        Raises
        ------
        ShapeMismatch
            If the last axis of ``y`` is not ``size`` long.
        """
        y = np.asarray(y)
        if y.shape[-1:] != (self.size,):
            raise ShapeMismatch(f"flat state of shape {y.shape}: the last axis must have length {self.size}")
        out: dict[str, Any] = {}
        for name, shape, start in zip(self.names, self.shapes, self.offsets, strict=True):
            part = y[..., start : start + prod(shape)]
            out[name] = part.reshape(*y.shape[:-1], *shape) if shape else part[..., 0][()]
        return out
