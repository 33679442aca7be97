"""The main job for rates: matrix flow, its reduction to modes where the data allow it, closed form, and gradient descent.

A reduction is used only if every assumption of it that can be measured on the data holds to `LIMIT`; otherwise the report says
by how much it is broken, and the theory is the full matrix flow, which needs no such assumption.
Imported by `numerics.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from derive.derivation import Derivation, derive_all
from derive.errors import InvalidSpec
from derive.system import Flow, Reduction
from numerics.data import Dataset, synthetic, whiten
from numerics.integrate import integrate
from numerics.progress import Progress, throttled
from numerics.report import Report
from numerics.run import Measured, Outcome, finished
from numerics.run_checks import conserved_checks, road_checks, solved_checks
from numerics.run_descent import Descent, descend
from numerics.trajectory import Array, Trajectory

LIMIT = 1e-8  # whitening leaves 1e-12; the solution inherits a violation linearly, and 1e-8 is what the checks compare to
TIMES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything that a run needs in numbers.

    Attributes
    ----------
    values : mapping
        Data, parameters and sizes by name.
    start : mapping
        State of the full flow at t = 0.
    reduced : mapping or None
        State of the reduced system at t = 0, if a reduction is used.
    """

    values: Mapping[str, Any]
    start: Mapping[str, Array]
    reduced: Mapping[str, Array] | None = None


