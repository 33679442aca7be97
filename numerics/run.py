"""The main job: derive a system, integrate it, lay it over simulations, and write five files that belong together.

    derivation.md   equations, reductions, closed form, measured assumptions, checks
    kernel.py       the equations as code that runs without this project
    trajectory.nc   the theory's solution
    report.json     every check with its bound and the reason for it
    figure.png      theory over simulation, with bands

The files are made in a staging folder and moved when all of them are complete, so that an interruption or an error leaves the
output folder as it was. Imported by the command line.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derive.derivation import Derivation
from numerics.data import Dataset
from numerics.files import write_json, write_text
from numerics.progress import Progress
from numerics.report import Report
from numerics.run_settings import check_settings
from numerics.trajectory import Trajectory

FILES = ("derivation.md", "kernel.py", "trajectory.nc", "report.json", "figure.png")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One assumption of a reduction, measured on the data.

    Attributes
    ----------
    text : str
    violation : float or None
        Relative size of what must vanish; None if it cannot be measured.
    limit : float
        The reduction is used if violation <= limit.
    remedy : str
    """

    text: str
    violation: float | None
    limit: float
    remedy: str

    @property
    def holds(self) -> bool:
        """False only if it was measured and found broken."""
        return self.violation is None or self.violation <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run found, before anything is written.

    Attributes
    ----------
    derivation : Derivation
    source : str
        Text of kernel.py.
    trajectory : Trajectory
        The theory.
    report : Report
    draw : callable(path)
        Writes the figure.
    notes : tuple of str
        What was done and decided on the way, one sentence each.
    measured : tuple of Measured
    """

    derivation: Derivation
    source: str
    trajectory: Trajectory
    report: Report
    draw: Callable[[Path], object]
    notes: tuple[str, ...] = ()
    measured: tuple[Measured, ...] = ()


def run(
    entry: Any,
    *,
    data: Dataset | None = None,
    whitened: bool = False,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Derive, integrate, simulate and compare one entry.

    Parameters
    ----------
    entry : Entry
    data : Dataset, optional
        For models with an open law; seeded synthetic items if left out.
    whitened : bool
        The inputs of ``data`` are white: reduce under that assumption.
    seed : int, optional
        Root of all random streams; the entry's own (or 0) if left out.
    progress : callable(fraction, message), optional

    Raises
    ------
    InvalidSpec, IntegrationFailed
    """
    check_settings(entry, seed)
    root = int(entry.values.get("seed", 0) if seed is None else seed)
    from numerics.run_protocol import has_phases, run_protocol

    if has_phases(entry.model):
        if data is not None and entry.kind == "online":
            raise_no_data(entry)
        return run_protocol(entry, data=data, whitened=whitened, seed=root, progress=progress)
    if entry.kind == "recursion":
        from numerics.run_recursion import run_recursion

        if data is not None:
            raise_no_data(entry)
        return run_recursion(entry, seed=root, progress=progress)
    if entry.kind == "online":
        from numerics.run_online import run_online

        if data is not None:
            raise_no_data(entry)
        return run_online(entry, seed=root, progress=progress)
    if entry.kind == "population":
        from numerics.run_population import run_population_entry

        if data is not None:
            raise_no_data(entry)
        return run_population_entry(entry, seed=root, progress=progress)
    from numerics.run_matrix import run_matrix

    return run_matrix(entry, data=data, whitened=whitened, seed=root, progress=progress)


def raise_no_data(entry: Any) -> None:
    """A model that draws its own inputs takes no data."""
    from derive.errors import InvalidSpec

    raise InvalidSpec(
        f"{entry.name} draws its inputs from a law, so it takes no --data; leave it out, or use an open law Moments(...)"
    )


def finished(path: Trajectory) -> Trajectory:
    """The trajectory if it reached its end.

    Raises
    ------
    KeyboardInterrupt
        If the user stopped the integration.
    IntegrationFailed
        If it ended early for another reason.
    """
    return path.raise_if_failed()


def write(outcome: Outcome, out: Path, *, command: str = "") -> tuple[Path, ...]:
    """Write the five files of an outcome; all of them or none.

    Raises
    ------
    NotADirectoryError
        If ``out`` is a file.
    """
    with staging(out) as stage:
        write_text(stage / "derivation.md", markdown(outcome, command))
        write_text(stage / "kernel.py", outcome.source)
        outcome.trajectory.save(stage / "trajectory.nc")
        write_json(stage / "report.json", report_data(outcome, command))
        outcome.draw(stage / "figure.png")
    return tuple(out / name for name in FILES)


def check_folder(out: Path) -> None:
    """Refuse a folder that could not take the five files.

    Raises
    ------
    OSError
        If ``out`` or a part of its path is a file, holds a folder under the name of one of the files, or cannot be written.
    """
    nearest = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"--out {out}: {nearest} is a file; give a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {out}: {nearest} cannot be written; give a folder of your own")
    for name in FILES:
        if (out / name).is_dir():
            raise IsADirectoryError(f"--out {out}: it holds a folder named {name}, which a file would replace; remove it")


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` whose files are moved into ``out`` when the block ends well, and vanish when it does not."""
    check_folder(out)
    created = not out.exists()
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield stage
        out.mkdir(exist_ok=True)
        for path in sorted(stage.iterdir()):
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if created and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def report_data(outcome: Outcome, command: str) -> dict[str, Any]:
    """Content of report.json: the contract of ``verify --json`` with more fields for each check."""
    measured = [{"assumption": m.text, "violation": m.violation, "limit": m.limit, "holds": m.holds} for m in outcome.measured]
    return {**outcome.report.to_dict(), "assumptions": measured, "notes": list(outcome.notes), "command": command}


def markdown(outcome: Outcome, command: str) -> str:
    """Content of derivation.md."""
    from derive.printing.objects import describe

    out = [describe(outcome.derivation, format="markdown").replace("## ", "# ", 1), ""]
    if outcome.measured:
        out += ["### Assumptions on these data", "", "| assumption | measured violation | limit | holds |", "|---|---|---|---|"]
        out += [
            f"| {m.text} | {_number(m.violation)} | {m.limit:g} | {'yes' if m.holds else '**no**'} |" for m in outcome.measured
        ]
        out.append("")
    if outcome.notes:
        out += ["### What was done", "", *(f"- {note}" for note in outcome.notes), ""]
    out += ["### Checks", "", "| check | statistic | bound | | reason of the bound |", "|---|---|---|---|---|"]
    for c in outcome.report.checks:
        out.append(f"| {c.claim} | {c.statistic:.3g} | {c.bound:.3g} | {'ok' if c.passed else '**FAILED**'} | {c.reason} |")
    if command:
        out += ["", f"Made by `{command}`."]
    return "\n".join(out).replace("|z|", "abs z") + "\n"


def _number(x: float | None) -> str:
    return "not measurable" if x is None else f"{x:.2e}"
