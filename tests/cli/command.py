"""Runs the command in this process, and a small user's file for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from numerics.cli import app

MODEL = """
from derive import Model, Moments, Rate, dims, grad, matrix, mean, norm2, scalars, vector

N, O = dims("N O")
W, x, y, L = matrix("W", O, N), vector("x", N), vector("y", O), scalars("L")
Sx, Syx = matrix("Sx", N, N), matrix("Syx", O, N)
Syy = matrix("Syy", O, O)
model = Model(
    name="regression", state=W, data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}),
    let={L: norm2(y - W * x) / 2}, learn=Rate({W: -grad(L, W)}), observe={"loss": mean(L)},
)
number = 3
"""


@dataclass(frozen=True, slots=True)
class Done:
    """Exit code and both streams."""

    code: int
    out: str
    err: str


def gradientflow(*arguments: object) -> Done:
    """Run the command; an exception that is no exit is raised again."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def user_file(folder: Path, text: str = MODEL) -> Path:
    """A user's Python file."""
    path = folder / "mine.py"
    path.write_text(text)
    return path
