"""The command ``gradientflow``:  list | derive | emit | run | verify.

Commands live in ``cli_*.py``; each imports what it needs when it runs, so that ``gradientflow --help`` answers at once.
Imported by nobody.
"""

from __future__ import annotations

import typer

from numerics.cli_run import run
from numerics.cli_show import derive, emit, show_list
from numerics.cli_verify import verify

app = typer.Typer(
    name="gradientflow",
    help="From a learning problem to verified low-dimensional dynamics.",
    epilog="Exit codes: 0 ok, 1 a check failed, 2 usage, 3 invalid spec or bad data, 4 numerical failure, 130 Ctrl-C.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
app.command("list")(show_list)
app.command("derive")(derive)
app.command("emit")(emit)
app.command("run")(run)
app.command("verify")(verify)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
