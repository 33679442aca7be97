"""Data sets: loading, checking, centring and whitening; every step says what it did.

Items are rows: X has shape (P, n), Y has shape (P, m). Centring subtracts the mean item. Whitening goes to the principal
coordinates of the inputs and divides by their standard deviations,

    x -> diag(lambda)^(-1/2) E^T (x - mean x),   E diag(lambda) E^T = E[(x - mean x)(x - mean x)^T],

so that the input correlation is the identity of the kept rank: the number of lambda_i > RANK_TOLERANCE * max(lambda).
Imported by the command line; used by people to prepare arrays for ``Model.bind``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.errors import InvalidSpec

#: Relative threshold on the variances below which an input direction counts as absent: float64 sums over 10^3 to 10^5 items
#: leave 1e-15..1e-13 of the largest variance in a direction that is exactly constant.
RANK_TOLERANCE = 1e-10

#: Entries and their spread must lie between these, so that squares and sums of squares neither overflow nor vanish.
SMALLEST, LARGEST = 1e-100, 1e100


class BadData(InvalidSpec):
    """Arrays that cannot be used as data. The message names the array, the entry and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Inputs and targets, checked.

    Attributes
    ----------
    name : str
    X, Y : arrays of shape (P, n) and (P, m), float64
    notes : tuple of str
        What was done to the arrays since they were read, one sentence each.
    """

    name: str
    X: NDArray[np.float64]
    Y: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def moments(self) -> dict[str, NDArray[np.float64]]:
        """Second moments Sx = X^T X / P, Syx = Y^T X / P, Syy = Y^T Y / P."""
        count = len(self.X)
        return {"Sx": self.X.T @ self.X / count, "Syx": self.Y.T @ self.X / count, "Syy": self.Y.T @ self.Y / count}

    def __str__(self) -> str:
        shape = f"{self.name}: {len(self.X)} items, {self.X.shape[1]} inputs, {self.Y.shape[1]} targets"
        return "\n".join([shape, *(f"  {note}" for note in self.notes)])


def load(source: str) -> Dataset:
    """Read a data set: ``digits``, a ``.npz`` file with arrays X and Y, or a pair ``inputs.csv,targets.csv``.

    Parameters
    ----------
    source : str
        A name or a path; two paths with a comma between them for CSV files (one item per line, a header line is allowed).

    Raises
    ------
    BadData
        If the file is missing or unreadable, or the arrays are not usable (see `check`).
    """
    if source == "digits":
        return _digits()
    parts = [Path(part.strip()) for part in source.split(",")]
    for part in parts:
        if part.suffix not in (".npz", ".csv"):
            raise BadData(f"--data {source}: not a data set that I know; use digits, a file.npz with X and Y, or x.csv,y.csv")
        if not part.is_file():
            raise BadData(f"--data {source}: there is no file {part}")
    if len(parts) == 1 and parts[0].suffix == ".npz":
        return _from_npz(parts[0])
    if len(parts) == 2 and all(part.suffix == ".csv" for part in parts):
        return check(_read_csv(parts[0]), _read_csv(parts[1]), name=parts[0].stem)
    raise BadData(f"--data {source}: give one .npz file, or two .csv files with a comma between them: x.csv,y.csv")


def check(X: Any, Y: Any, *, name: str = "data") -> Dataset:
    """Check two arrays and wrap them as a data set.

    Raises
    ------
    BadData
        For a wrong dtype or number of axes, different numbers of items, fewer than two items, NaN or infinity (with the index
        of the first), or an array without variance.

    >>> check([[1.0, 2.0], [3.0, 5.0]], [[0.0], [1.0]]).X.shape
    (2, 2)
    """
    x, y = _checked("X", X), _checked("Y", Y)
    if len(x) != len(y):
        raise BadData(f"X has {len(x)} items (rows) but Y has {len(y)}: row p of Y must be the target of row p of X")
    if len(x) < 2:
        raise BadData(f"X has {len(x)} item: correlations need at least two; rows are items, so transpose X if it is (n, P)")
    for symbol, array in (("X", x), ("Y", y)):
        if not np.ptp(array, axis=0).any():
            raise BadData(
                f"{symbol} has zero variance: every column of it is constant, so there is nothing to learn from it; "
                "give features and targets that differ between items"
            )
        if np.abs(array).max() > LARGEST or np.ptp(array, axis=0).max() < SMALLEST:
            raise BadData(
                f"{symbol} has entries up to {np.abs(array).max():.3g}: squares of such numbers overflow or vanish; "
                f"divide {symbol} by their size"
            )
    return Dataset(name=name, X=x, Y=y)


def _checked(symbol: str, array: Any) -> NDArray[np.float64]:
    """One array as float64 of shape (P, n), or an error that names the first bad entry."""
    try:
        raw = np.asarray(array)
    except ValueError as error:
        raise BadData(f"{symbol} is not a rectangular array: {error}") from error
    if raw.dtype.kind not in "fiub":
        raise BadData(f"{symbol} has dtype {raw.dtype}: real numbers are needed; convert it with {symbol}.astype(float)")
    if raw.ndim != 2:
        remedy = f"use {symbol}[:, None] for one column" if raw.ndim == 1 else "flatten each item to one row"
        raise BadData(f"{symbol} has shape {raw.shape}: two axes (items, features) are needed; {remedy}")
    if 0 in raw.shape:
        raise BadData(
            f"{symbol} has shape {raw.shape}: it is empty; give one row for each item and one column for each feature"
        )
    out = np.ascontiguousarray(raw, dtype=np.float64)
    bad = ~np.isfinite(out)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        count = int(bad.sum())
        raise BadData(
            f"{symbol}[{row}, {column}] is {out[row, column]} ({count} such {'entry' if count == 1 else 'entries'}): "
            "remove these items or fill the entries in"
        )
    return out


def centre(data: Dataset) -> Dataset:
    """Subtract the mean item from inputs and targets."""
    note = "centred: the means of X and Y were subtracted"
    return replace(data, X=data.X - data.X.mean(axis=0), Y=data.Y - data.Y.mean(axis=0), notes=(*data.notes, note))


def rescale(data: Dataset) -> Dataset:
    """Divide the inputs by one number, so that the largest eigenvalue of Sx is 1 (sets the unit of time, nothing else)."""
    scale = float(np.sqrt(np.linalg.eigvalsh(data.moments["Sx"])[-1]))
    note = f"rescaled: X was divided by {scale:.6g}, the square root of the largest eigenvalue of Sx"
    return replace(data, X=data.X / scale, notes=(*data.notes, note))


def whiten(data: Dataset) -> Dataset:
    """Whiten the inputs: Sx becomes the identity on the directions that carry variance.

    Raises
    ------
    BadData
        If the items do not determine the correlation: they span every direction that so many items can span.

    >>> rng = np.random.default_rng(0)
    >>> white = whiten(centre(check(rng.normal(size=(50, 3)) * [1, 5, 0.1], rng.normal(size=(50, 2)))))
    >>> bool(np.allclose(white.moments["Sx"], np.eye(3)))
    True
    """
    variances, directions = np.linalg.eigh(data.moments["Sx"])
    keep = variances > RANK_TOLERANCE * variances[-1]
    rank, n, count = int(keep.sum()), data.X.shape[1], len(data.X)
    if rank >= count - 1:  # centred items span at most P - 1 directions
        raise BadData(
            f"{count} items span {rank} of {n} input directions, all that they can; whitening would copy them: give more items"
        )
    basis = directions[:, keep][:, ::-1] / np.sqrt(variances[keep][::-1])
    note = (
        f"whitened: rank {rank} of {n} inputs (variances above {RANK_TOLERANCE:g} of the largest, kept ratio "
        f"{variances[-1] / variances[keep][0]:.3g}); inputs are principal coordinates of unit variance"
    )
    return replace(data, X=np.ascontiguousarray(data.X @ basis), notes=(*data.notes, note))


def synthetic(inputs: int, targets: int, *, items: int = 200, seed: int = 0) -> Dataset:
    """Seeded correlated items, centred: normal inputs of unequal variance, targets a random linear map of them plus noise."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    X = rng.standard_normal((items, inputs)) * np.linspace(1.0, 0.5, inputs)
    Y = X @ rng.standard_normal((inputs, targets)) / np.sqrt(inputs) + 0.3 * rng.standard_normal((items, targets))
    note = f"no --data: {items} seeded synthetic items, {inputs} inputs, {targets} targets (seed {seed})"
    made = centre(check(X, Y, name="synthetic"))
    return replace(made, notes=(note, *made.notes))


