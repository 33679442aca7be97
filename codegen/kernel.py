"""Kernels: emitted modules, loaded, with the flat view that integrators need.

compile:  system -> Program -> source -> file in the cache -> module -> `Kernel`. The flat right-hand side is
f(t, y) = pack(rhs(t, *unpack(y), *args)). Imported by numerics and by users.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from codegen import cache
from codegen.backends import backend as find_backend
from codegen.build import Built, build
from codegen.layout import Array, Layout, by_name, check_shape
from codegen.program import Program
from codegen.source import source
from codegen.vectorise import vectorise
from derive.errors import InvalidSpec, ShapeMismatch
from derive.flows.switches import Jump, jumps, smooth_branch
from derive.online.vanishing import Vanishing, vanishing
from derive.recursions.discrete import Recursion
from derive.system import Block, Flow, Reduction, flow_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A compiled system.

    Attributes
    ----------
    name : str
        Name of the system.
    source : str
        Text of the emitted module.
    path : Path
        File of the emitted module.
    digest : str
        SHA-256 of source, backend and versions.
    backend : str
    states, parameters : tuple of Block
        In the order of the arguments.
    observable_names : tuple of str
    rhs : callable
        ``rhs(t, *states, *parameters) -> tuple`` of time derivatives, on arrays.
    observables : callable
        The same arguments; a tuple in the order of ``observable_names``.
    jumps : tuple of Jump
        Jumps of the right-hand side at zeros of the state (`derive.flows.switches`).
    branch : Kernel or None
        The same system with these jumps held as parameters, if there are any.
    discrete : bool
        ``rhs`` gives the values after one step, not time derivatives: `numerics.iterate` follows it.
    vanishing : tuple of Vanishing
        Families of vectors at whose zeros the right-hand side is singular (`derive.online.vanishing`).
    """

    name: str
    source: str
    path: Path
    digest: str
    backend: str
    states: tuple[Block, ...]
    parameters: tuple[Block, ...]
    observable_names: tuple[str, ...]
    rhs: Callable[..., tuple[Any, ...]]
    observables: Callable[..., tuple[Any, ...]]
    jumps: tuple[Jump, ...] = ()
    branch: Kernel | None = None
    discrete: bool = False
    vanishing: tuple[Vanishing, ...] = ()

    def layout(self, values: Mapping[Any, Any]) -> Layout:
        """Layout of a flat state, from state arrays by symbol or name (parameters among them are checked too).

        Raises
        ------
        InvalidSpec
            If a state is missing or a name is unknown.
        ShapeMismatch
            If a shape does not fit, naming symbol, axis and both sizes.
        """
        return Layout.of(self.states, values, self.parameters, dtype="object" if self.backend == "mpmath" else "float64")

    def arguments(self, params: Mapping[Any, Any]) -> tuple[Any, ...]:
        """Parameters in the order of the emitted functions: numbers, and C-contiguous float64 arrays (copies).

        Raises
        ------
        InvalidSpec
            If a parameter is missing, unknown, no real number, or NaN.
        ShapeMismatch
            If shapes do not fit each other.
        """
        named = by_name(params, [b.name for b in self.parameters], "parameter")
        missing = [b.name for b in self.parameters if b.name not in named]
        if missing:
            known = ", ".join(b.name for b in self.parameters)
            raise InvalidSpec(f"no value for parameter {', '.join(missing)}; this system needs {known}")
        sizes: dict[str, tuple[int, str]] = {}
        out = []
        for b in self.parameters:
            value = self._converted(b, named[b.name])
            if b.shape:
                check_shape(b, value, sizes)
            out.append(value)
        return tuple(out)

    def _converted(self, b: Block, value: Any) -> Any:
        if self.backend == "mpmath":
            return _exact(b, value)
        try:
            array = np.array(value, dtype=np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise InvalidSpec(
                f"parameter {b.name}: {type(value).__name__} is not made of real numbers; give an array of floats"
            ) from error
        bad = np.argwhere(np.isnan(array))
        if len(bad):
            at = f"[{', '.join(str(n) for n in bad[0])}]" if array.ndim else ""
            raise InvalidSpec(f"parameter {b.name}{at} is NaN; give a number")
        if not b.shape and array.ndim:
            raise ShapeMismatch(
                f"parameter {b.name} is a number, but an array of shape {array.shape} was given; give one number"
            )
        return array if b.shape else float(array)

    def flat_rhs(self, layout: Layout, args: tuple[Any, ...]) -> Callable[[float, Array], Array]:
        """f(t, y) on flat vectors, for integrators; each call returns a new array.

        Raises
        ------
        ShapeMismatch
            If the sizes of layout and parameters differ.
        """
        self._check(layout, args)
        return _flat(self.rhs, layout, args)

    def flat_observables(self, layout: Layout, args: tuple[Any, ...]) -> Callable[[float, Array], dict[str, Any]]:
        """g(t, y): observables by name."""
        self._check(layout, args)
        names, observe, unpack = self.observable_names, self.observables, _unpacker(layout)

        def call(t: float, y: Array) -> dict[str, Any]:
            return dict(zip(names, observe(t, *unpack(y), *args), strict=True))

        return call

    def _check(self, layout: Layout, args: tuple[Any, ...]) -> None:
        if len(args) != len(self.parameters):
            raise InvalidSpec(
                f"{len(args)} arguments for {len(self.parameters)} parameters; make them with kernel.arguments(params)"
            )
        sizes = {n: (v, "the state") for n, v in layout.sizes}
        for b, value in zip(self.parameters, args, strict=True):
            if b.shape:
                check_shape(b, value, sizes)
            elif b.name in sizes and float(value) != sizes[b.name][0]:
                raise ShapeMismatch(f"{b.name} = {value}, but the state has {b.name} = {sizes[b.name][0]}; make them equal")


def _exact(b: Block, value: Any) -> Any:
    """Parameter as mpf, or object array of mpf."""
    import mpmath

    array = np.asarray(value, dtype=object)
    out = np.empty(array.shape, dtype=object)
    for place in np.ndindex(array.shape):
        out[place] = mpmath.mpf(array[place])
        if mpmath.isnan(out[place]):
            raise InvalidSpec(f"parameter {b.name}{list(place) if place else ''} is NaN; give a number")
    return out if b.shape else out[()]


def _unpacker(layout: Layout) -> Callable[[Array], list[Any]]:
    parts = [(slice(o, o + max(1, int(np.prod(s)))), o, s) for o, s in zip(layout.offsets, layout.shapes, strict=True)]

    def unpack(y: Array) -> list[Any]:
        return [y[where].reshape(shape) if shape else y[start] for where, start, shape in parts]

    return unpack


def _flat(rhs: Callable[..., tuple[Any, ...]], layout: Layout, args: tuple[Any, ...]) -> Callable[[float, Array], Array]:
    unpack, size, dtype = _unpacker(layout), layout.size, layout.dtype
    slices = [slice(o, o + int(np.prod(s))) for o, s in zip(layout.offsets, layout.shapes, strict=True)]

    def call(t: float, y: Array) -> Array:
        y = np.ascontiguousarray(y, dtype=dtype)
        out = np.empty(size, dtype=dtype)
        for where, value in zip(slices, rhs(t, *unpack(y), *args), strict=True):
            out[where] = value.ravel() if hasattr(value, "ravel") else value
        return out

    return call


def _shaped(program: Program, backend: str) -> Program:
    return vectorise(program) if backend == "numpy" else program


def _equations(verb: str, system: Flow | Reduction | Recursion) -> tuple[Flow, bool]:
    """The equations to emit, and whether they are steps instead of rates."""
    return (system.carrier, True) if isinstance(system, Recursion) else (flow_of(verb, system), False)


def compile(system: Flow | Reduction | Recursion, backend: str = "numba") -> Kernel:
    """Compile a system to a kernel: one kernel for all sizes.

    Raises
    ------
    InvalidSpec
        If a symbol of the equations is neither state nor parameter.
    UnsupportedNode
        If an expression has no rule for emission.

    >>> from derive.indices.indexed import Index, arr
    >>> i = Index("i", "r")
    >>> u, s = arr("u", i), arr("s", i)
    >>> blocks = (Block(name="u", shape=("r",), indices=(i,)),), (Block(name="s", shape=("r",)),)
    >>> kernel = compile(Flow(name="mode", state=blocks[0], rhs={"u": 2 * u * (s - u)}, parameters=blocks[1]), backend="numpy")
    >>> kernel.rhs(0.0, np.array([0.5, 1.0]), np.array([1.0, 2.0]))
    (array([0.5, 2. ]),)
    """
    (flow, discrete), target = _equations("compile", system), find_backend(backend)
    built, found = build(flow, discrete=discrete), () if discrete else jumps(flow)
    text = source(_shaped(built.program, backend), target)
    key = cache.digest(text, backend)
    where = cache.directory()
    try:
        path, module = _load(text, key, where, built, backend)
    except OSError as error:  # a full disk, or a directory that changed under us
        path, module = _load(text, key, cache.private(str(error)), built, backend)
    return Kernel(
        name=flow.name,
        source=text,
        path=path,
        digest=key,
        backend=backend,
        states=built.states,
        parameters=built.parameters,
        observable_names=built.observables,
        rhs=module.rhs,
        observables=module.observables,
        jumps=found,
        branch=compile(smooth_branch(flow, found), backend) if found else None,
        vanishing=vanishing(flow),
        discrete=discrete,
    )


def emit(system: Flow | Reduction | Recursion, path: str | os.PathLike[str], backend: str = "numpy") -> Path:
    """Write the module of a system to a file; it runs without this project.

    Raises
    ------
    InvalidSpec, UnsupportedNode
        As `compile`.
    """
    out = Path(path)
    flow, discrete = _equations("source", system)
    text = source(_shaped(build(flow, discrete=discrete).program, backend), find_backend(backend))
    if not out.parent.is_dir():
        raise InvalidSpec(f"{out}: the directory {out.parent} does not exist; make it first")
    cache.write(out, text)
    return out


def _load(text: str, key: str, where: Path, built: Built, backend: str) -> tuple[Path, ModuleType]:
    path = cache.store(text, key, where)
    name = f"_gradientflow_{key[:24]}"
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return path, loaded
    trusted = cache.verify(path)
    module = _execute(path, name)
    if backend == "numba":
        try:
            _compile_numba(module, built)
        except OSError:
            raise
        except Exception:
            if not trusted:
                raise
            cache.purge(path)
            module = _execute(path, name)
            _compile_numba(module, built)
            trusted = False
    if not trusted:
        cache.record(path)
    return path, module


def _execute(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: Numba's cache looks the module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _compile_numba(module: ModuleType, built: Built) -> None:
    """Compile for the one signature that kernels are called with (or load it from Numba's cache)."""
    import numba

    rhs = built.program.procedures[0]
    kinds = [numba.float64 if a.ndim == 0 else numba.types.Array(numba.float64, a.ndim, "C") for a in rhs.arguments]
    for procedure in built.program.procedures:
        getattr(module, procedure.name).compile(tuple(kinds))
