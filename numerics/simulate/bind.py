"""Arrays for a plan: sizes are read off the arrays, every shape is checked, facts are tested.

Scalars become 0-d arrays, vectors of dimension K become (K, 1). A state may carry a leading replica axis.
Imported by the engine; imports NumPy and the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BindingError
from .plan import Plan, Shape
from .trees import dimension

Array = NDArray[np.float64]


def sizes_of(plan: Plan, values: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of the dimensions, read off the arrays and off integers given in ``values``.

    Raises
    ------
    BindingError
        Two arrays disagree on a dimension.
    """
    sizes: dict[str, int] = {}
    origin: dict[str, str] = {}

    def note(name: str, size: int, source: str) -> None:
        if sizes.setdefault(name, size) != size:
            raise BindingError(
                f"dimension {name} is {sizes[name]} in {origin[name]} but {size} in {source}. Make the arrays agree in {name}."
            )
        origin.setdefault(name, source)

    for name in _dimension_names(plan):
        if name in values:
            note(name, int(values[name]), "values")
    for section, arrays in ((plan.state, state), (plan.given, values), (plan.moments, values)):
        for name, shape in section.items():
            if name not in arrays or not shape:
                continue
            actual = _matrix_shape(np.shape(arrays[name]), shape, name)
            for tree, size in zip(shape, actual, strict=True):
                if isinstance(tree, str):
                    note(tree, size, name)
    return sizes


def bind_values(
    plan: Plan, values: Mapping[str, Any], sizes: Mapping[str, int], *, moving: tuple[str, ...] = ()
) -> dict[str, Array]:
    """Arrays of the given symbols (and of the named moments that are present), shapes checked; ``moving`` ones are not here."""
    declared = {**plan.given, **plan.moments}
    allowed = {*declared, *_dimension_names(plan)}
    for name in (*values, *moving):
        if name not in allowed:
            raise BindingError(f"value {name} is not declared in the plan; it declares {', '.join(sorted(allowed))}.")
    missing = [name for name in plan.given if name not in values and name not in sizes and name not in moving]
    if missing:
        raise BindingError(f"no value for {', '.join(missing)}. Pass values={{{missing[0]!r}: ...}}.")
    return {name: _fit(values[name], declared[name], sizes, name) for name in declared if name in values}


def control_value(plan: Plan, name: str, control: Callable[[float], Any], t: float, sizes: Mapping[str, int]) -> Array:
    """Value of a given symbol that is a function of time, with its shape checked.

    Raises
    ------
    BindingError
        The function returns another shape, or no finite numbers.
    """
    shape = {**plan.given, **plan.moments}.get(name)
    if shape is None:
        raise BindingError(f"value {name} is not declared in the plan; it declares {', '.join((*plan.given, *plan.moments))}.")
    return _fit(control(t), shape, sizes, f"{name} at t = {t:g}")


def bind_state(plan: Plan, state: Mapping[str, Any], sizes: Mapping[str, int], replicas: int) -> dict[str, Array]:
    """Initial state of shape (replicas, ...): one start for all replicas, or one each along a leading axis."""
    for name in state:
        if name not in plan.state:
            raise BindingError(f"{name} is no state of the plan; the state is {', '.join(plan.state)}.")
    missing = [name for name in plan.state if name not in state]
    if missing:
        raise BindingError(f"no initial value for {', '.join(missing)}. Pass state={{{missing[0]!r}: ...}}.")
    bound = {}
    for name, shape in plan.state.items():
        array = np.asarray(state[name], dtype=np.float64)
        if array.ndim == len(shape) + 1 and array.shape[0] == replicas:
            bound[name] = np.stack([_fit(part, shape, sizes, name) for part in array])
        else:
            bound[name] = np.repeat(_fit(array, shape, sizes, name)[None], replicas, axis=0)
    return bound


def _dimension_names(plan: Plan) -> tuple[str, ...]:
    """Names that occur in a declared shape, or under 'dims'; scalars of 'given' that serve as sizes are among them."""
    found = dict.fromkeys(plan.dims)
    laws = tuple(shape for law in plan.draws for shape in law.shapes)
    for shape in (*plan.state.values(), *plan.given.values(), *plan.moments.values(), *laws):
        found.update(dict.fromkeys(tree for tree in shape if isinstance(tree, str)))
    return tuple(found)


def _matrix_shape(actual: tuple[int, ...], shape: Shape, name: str) -> tuple[int, int]:
    if len(actual) == 1 and shape[1] == 1:
        return (actual[0], 1)
    if len(actual) == 3 and shape:
        actual = actual[1:]
    if len(actual) != 2:
        raise BindingError(f"{name} has {len(actual)} axes; the plan declares {_text(shape)}. Reshape it.")
    return (actual[0], actual[1])


def _fit(value: Any, shape: Shape, sizes: Mapping[str, int], name: str) -> Array:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise BindingError(
            f"{name} is {type(value).__name__}, not made of numbers. Pass an array, or a function of time."
        ) from None
    target = tuple(dimension(tree, sizes) for tree in shape)
    if array.ndim == 1 and len(shape) == 2 and shape[1] == 1:
        array = array[:, None]
    if array.shape != target and not shape:
        raise BindingError(
            f"{name} has shape {array.shape}; the plan declares one number. Pass one, or a function of t for a course in time."
        )
    if array.shape != target:
        raise BindingError(f"{name} has shape {array.shape}; the plan declares {_text(shape)}, which is {target}.")
    if not np.all(np.isfinite(array)):
        raise BindingError(f"{name} holds NaN or infinity. A run starts from finite numbers.")
    return array


def _text(shape: Shape) -> str:
    return f"({', '.join(str(part) for part in shape)})"
