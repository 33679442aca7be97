"""The command ``verify``: every claim of a system, or of all systems, as a table or as JSON.

Imported by `numerics.cli` only.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from numerics.cli_errors import CHECK_FAILED, OK, UsageError, guarded
from numerics.cli_show import Settings


@guarded
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A catalogue system, or path.py:object.")] = None,
    all_systems: Annotated[bool, typer.Option("--all", help="Every system of the catalogue.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller simulations.")] = False,
    set: Settings = None,
) -> int:
    """Check every claim of a system: published equations, conserved quantities, closed forms, simulations."""
    from derive.catalog import names
    from numerics.target import resolve
    from numerics.verify import verify as verified

    if (name is None) == (not all_systems):
        raise UsageError("verify: give one NAME, or --all")
    if all_systems and set:
        raise UsageError("verify --all takes no --set: settings belong to one system")
    chosen = names() if all_systems else (name or "",)
    entries = [resolve(one, set or []) for one in chosen]
    reports = [verified(entry, quick=quick, seed=entry.values.get("seed", 0)) for entry in entries]
    if as_json:
        data = [json.loads(report.to_json()) for report in reports]
        print(json.dumps(data if all_systems else data[0], indent=2))
    else:
        from numerics.cli_table import print_report

        for report in reports:
            print_report(report)
    return OK if all(report.passed for report in reports) else CHECK_FAILED
