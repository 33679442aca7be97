"""Figures: theory lines over simulation means with bands. Files are written atomically; nothing is shown on a screen.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart; every curve also has its label. Letters
of symbols are set as mathematics (``eta_v`` becomes a subscript, ``Wstar`` a star). Imported by users and by commands; imports
matplotlib (its file backend) when the first figure is drawn.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from numerics.files import replacing
from numerics.trajectory import Array, Trajectory

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
BANDS = ("deviation", "percentile")
ALONE = "#222222"  # a curve that shares its panel with no other
MOST_LINES = 8
MOST_WORDS, LONGEST_WORDS = 8, 28  # switches of a protocol that are labelled, and letters of a label
GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "lam", "mu", "nu", "rho", "sigma",
    "tau", "phi", "chi", "psi", "omega",
)  # fmt: skip


def letter(name: str, index: Sequence[int] = ()) -> str:
    """A symbol as mathtext; indices count from 1.

    >>> letter("eta_v"), letter("Wstar"), letter("R", (0, 1)), letter("eg")
    ('$\\\\eta_{v}$', '$W^{*}$', '$R_{12}$', '$\\\\epsilon_{g}$')
    """
    if name == "eg":
        name = "epsilon_g"
    stem, _, below = name.partition("_")
    star = "^{*}" if stem.endswith("star") else ""
    stem = stem.removesuffix("star")
    found = re.fullmatch(r"([A-Za-z]+?)(\d+)", stem)
    if found:
        stem, below = found[1], found[2] + (f",{below}" if below else "")
    core = rf"\{'lambda' if stem == 'lam' else stem}" if stem in GREEK else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
    joint = "" if all(i < 9 for i in index) else ","
    below = ",".join(part for part in (below.replace("_", ","), joint.join(str(i + 1) for i in index)) if part)
    return f"${core}{star}" + (f"_{{{below}}}$" if below else "$")


def figure(
    theory: Trajectory,
    simulation: Any,
    path: str | os.PathLike[str],
    *,
    panels: Sequence[Sequence[str]] | None = None,
    band: str = "deviation",
    title: str = "",
    time: str = "time $t$",
    theory_label: str = "theory",
    simulation_label: str = "simulation",
    log_time: bool = False,
) -> Path:
    """Draw theory lines over simulation means with bands, one panel per group of quantities.

    Parameters
    ----------
    theory : Trajectory
    simulation : SimulationResult, Trajectory, or None
        Anything with ``t`` and mappings ``values``, ``observables`` of arrays (replicas, T, ...).
    path : path of the file; its suffix chooses the format
    panels : groups of names, optional
        By default one panel with all observables and one for each state array of at most 64 entries.
    band : {"deviation", "percentile"}
        One standard deviation of the seeds, or the middle 95 per cent of them.

    Returns
    -------
    Path

    Raises
    ------
    InvalidSpec
        If a name is unknown.
    """
    if band not in BANDS:
        raise InvalidSpec(f"band {band!r} is unknown; choose {' or '.join(BANDS)}")
    curves = {**theory.values, **theory.observables}
    groups = [list(g) for g in (panels if panels is not None else default_panels(theory))]
    for name in (n for g in groups for n in g):
        if name not in curves:
            raise InvalidSpec(f"the trajectory has no {name}; it has {', '.join(sorted(curves))}")
    seen = {} if simulation is None else _samples(simulation)
    plt = _pyplot()
    rows, columns = shape_of_grid(len(groups))
    size = (4.8 * columns, 3.1 * rows + 0.7)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    for ax, names in zip(axes.flat, groups, strict=False):
        entries = [(n, at) for n in names for at in _entries(curves[n])]
        lines = entries[:MOST_LINES]
        for colour, (name, at) in zip(COLOURS if len(lines) > 1 else (ALONE,), lines, strict=False):
            if name in seen:
                _draw_band(ax, simulation.t, _entry(seen[name], at), colour, band)
            ax.plot(theory.t, _entry(curves[name], at), color=colour, lw=1.5, label=letter(name, at), zorder=3)
        _draw_switches(ax, theory, labelled=ax is axes.flat[0])
        left_out = f" (first {len(lines)} of {len(entries)})" if len(entries) > len(lines) else ""
        ax.set_title(", ".join(letter(n) for n in names) + left_out, fontsize=10, loc="left")
        ax.set_xlabel(time)
        ax.margins(x=0.015)
        ax.grid(color="0.92", lw=0.6)
        ax.spines[["top", "right"]].set_visible(False)
        if log_time:
            ax.set_xscale("log")
        if len(lines) > 1:  # beside the panel, where it covers no curve
            ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2, borderpad=0)
    _key(fig, plt, theory_label, simulation_label if seen else "", band)
    if title:
        fig.suptitle(title[:1].upper() + title[1:], fontsize=12)
    with replacing(path) as temporary:
        fig.savefig(temporary, dpi=150)
    plt.close(fig)
    return Path(path)


def plot_modes(
    theory: Trajectory, simulation: Any, path: str | os.PathLike[str], *, modes: str = "u", loss: str = "loss", **options: Any
) -> Path:
    """Loss beside mode strengths; options are those of `figure`."""
    return figure(theory, simulation, path, panels=_present(theory, ((loss,), (modes,))), **options)


def plot_overlaps(
    theory: Trajectory,
    simulation: Any,
    path: str | os.PathLike[str],
    *,
    error: str = "eg",
    overlaps: Sequence[str] = ("R", "Q"),
    **options: Any,
) -> Path:
    """Generalisation error beside order parameters; options are those of `figure`."""
    return figure(
        theory,
        simulation,
        path,
        panels=_present(theory, ((error,), *((o,) for o in overlaps))),
        **{"time": r"time $\alpha$ = steps / N", **options},
    )


def shape_of_grid(panels: int) -> tuple[int, int]:
    """Rows and columns: one row up to three panels, then a grid.

    >>> [shape_of_grid(n) for n in (1, 3, 4, 5)]
    [(1, 1), (1, 3), (2, 2), (2, 3)]
    """
    if panels <= 3:
        return 1, max(panels, 1)
    columns = 2 if panels == 4 else 3
    return -(-panels // columns), columns


def default_panels(theory: Trajectory) -> list[list[str]]:
    """All observables, then each state array that is small enough to draw."""
    small = [[n] for n, a in theory.values.items() if a[0].size <= 64]
    scalars = [n for n, a in theory.observables.items() if a.ndim == 1]
    return ([scalars] if scalars else []) + small


def _present(theory: Trajectory, groups: Sequence[Sequence[str]]) -> list[list[str]]:
    known = {**theory.values, **theory.observables}
    found = [[n for n in g if n in known] for g in groups]
    return [g for g in found if g]


def _entry(array: Array, at: tuple[int, ...]) -> Array:
    """One entry of trailing axes, for all times (and replicas)."""
    where: tuple[Any, ...] = (..., *at)
    return np.asarray(array[where])


def _entries(array: Array) -> list[tuple[int, ...]]:
    """Indices of the entries that are drawn; of a symmetric matrix only the upper half."""
    every = list(np.ndindex(*array.shape[1:]))
    if array.ndim == 3 and array.shape[1] == array.shape[2] and np.allclose(array, array.swapaxes(1, 2)):
        return [at for at in every if at[0] <= at[1]]
    return every


def _samples(simulation: Any) -> Mapping[str, Array]:
    """Arrays (replicas, T, ...); a Trajectory counts as one replica."""
    found = {**simulation.values, **simulation.observables}
    one = isinstance(simulation, Trajectory)
    return {n: np.asarray(a)[None] if one else np.asarray(a) for n, a in found.items()}


def _draw_band(ax: Any, t: Array, runs: Array, colour: str, band: str) -> None:
    mean = runs.mean(axis=0)
    ax.plot(
        t, mean, color=colour, ls="none", marker="o", ms=3.4, mfc="white", mew=0.9, markevery=max(1, len(t) // 16), zorder=4
    )
    if len(runs) < 2:
        return
    if band == "deviation":
        spread = runs.std(axis=0, ddof=1)
        low, high = mean - spread, mean + spread
    else:
        low, high = np.percentile(runs, (2.5, 97.5), axis=0)
    ax.fill_between(t, low, high, color=colour, alpha=0.35, lw=0)


def _draw_switches(ax: Any, theory: Trajectory, *, labelled: bool) -> None:
    """Vertical lines where a protocol goes over to its next phase; words in one panel, beside the first few that are new."""
    for number, switch in enumerate(theory.switches):
        ax.axvline(switch.t, color="0.45", lw=0.8, ls=(0, (4, 3)), zorder=1)
        again = number > 0 and theory.switches[number - 1].label == switch.label
        if labelled and number < MOST_WORDS and not again:
            text = switch.label if len(switch.label) <= LONGEST_WORDS else switch.label[: LONGEST_WORDS - 3] + "..."
            ax.annotate(
                text, (switch.t, 0.98), xycoords=("data", "axes fraction"), xytext=(2, 0), textcoords="offset points",
                rotation=90, va="top", ha="left", fontsize=7, color="0.3", zorder=5,
            )  # fmt: skip


def _key(fig: Any, plt: Any, theory: str, simulation: str, band: str) -> None:
    """One key for line, marker and band."""
    handles = [plt.Line2D([], [], color="0.2", lw=1.8, label=theory)]
    if simulation:
        what = "1 s.d. of the seeds" if band == "deviation" else "95 % of the seeds"
        handles.append(plt.Line2D([], [], color="0.2", ls="none", marker="o", ms=4, mfc="white", label=f"{simulation}, mean"))
        handles.append(plt.matplotlib.patches.Patch(color="0.2", alpha=0.35, lw=0, label=what))
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _pyplot() -> Any:
    """Pyplot on the file backend, whatever the environment says."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.patches
    import matplotlib.pyplot as plt

    return plt
