r"""The overlap chain through a protocol: phases one after the other, maps of the state between them, global time.

    phase:  round(length / dt) steps of its chain, on random streams of its own;      event:  C <- A C A',  theta <- h

Imported by `numerics` and users; imports NumPy and this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .chain import mapped, named, observed, run_chain
from .chain_arrays import Array, declared_axes, dimensions, moving
from .chain_bind import Bound, bind
from .chain_segments import increments, leaf_of, numbers
from .engine import SimulationResult
from .errors import BindingError, PlanError


def chain_protocol(
    plan: Mapping[str, Any],
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    N: int,
    *,
    records: int = 41,
    seed: int = 0,
    replicas: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Run the chains of a protocol.

    Parameters
    ----------
    plan : mapping
        Written by ``derive.exact_chain(model)`` of a model with a protocol.
    values, state, N, seed, replicas
        As for `chain`; symbols that every phase binds need no value. Each phase has random streams of its own, and functions of
        time receive the time since the beginning of the protocol.
    records : int
        Records per phase, both ends included; at a switch the time stands twice, before and after it.
    progress : callable, optional
        Called as ``progress(done, phases)``.

    Returns
    -------
    SimulationResult
        With ``switches``. A replica that fails is NaN from then on.

    Raises
    ------
    PlanError, BindingError, NotSimulable
    """
    if plan.get("kind") != "overlap chain protocol" or plan.get("version") != 2:
        raise PlanError(
            "this is no protocol of overlap chains. Write it with `derive.exact_chain(model)`; a single chain is run by chain."
        )
    if records < 2 or replicas < 1:
        raise BindingError("records must be at least 2, replicas at least 1.")
    phases = [part for part in plan["parts"] if part[0] == "phase"]
    known = {n for part in phases for n in (*declared_axes(part[3]), *dimensions(part[3]))}
    if strangers := [name for name in values if name not in known]:
        raise BindingError(f"{strangers[0]} is no value of any phase; they use {', '.join(sorted(known))}. Leave it out.")
    now = dict(state)
    begun, done, number, words = 0.0, 0, 0, []
    status = ["ok"] * replicas
    times, steps, switches = [], [], []
    kept: dict[str, list[Array]] = {}
    seen: dict[str, list[Array]] = {}
    for part in plan["parts"]:
        if part[0] == "event":
            words.append(part[1])
            following = next((p[3] for p in plan["parts"][plan["parts"].index(part) :] if p[0] == "phase"), phases[-1][3])
            now = _event(following, part[2], values, now, N, replicas)
            continue
        _, label, length, chain = part
        good = [r for r in range(replicas) if status[r] == "ok"]
        start = {n: np.asarray(x)[good] if _per_replica(chain, n, x, replicas) else x for n, x in now.items()}
        bound = bind(chain, _own(chain, values), start, int(N), len(good))
        if number or words:
            switches.append((begun, ", ".join(filter(None, [*words, label]))))
        count = _steps(length, chain, bound, values)
        marks = np.unique(np.round(np.linspace(0, count, records)).astype(np.int64))
        C, theta, ended = run_chain(bound, marks, seed, good, phase=number, begun=begun)
        t = np.asarray(begun + marks * bound.dt, dtype=np.float64)
        for name, array in named(chain, bound, C, theta).items():
            kept.setdefault(name, []).append(_spread(array, good, replicas))
            now[name] = kept[name][-1][:, -1]
        for name, array in observed(bound, C, theta, t).items():
            seen.setdefault(name, []).append(_spread(array, good, replicas))
        for r, word in zip(good, ended, strict=True):
            status[r] = word
        times.append(t)
        steps.append(done + marks)
        begun, done, number, words = float(t[-1]), done + count, number + 1, []
        if progress is not None:
            progress(number, len(phases))
        if "ok" not in status:
            raise BindingError(f"{plan['name']}: every replica failed in phase {number} ({status[0]}). Choose smaller rates.")
    return SimulationResult(
        name=plan["name"], t=np.concatenate(times), steps=np.concatenate(steps),
        values={name: np.concatenate(parts, axis=1) for name, parts in kept.items()},
        observables={name: np.concatenate(parts, axis=1) for name, parts in seen.items() if len(parts) == number},
        status=tuple(status), seed=seed, switches=tuple(switches),
    )  # fmt: skip


def _own(chain: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a phase uses."""
    wanted = (*declared_axes(chain), *dimensions(chain))
    return {name: value for name, value in values.items() if name in wanted}


def _per_replica(chain: Mapping[str, Any], name: str, value: Any, replicas: int) -> bool:
    axes = declared_axes(chain).get(name, ())
    return np.ndim(value) == len(axes) + 1 and len(value) == replicas


def _spread(array: Array, good: list[int], replicas: int) -> Array:
    """An array of the good replicas among all of them."""
    out = np.full((replicas, *array.shape[1:]), np.nan)
    out[good] = array
    return out


def _steps(length: Any, chain: Mapping[str, Any], bound: Bound, values: Mapping[str, Any]) -> int:
    """Number of steps of a phase."""
    arrays = {n: np.asarray(v, dtype=np.float64) for n, v in values.items() if not callable(v)}
    (time,) = numbers([length], leaf_of(chain, arrays, bound.sizes, bound.places), "the length of a phase")
    steps = time / bound.dt
    if (
        not np.isfinite(steps) or steps < 0.5 or abs(steps - round(steps)) > 1e-6 * steps
    ):  # lengths are typed as decimal numbers
        raise BindingError(
            f"a phase of length {time:g} is {steps:.6g} steps of {bound.dt:g}. "
            f"Choose a length or {chain['big']} that makes it whole."
        )
    return round(steps)


def _event(
    chain: Mapping[str, Any],
    data: Mapping[str, Any],
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    N: int,
    replicas: int,
) -> dict[str, Any]:
    """The state after an event."""
    bound = bind(chain, _own(chain, values), state, int(N), replicas)
    arrays = {n: np.asarray(v, dtype=np.float64) for n, v in values.items() if not callable(v)}
    segment = increments(chain, data, {}, bound.sizes, bound.places, leaf_of(chain, arrays, bound.sizes, bound.places))
    moved = [mapped(segment, C, theta, bound.N) for C, theta in zip(bound.C, bound.theta, strict=True)]
    C, theta = np.stack([c for c, _ in moved])[:, None], np.stack([t for _, t in moved])[:, None]
    return {
        name: array[:, 0] for name, array in named(chain, bound, C, theta).items() if name in (*moving(chain), *chain["states"])
    }


__all__ = ["chain_protocol"]
