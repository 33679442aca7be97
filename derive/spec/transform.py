"""Rewrites of a spec: `bind` an open law to real arrays, `as_updates` a rate.

``bind``: the law `Moments` becomes a uniformly random item, ``x = x_data*item``; the named averages become values,
``Sx = (1/P) sum over items of x x'`` and so on. ``as_updates``: dW/dt = <r> becomes W <- W + eta r, one draw (or a batch) at a
time, so its time per step is eta. Imported by `Model.bind` and by users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.spec.laws import Choice, Moments, Normal, symbols_of
from derive.spec.lowered import lowered_of
from derive.spec.model import Model, with_values
from derive.spec.nodes import as_expression
from derive.spec.rules import Rate, Update
from derive.spec.shapes import show_shape, size_of
from derive.spec.sugar import dot
from derive.spec.symbols import closest
from derive.spec.tree import Tree


def _free(taken: Sequence[str], wish: str) -> str:
    return next(n for n in (wish, *(f"{wish}{i}" for i in range(1, 999))) if n not in taken)


def bind(model: Model, arrays: Mapping[str, Any]) -> Model:
    """The Model on real data (see `Model.bind`); samples stand in rows.

    Raises
    ------
    InvalidSpec
        If there is no open law with these symbols, or an array is missing or unfit.

    Examples
    --------
    >>> from derive import Model, Moments, Rate, dims, grad, matrix, norm2, scalars, vector
    >>> N = dims("N")
    >>> w, x, Sx = vector("w", N), vector("x", N), matrix("Sx", N, N)
    >>> m = Model(name="mean", state=w, data=Moments(x, {x * x.T: Sx}), learn=Rate({w: x - w}))
    >>> b = bind(m, {"x": np.array([[1.0, 0.0], [0.0, 2.0]])})
    >>> b.values["Sx"].tolist(), b.values["N"], b.lowered.draws[0].law
    ([[0.5, 0.0], [0.0, 2.0]], 2, 'Choice')
    """
    laws = [law for law in model.data if isinstance(law, Moments)]
    open_names = [s.name for law in laws for s in law.symbols]
    if not laws:
        raise InvalidSpec(f"bind: {model.name} has no open law; only symbols of Moments(...) can be bound to arrays")
    for name in arrays:
        if name not in open_names:
            close = closest(name, open_names)
            hint = f"did you mean {close}?" if close else f"it can bind {', '.join(open_names)}"
            raise InvalidSpec(f"bind: {name} is not a symbol of an open law of {model.name}; {hint}")
    values: dict[str, Any] = dict(model.values)
    taken, let, given, data = list(model.symbols), {}, list(model.given), []
    for law in model.data:
        if not isinstance(law, Moments) or not any(s.name in arrays for s in law.symbols):
            data.append(law)
            continue
        rows = {s.name: _read(model, s.name, arrays) for s in law.symbols}
        count = _count(rows)
        _check_parity(law, rows)
        made: list[str] = [_free(taken, "P")]
        size = sp.Symbol(made[0], integer=True, positive=True)
        made.append(_free([*taken, *made], "item"))
        item = sp.MatrixSymbol(made[1], size, 1)
        for s in law.symbols:
            made.append(_free([*taken, *made], f"{s.name}_data"))
            holder = (
                sp.MatrixSymbol(made[-1], s.shape[0], size)
                if isinstance(s, sp.MatrixSymbol)
                else sp.MatrixSymbol(made[-1], size, 1)
            )
            let[s] = holder * item if isinstance(s, sp.MatrixSymbol) else dot(holder, item)
            given.append(holder)
            values[holder.name] = np.ascontiguousarray(rows[s.name].T if isinstance(s, sp.MatrixSymbol) else rows[s.name])
            _sizes(model, s.name, rows[s.name], values)
        values[size.name] = count
        taken += made
        given += list(law.names)
        data.append(Choice(item, once=law.once, realises=law))
        draw = next(d for d in model.lowered.draws if d.symbols == tuple(s.name for s in law.symbols))
        for tree, name in draw.moments:
            values[name] = _average(tree, rows, count, f"bind: average {name}", model)
    bound = model.replace(given=tuple(given), data=tuple(data), let={**let, **model.let})
    return with_values(bound, values)


def _read(model: Model, name: str, arrays: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The array of a symbol as (P, n) float64, checked."""
    if name not in arrays:
        raise InvalidSpec(f"bind: {name} has no array; its law is joint, pass {name}=... too")
    raw, shape = arrays[name], model.lowered.shapes[name]
    if isinstance(raw, str) or hasattr(raw, "toarray"):
        raise InvalidSpec(f"bind: {name} is {type(raw).__name__}, not a plain array; pass numbers of shape (samples, {name})")
    try:
        array = np.asarray(raw)
    except ValueError:
        raise InvalidSpec(
            f"bind: {name} is ragged (rows of different length); pass one array of shape (samples, size)"
        ) from None
    if array.dtype.kind not in "biuf":
        raise InvalidSpec(f"bind: {name} has entries of type {array.dtype}, not real numbers; convert it with .astype(float)")
    if np.ma.isMaskedArray(raw) and np.ma.is_masked(raw):
        raise InvalidSpec(f"bind: {name} has masked entries; remove or fill them first")
    if len(shape) == 2 and shape[1] != 1:
        raise InvalidSpec(
            f"bind: {name} is {show_shape(shape)}; only numbers and columns are bound, one row of the array per sample"
        )
    array = array.astype(np.float64)
    single = shape in ((), (1, 1))
    if array.ndim == 1 and single:
        array = array[:, None]
    if array.ndim != 2:
        remedy = (
            f"{name}.reshape(-1, 1) if it has one entry per sample" if array.ndim == 1 else "flatten each sample to one row"
        )
        raise InvalidSpec(
            f"bind: {name} has {array.ndim} axes, (samples, {show_shape(shape).split(' ')[0]}) is needed; {remedy}"
        )
    if array.shape[0] < 2:
        raise InvalidSpec(f"bind: {name} has {array.shape[0]} samples; at least 2 are needed, samples stand in rows")
    wanted = 1 if single else size_of(shape[0], {k: v for k, v in model.values.items() if isinstance(v, int)})
    if (wanted is not None and array.shape[1] != wanted) or array.shape[1] == 0:
        hint = f"; samples stand in rows, pass {name}.T" if array.shape[0] == wanted else ""
        raise InvalidSpec(f"bind: {name} has {array.shape[1]} columns, {wanted or 'at least 1'} needed{hint}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        i, j = (int(k) for k in bad[0])
        raise InvalidSpec(f"bind: {name}[{i}, {j}] is {array[i, j]} ({len(bad)} such entries); remove or fill them first")
    if not np.any(np.ptp(array, axis=0) > 0):
        raise InvalidSpec(f"bind: {name} is constant: no column varies between samples; check that samples stand in rows")
    return array


def _count(rows: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """Number of samples, the same for all arrays."""
    (first, a), *others = rows.items()
    for name, b in others:
        if b.shape[0] != a.shape[0]:
            raise InvalidSpec(
                f"bind: {first} has {a.shape[0]} samples, {name} has {b.shape[0]}; rows are samples, both need the same number"
            )
    return int(a.shape[0])


def _check_parity(law: Moments, rows: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Data of a law whose symmetry is asserted must have it: with each item also its mirror image."""
    if not law.odd and not law.even:
        return
    even = [s.name for s in symbols_of(law.even, "Moments: even")]
    table = np.concatenate([rows[s.name] for s in law.symbols], axis=1)
    signs = np.concatenate([np.full(rows[s.name].shape[1], 1.0 if s.name in even else -1.0) for s in law.symbols])
    mirrored = table * signs + 0.0
    first, second = (a[np.lexsort(a.T[::-1])] for a in (table + 0.0, mirrored))
    if not np.allclose(first, second, rtol=1e-9, atol=1e-9 * float(np.abs(table).max())):
        odd = ", ".join(s.name for s in law.symbols if s.name not in even)
        raise InvalidSpec(
            f"bind: the law says that {odd} may change sign, but these data have items without a mirror image; append them, "
            "for instance x=np.concatenate([X, -X]), or drop odd= and even= from Moments(...)"
        )


def _sizes(model: Model, name: str, rows: np.ndarray[Any, Any], values: dict[str, Any]) -> None:
    """Read sizes of dimensions off an array; they must agree between arrays."""
    for dimension in model.lowered.shapes[name][:1]:
        size = int(rows.shape[1])
        known = size_of(dimension, {k: v for k, v in values.items() if isinstance(v, int)})
        if known is not None and known != size:
            raise InvalidSpec(
                f"bind: {name} has {size} columns, but another array gives {known} for that dimension; the arrays must agree"
            )
        if isinstance(dimension, str):
            values[dimension] = size


def _average(
    tree: Tree, rows: Mapping[str, np.ndarray[Any, Any]], count: int, where: str, model: Model
) -> np.ndarray[Any, Any]:
    """Mean over samples of a tree in the drawn symbols."""
    if tree[0] == "matmul" and len(tree) == 3 and tree[1] in rows and tree[2][0] == "T" and tree[2][1] in rows:
        with np.errstate(over="ignore", invalid="ignore"):
            total = rows[tree[1]].T @ rows[tree[2][1]]
    else:
        total = np.zeros(())
        for start in range(0, count, 256):
            scalars = {n for n in rows if model.lowered.shapes[n] == ()}
            part = {
                n: (r[start : start + 256, 0] if n in scalars else r[start : start + 256, :, None]) for n, r in rows.items()
            }
            total = total + _evaluate(tree, part, where).sum(axis=0)
    out = np.asarray(total / count, dtype=np.float64)
    if not np.all(np.isfinite(out)):
        raise InvalidSpec(f"{where} overflows; rescale the arrays")
    return out


def _evaluate(tree: Tree, part: Mapping[str, np.ndarray[Any, Any]], where: str) -> np.ndarray[Any, Any]:
    """Values of a tree for a block of samples, samples on the first axis."""
    if isinstance(tree, str) and tree in part:
        return part[tree]
    if isinstance(tree, int) or (isinstance(tree, tuple) and tree[0] == "frac"):
        return np.full(next(iter(part.values())).shape[0], tree if isinstance(tree, int) else tree[1] / tree[2])
    if isinstance(tree, tuple) and tree[0] in ("add", "mul", "pow", "matmul", "T", "trace", "had"):
        parts = [_evaluate(p, part, where) for p in tree[1:]]
        if tree[0] == "T":
            return parts[0].swapaxes(1, 2)
        if tree[0] == "trace":
            return np.asarray(np.trace(parts[0], axis1=1, axis2=2))
        out = parts[0]
        for other in parts[1:]:
            if tree[0] == "matmul":
                out = out @ other
            elif tree[0] == "pow":
                out = out**other
            elif tree[0] == "add":
                out = out + other
            else:
                out = out.reshape(out.shape + (1,) * (other.ndim - out.ndim)) * other
        return out
    raise InvalidSpec(f"{where}: cannot be computed from arrays; averages of sums and products of the drawn symbols can")


def as_updates(model: Model, eta: Any, batch: Any = 1) -> Model:
    """The one-pass stochastic gradient descent that simulates a `Rate`: W <- W + eta*rate on fresh draws.

    ``dW/dt = <r(W, draw)>`` becomes ``W <- W + eta r(W, draw)``, averaged over ``batch`` draws, time eta per step; white noise
    of strength B becomes ``sqrt(eta) B`` times a fresh normal draw. Deviations from the flow are of order eta.

    Raises
    ------
    UnsupportedNode
        If the rule of the model is not a `Rate`.
    InvalidSpec
        If ``eta`` is not a positive number or a symbol.

    Examples
    --------
    >>> from derive import Model, Normal, Rate, dims, vector
    >>> N = dims("N")
    >>> w, x = vector("w", N), vector("x", N)
    >>> m = Model(name="mean", state=w, data=Normal(x), learn=Rate({w: x - w}))
    >>> as_updates(m, 0.1, batch=4).lowered.rule.dt
    ('frac', 1, 10)
    """
    lowered_of("as_updates", model)
    if not isinstance(model.learn, Rate):
        raise UnsupportedNode(
            f"as_updates: the rule of {model.name} is {type(model.learn).__name__}, not Rate; it needs no rewriting"
        )
    step = as_expression(eta, "as_updates: eta")
    if not isinstance(step, sp.Symbol) and (not step.is_number or step.is_positive is not True):
        raise InvalidSpec(f"as_updates: eta = {step} is no positive number and no symbol; give a small step size")
    given = model.given
    if isinstance(step, sp.Symbol) and step.name not in model.symbols:
        given = (*given, step)
    taken, data, block = list(model.symbols), list(model.data), {}
    for w, rate in model.learn.rates.items():
        block[w] = w + step * rate
    for w, strength in (model.learn.noise or {}).items():
        taken.append(_free(taken, f"xi_{w.name}"))
        xi = sp.MatrixSymbol(taken[-1], *w.shape) if isinstance(w, sp.MatrixSymbol) else sp.Symbol(taken[-1], real=True)
        data.append(Normal(xi))
        block[w] = block[w] + sp.sqrt(step) * strength * xi
    learn = Update(block, dt=step, batch=batch)
    if isinstance(batch, sp.Symbol) and batch.name not in model.symbols:
        given = (*given, batch)
    return with_values(model.replace(given=given, data=tuple(data), learn=learn), dict(model.values))