def _digits() -> Dataset:
    """Scikit-learn's digits: 1797 images of 8 x 8 pixels, targets one-hot."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise BadData("--data digits needs scikit-learn, which is not installed: pip install 'gradientflow[data]'") from error
    bunch = load_digits()
    made = check(bunch.data, np.eye(10)[bunch.target], name="digits")
    return replace(made, notes=("scikit-learn's digits: 8 x 8 pixels (0 to 16), ten classes as one-hot targets",))


def _from_npz(path: Path) -> Dataset:
    """Arrays X and Y of an .npz file; pickled objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in ("X", "Y") if key not in file]
            if missing:
                raise BadData(f"{path} has no array {missing[0]} (found: {', '.join(sorted(file)) or 'nothing'}); save X and Y")
            return check(file["X"], file["Y"], name=path.stem)
    except BadData:
        raise
    except Exception as error:
        raise BadData(
            f"{path} cannot be read as .npz without pickled objects: {error}; write it by np.savez(path, X=X, Y=Y)"
        ) from error


def _read_csv(path: Path) -> NDArray[np.float64]:
    """One item per line; the first line may be a header."""
    try:
        content = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}; check the permissions of the file") from error
    lines = [line for line in content.splitlines() if line.strip()]
    rows: list[list[float]] = []
    for number, line in enumerate(lines):
        cells = [cell.strip() for cell in line.split(",")]
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            if number:
                bad = next(i for i, cell in enumerate(cells) if not _is_number(cell))
                raise BadData(
                    f"{path}, line {number + 1}, column {bad + 1}: {cells[bad][:40]!r} is not a number; "
                    "separate columns by commas, and fill in or remove missing entries"
                ) from None
        if rows and len(rows[-1]) != len(rows[0]):
            raise BadData(
                f"{path}, line {number + 1}: {len(rows[-1])} columns, but the first item has {len(rows[0])}; "
                "give every item the same number of columns"
            )
    if not rows:
        raise BadData(f"{path} holds no numbers; write one item per line, columns separated by commas")
    return np.array(rows)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