def run_matrix(entry: Any, *, data: Dataset | None, whitened: bool, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """Derive the flow, reduce it if the data allow it, integrate and simulate.

    Raises
    ------
    InvalidSpec
        If a size, a parameter or the data do not fit the model.
    IntegrationFailed
        If the flow blows up.
    """
    from codegen import compile

    show = throttled(progress)
    show(0.0, "deriving")
    made = derive_all(entry.model, white=whitened, title=entry.title or entry.name)
    model, notes = bound(entry, data, whitened, seed)
    values = numbers(entry, model, made.flow)
    measured, usable = judge(made, values)
    chosen = next((r for r in made.reductions[-1:] if usable and r.system.level == "index"), None)  # modes, no Gram matrix
    setting, more = prepare(entry, made.flow, chosen, values, seed)
    show(0.1, "integrating")
    kernel = compile(made.flow, backend="numba")
    params = {b.name: np.asarray(values[b.name], dtype=float) for b in made.flow.parameters}
    end = float(entry.values["time"]) if "time" in entry.values else horizon(made.flow, kernel, chosen, setting, params)
    plan, cut = Descent.of(entry.values, end, TIMES)
    times = np.concatenate([[0.0], plan.times])
    path = finished(integrate(kernel, setting.start, params, (0.0, plan.end), times, rtol=1e-10))
    view = projected(path, chosen, values)
    checks = [*conserved_checks(made, path)]
    if chosen is not None and setting.reduced is not None:
        form = made.closed_form
        checks += solved_checks(chosen, form, view, setting.reduced, values, times)
    show(0.2, "gradient descent")
    found = descend(entry, model, made.flow, chosen, setting.start, params, values, plan, seed, show)
    checks += road_checks(found, path, view, seed)
    show(1.0, "done")
    notes = (*notes, *more, *refused(made, usable), *cut, *found.notes)
    return Outcome(
        derivation=made,
        source=str(compile(made.flow, backend="numpy").source),
        trajectory=view,
        report=Report(system=entry.name, checks=tuple(checks)),
        draw=lambda target: draw(view, found.shown, target, made.title, found.label, chosen is not None),
        notes=notes,
        measured=measured,
    )


def bound(entry: Any, data: Dataset | None, whitened: bool, seed: int) -> tuple[Any, tuple[str, ...]]:
    """The model on data: given ones, its own, or seeded synthetic ones; and what was done."""
    model, m = entry.model, entry.model.lowered
    opened = [d for d in m.draws if d.law == "Moments"]
    if not opened:
        if data is not None:
            raise InvalidSpec(f"{entry.name} has no open law Moments(...) that --data could fill; leave --data out")
        return model, ()
    names = opened[0].symbols
    if len(opened) > 1:
        raise InvalidSpec(f"{entry.name}: X and Y can fill one open law only; bind the model in Python: model.bind(...)")
    notes: tuple[str, ...] = ()
    sizes = [int(entry.values.get(str(m.shapes[n][0]), 4)) if m.shapes[n] else 1 for n in names]
    if data is None:
        data = synthetic(sum(sizes[:-1]) or sizes[0], sizes[-1], seed=seed)
        data = whiten(data) if whitened else data
        notes = data.notes
    if len(names) <= 2:
        return model.bind(**dict(zip(names, (data.X, data.Y), strict=False))), notes
    if data.X.shape[1] != sum(sizes[:-1]):
        raise InvalidSpec(
            f"{entry.name}: X has {data.X.shape[1]} columns, but {', '.join(names[:-1])} have {sum(sizes[:-1])} "
            "together; set their sizes"
        )
    parts = np.split(data.X, np.cumsum(sizes[:-2]), axis=1)  # several inputs stand side by side in X
    return model.bind(**dict(zip(names, (*parts, data.Y), strict=True))), notes


def numbers(entry: Any, model: Any, flow: Flow) -> dict[str, Any]:
    """Values by name: bound data, then parameters of the entry (data decide sizes); every parameter must have one."""
    values = {**entry.values, **model.values}
    for block in flow.parameters:
        if block.name in values:
            continue
        if block.shape:
            raise InvalidSpec(f"{block.name} has no value: give it in the entry's values, or bind data")
        raise InvalidSpec(f"{block.name} has no value: give --set {block.name}=...")
    return values


def judge(made: Derivation, values: Mapping[str, Any]) -> tuple[tuple[Measured, ...], bool]:
    """Measure every assumption of the last reduction on the data."""
    if not made.reductions:
        return (), False
    from derive.matrices.assumptions import measure

    rows = []
    for a in made.reductions[-1].assumptions:
        violation = None if a.residual is None else measure(a, values)
        rows.append(Measured(text=a.text, violation=violation, limit=LIMIT, remedy=a.remedy))
    return tuple(rows), all(row.holds for row in rows)


def refused(made: Derivation, usable: bool) -> tuple[str, ...]:
    """Says that a reduction was found but not used."""
    if made.reductions and not usable:
        return (
            "the reduction to modes was NOT used, because an assumption of it is broken on these data (see above): the theory "
            "is the full matrix flow, which does not need it; --whiten makes the inputs white, so that it holds",
        )
    return ()


def prepare(
    entry: Any, flow: Flow, reduction: Reduction | None, values: dict[str, Any], seed: int
) -> tuple[Setting, tuple[str, ...]]:
    """The start: on the manifold of the reduction, or values of the entry, or small random weights."""
    notes: list[str] = []
    sizes = widths(flow, values, notes)
    values |= sizes
    own = {b.name: np.asarray(values[b.name], dtype=float) for b in flow.state if b.name in values}
    if reduction is not None and not own:
        assert reduction.parameters_from is not None  # reductions to modes have both
        assert reduction.lift_state is not None
        given = reduction.parameters_from(values)
        strength = float(entry.values.get("u0", 1e-3))
        modes = max(len(np.atleast_1d(v)) for k, v in given.items() if np.ndim(v) == 1)
        each = strength ** (1 / len(flow.state)) if len(reduction.system.state) > 1 else strength
        reduced = {b.name: np.full(modes, each) for b in reduction.system.state}
        start = reduction.lift_state(values, reduced, seed=seed)
        notes.append(f"start: aligned and balanced, every one of {modes} modes with strength {strength:g}")
        return Setting(values=values, start=start, reduced=reduced), tuple(notes)
    scale = float(entry.values.get("scale", 0.05))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    start = {}
    for block in flow.state:
        shape = tuple(n if isinstance(n, int) else int(values[str(n)]) for n in block.shape)
        drawn = rng.standard_normal(shape) * scale
        start[block.name] = own.get(block.name, drawn)
    if len(own) < len(start):
        notes.append(
            f"start: {', '.join(n for n in start if n not in own)} normal with standard deviation {scale:g}, seed {seed}"
        )
    return Setting(values=values, start=start), tuple(notes)


def widths(flow: Flow, values: Mapping[str, Any], notes: list[str]) -> dict[str, int]:
    """Sizes of dimensions: read off the data, or values of the entry, or (inner ones) the smallest size of the data."""
    known: dict[str, int] = {}
    for block in (*flow.parameters, *flow.state):
        if block.name in values:
            for axis, size in enumerate(block.shape):
                if isinstance(size, str):
                    known[size] = int(np.shape(values[block.name])[axis])
    needed = dict.fromkeys(s for b in flow.state for s in b.shape if isinstance(s, str))
    for size in needed:
        if size not in known and size in values:
            known[size] = int(values[size])
    outer = [known[s] for b in flow.parameters for s in b.shape if isinstance(s, str) and s in known]
    for size in needed:
        if size not in known:
            if not outer:
                raise InvalidSpec(f"the dimension {size} has no size: give --set {size}=...")
            known[size] = min(outer)
    notes.append("sizes: " + ", ".join(f"{k} = {known[k]}" for k in needed))
    return known


def horizon(flow: Flow, kernel: Any, reduction: Reduction | None, setting: Setting, params: Mapping[str, Array]) -> float:
    """A time in which learning is over: 3/2 of the time at which it has come within 2 per cent of where it ends.

    Looked at are the mode strengths, or without a reduction the observables (the state, if there are none). The span is
    doubled, at most twelve times, until its second half moves them by less than 2 per cent of the way.
    """
    from codegen import compile

    start, given = setting.start, params
    if reduction is not None and setting.reduced is not None and reduction.parameters_from is not None:
        kernel, start, given = (
            compile(reduction.system, backend="numpy"),
            setting.reduced,
            reduction.parameters_from(setting.values),
        )
    end = 1.0
    for _ in range(12):
        times = np.linspace(0.0, end, 65)
        path = finished(integrate(kernel, start, given, (0.0, end), times, rtol=1e-6))
        seen = path.values if reduction is not None or not path.observables else path.observables
        rows = np.concatenate([np.asarray(a).reshape(len(times), -1) for a in seen.values()], axis=1)
        left = np.abs(rows - rows[-1]).max(axis=1)
        moved = float(np.abs(rows - rows[0]).max())
        if left[32] < 0.02 * moved and moved > 0.1 * float(np.abs(rows[-1]).max()):
            return 1.5 * float(times[np.flatnonzero(left >= 0.02 * moved)[-1]])
        end *= 2
    return end


def projected(path: Trajectory, reduction: Reduction | None, values: Mapping[str, Any]) -> Trajectory:
    """The trajectory with the mode strengths of the reduction beside its weights."""
    if reduction is None or reduction.project_state is None:
        return path
    modes = reduction.project_state(values, path.values)
    return replace(path, values={**path.values, **{n: np.asarray(a) for n, a in modes.items()}})


def draw(view: Trajectory, shown: Any, target: Path, title: str, label: str, reduced: bool) -> object:
    """Observables, then mode strengths (or the singular values of the weights where there are no modes)."""
    from numerics.plot import figure

    modes = [n for n, a in view.values.items() if a.ndim == 2]
    if not reduced:
        strengths = {f"s_{n}": singular(a) for n, a in view.values.items() if a.ndim == 3}
        view = replace(view, values={**view.values, **strengths})
        if shown is not None:
            shown = replace(
                shown, values={**shown.values, **{f"s_{n}": singular(a) for n, a in shown.values.items() if a.ndim == 4}}
            )
        modes = list(strengths)
    panels = [list(view.observables), *([n] for n in modes)]
    theory = "closed form and flow" if reduced else "matrix flow"
    return figure(
        view, shown, target, panels=[p for p in panels if p][:4], title=title, theory_label=theory, simulation_label=label
    )


def singular(weights: Array) -> Array:
    """Singular values along the leading axes."""
    return np.asarray(np.linalg.svd(weights, compute_uv=False))
