"""Tables on a terminal, by rich; on anything else the same rows as plain text. Imported by the command line only."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from numerics.report import Report
from numerics.run import Measured

WIDTH = 150  # of text that goes to a file or a pipe, where no terminal sets one


def console() -> Console:
    """Standard output, with colours only on a terminal."""
    made = Console(highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(highlight=False, width=WIDTH)


def print_report(report: Report) -> None:
    """All checks of one system."""
    table = Table(title=f"{report.system}: checks", title_justify="left", box=None, pad_edge=False)
    for heading, justify in (("", "left"), ("check", "left"), ("statistic", "right"), ("bound", "right"), ("remark", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for c in report.checks:
        mark = "[green]ok[/green]" if c.passed else "[bold red]FAILED[/bold red]"
        table.add_row(mark, _plain(c.claim), f"{c.statistic:.2e}", f"{c.bound:.3g}", _plain(c.detail if c.detail else c.reason))
    show = console()
    show.print(table)
    passed = sum(c.passed for c in report.checks)
    show.print(f"{passed} of {len(report.checks)} checks passed" if report.checks else "nothing was checked")


def print_measured(rows: Sequence[Measured]) -> None:
    """Assumptions measured on the data."""
    if not rows:
        return
    table = Table(title="assumptions of the reductions, measured", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "assumption", "violation", "limit"):
        table.add_column(heading)
    for m in rows:
        mark = (
            "[bold red]broken[/bold red]" if not m.holds else "[green]holds[/green]" if m.violation is not None else "by choice"
        )
        table.add_row(mark, _plain(m.text), "" if m.violation is None else f"{m.violation:.2e}", f"{m.limit:g}")
    console().print(table)


def _plain(text: str) -> str:
    """Square brackets are no markup here."""
    return text.replace("[", "\\[")
