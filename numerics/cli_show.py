"""The commands ``list``, ``derive`` and ``emit``: they print and write, they integrate nothing.

Imported by `numerics.cli` only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from numerics.cli_errors import UsageError, guarded

Name = Annotated[str, typer.Argument(metavar="NAME", help="A catalogue system, or path.py:object with an Entry or a Model.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the system; repeatable.")]
White = Annotated[bool, typer.Option("--white", help="Reduce under the assumption of white inputs (Sx = I).")]


@guarded
def show_list(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """List the systems of the catalogue."""
    from derive.catalog import load, names

    entries = [load(name) for name in names()]
    if as_json:
        rows = [
            {"name": e.name, "title": e.title, "reference": e.reference, "kind": e.kind, "claims": len(e.claims)}
            for e in entries
        ]
        print(json.dumps(rows, indent=2))
        return 0
    width = max(len(e.name) for e in entries)
    for e in entries:
        print(f"{e.name:<{width}}  {e.title}")
        print(f"{'':<{width}}  {e.reference}")
    return 0


@guarded
def derive(
    name: Name,
    format: Annotated[str, typer.Option("--format", help="text, latex, markdown or json.")] = "text",
    set: Settings = None,
    white: White = False,
) -> int:
    """Derive the equations of a system, its conserved quantities, reductions and closed form."""
    from derive.derivation import derive_all
    from derive.printing.objects import FORMATS, describe
    from numerics.target import resolve

    if format not in FORMATS:
        raise UsageError(f"--format {format}: use one of {', '.join(FORMATS)}")
    entry = resolve(name, set or [])
    print(describe(derive_all(entry.model, white=white, title=entry.title), format=format))
    return 0


@guarded
def emit(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")] = Path("kernel.py"),
    backend: Annotated[str, typer.Option("--backend", help="numpy, numba or mpmath.")] = "numpy",
    set: Settings = None,
    reduced: Annotated[bool, typer.Option("--reduced", help="The reduced system instead of the full one.")] = False,
    white: White = False,
) -> int:
    """Write the equations of a system as a Python file that runs without this project."""
    import codegen
    from derive.derivation import derive_all, full_flow
    from numerics.target import resolve

    if backend not in ("numpy", "numba", "mpmath"):
        raise UsageError(f"--backend {backend}: use numpy, numba or mpmath")
    if output.is_dir():
        raise UsageError(f"--output {output}: this is a folder; give the name of a file in it")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}")
    model = resolve(name, set or []).model
    if reduced:
        made = derive_all(model, white=white)
        if not made.reductions:
            raise UsageError(f"--reduced: {name} has no reduction; {'; '.join(made.refusals) or 'none is known for its kind'}")
        system = made.reductions[-1].system
    else:
        system = full_flow(model)
    codegen.emit(system, output, backend)
    print(f"{output}: {system.name}, backend {backend}")
    return 0
