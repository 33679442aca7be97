"""The command ``run``: the main job, from a spec to five files.

Imported by `numerics.cli` only.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from numerics.cli_errors import CHECK_FAILED, OK, guarded
from numerics.cli_show import Name, Settings


@guarded
def run(
    name: Name,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the five files.")] = Path("out"),
    data: Annotated[str | None, typer.Option("--data", help="digits, file.npz (X, Y), or x.csv,y.csv.")] = None,
    whiten: Annotated[
        bool, typer.Option("--whiten", help="Whiten the inputs (of --data, or synthetic), which the mode reduction needs.")
    ] = False,
    set: Settings = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Root of all random streams.")] = None,
) -> int:
    """Derive, integrate, simulate and compare; write derivation, kernel, trajectory, report and figure."""
    from numerics import data as datasets
    from numerics.progress import progress_bar
    from numerics.run import check_folder, write
    from numerics.run import run as started
    from numerics.target import resolve

    check_folder(out)
    entry = resolve(name, set or [])
    items = None
    if data is not None:
        items = datasets.centre(datasets.load(data))
        items = datasets.whiten(items) if whiten else datasets.rescale(items)
        print(items, end="\n\n")
    with progress_bar(name) as show:
        outcome = started(entry, data=items, whitened=whiten, seed=seed, progress=show)
    from derive.printing.objects import describe
    from numerics.cli_table import print_measured, print_report

    print(describe(outcome.derivation), end="\n\n")
    print_measured(outcome.measured)
    for note in outcome.notes:
        print(f"- {note}")
    print_report(outcome.report)
    for path in write(outcome, out, command=_command()):
        print(path)
    return OK if outcome.report.passed else CHECK_FAILED


def _command() -> str:
    """The command line, so that a report says how to repeat it."""
    return shlex.join(["gradientflow", *sys.argv[1:]])
