"""Tables of wrong input: one message with the remedy, the documented exit code, no traceback, nothing written.

Exit codes are those of docs/cli.md: 2 usage, 3 invalid spec or bad data, 4 numerical failure. A case of a table that passes
would fail here by its code, and by the folder that it writes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.command import MODEL, gradientflow, user_file

DEEP, ONLINE = "saxe_2014_deep_linear", "goldt_2019_teacher_student"
X = np.random.default_rng(0).normal(size=(20, 3))


def refused(tmp_path: Path, code: int, message: str, *arguments: object) -> None:
    """The command ends with this code and message, and leaves no file behind."""
    before = sorted(tmp_path.rglob("*"))
    done = gradientflow(*arguments)
    assert done.code == code, done.out + done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert "Warning" not in done.err
    assert sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in p.parts) == before


@pytest.mark.parametrize(
    ("system", "setting", "code", "remedy"),
    [
        (DEEP, "time=nan", 3, "give a finite number"),
        (DEEP, "time=inf", 3, "give a finite number"),
        (DEEP, "time=-1", 3, "give a positive time"),
        (ONLINE, "time=0", 3, "give a positive time"),
        (DEEP, "time=1e300", 3, "at most 1e+09"),
        (DEEP, "u0=nan", 3, "give a finite number"),
        (DEEP, "u0=-1", 3, "give a positive number"),
        (DEEP, "tau=-1", 3, "tau is declared positive"),
        (DEEP, "seed=-1", 3, "the root of all random streams must be an integer from 0"),
        (DEEP, "batch=1e9", 3, "batch must be an integer from 1 to 1e+06"),
        (DEEP, "seeds=2.5", 2, "an integer is needed"),
        (DEEP, "depth=1e400", 2, "an integer is needed"),
        (DEEP, "tau=0", 4, "the right-hand side is not finite"),
        (ONLINE, "K=0", 3, "K counts entries"),
        (ONLINE, "K=-2", 3, "K counts entries"),
        (ONLINE, "M=0", 3, "M counts entries"),
        (ONLINE, "N=1e300", 3, "N counts entries"),
        (ONLINE, "N=nan", 2, "an integer is needed"),
        (ONLINE, "time=inf", 3, "give a finite number"),
        (ONLINE, "eta=-1", 3, "eta is declared positive"),
        (ONLINE, "sigma=nan", 3, "give a finite number"),
        (ONLINE, "train=all", 3, "train 'first', 'readout' or 'both'"),
        (ONLINE, "learn_v=1", 2, "did you mean 'eta_v'"),
    ],
)
def test_settings(system: str, setting: str, code: int, remedy: str, tmp_path: Path) -> None:
    refused(tmp_path, code, remedy, "run", system, "--set", setting, "--out", tmp_path / "out")


@pytest.mark.parametrize(("setting", "code", "remedy"), [("K=0", 3, "K counts entries"), ("seed=-1", 3, "from 0")])
def test_settings_of_verify(setting: str, code: int, remedy: str, tmp_path: Path) -> None:
    refused(tmp_path, code, remedy, "verify", ONLINE, "--set", setting)


@pytest.mark.parametrize(
    ("arrays", "remedy"),
    [
        ({"X": X * 1e200, "Y": X}, "divide X by their size"),
        ({"X": X * 1e-200, "Y": X}, "divide X by their size"),
        ({"X": X, "Y": X * 1e-300}, "divide Y by their size"),
        ({"X": X.astype(str), "Y": X}, "X.astype(float)"),
        ({"X": X.astype("M8[s]"), "Y": X}, "X.astype(float)"),
        ({"X": X[:, :, None], "Y": X}, "flatten each item to one row"),
        ({"X": X, "Y": X[:, 0]}, "Y[:, None]"),
        ({"X": np.array(1.0), "Y": X}, "two axes"),
        ({"X": X, "Y": X[:, :0]}, "one column for each feature"),
        ({"X": np.full((20, 2), 0.1), "Y": X}, "differ between items"),
        ({}, "save X and Y"),
    ],
)
def test_arrays(arrays: dict[str, np.ndarray], remedy: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    refused(tmp_path, 3, remedy, "run", DEEP, "--data", tmp_path / "bad.npz", "--out", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"\x93NUMPY"])
def test_a_file_that_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    refused(tmp_path, 3, "np.savez(path, X=X, Y=Y)", "run", DEEP, "--data", tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "one item per line"),
        ("a,b\n", "one item per line"),
        ("1,2\n3\n", "line 2: 1 columns, but the first item has 2; give every item the same number"),
        ("1,2\n3,\n", "line 2, column 2: '' is not a number; separate columns by commas, and fill in"),
        ("1;2\n3;4\n5;6\n", "separate columns by commas"),
        ("1,2\n3,nan\n5,6\n", "X[1, 1] is nan"),
        ("1,2\n", "X has 1 items (rows) but Y has 3"),
    ],
)
def test_csv(text: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    (tmp_path / "y.csv").write_text("1\n2\n3\n")
    refused(tmp_path, 3, remedy, "run", DEEP, "--data", f"{tmp_path / 'x.csv'},{tmp_path / 'y.csv'}")


def test_a_byte_order_mark_is_no_header() -> None:
    """Two roads: the number of items counted by hand, and by the reader, which would take a marked first line for a header."""
    from tempfile import TemporaryDirectory

    from numerics.data import load

    with TemporaryDirectory() as folder:
        for name in ("x.csv", "y.csv"):
            Path(folder, name).write_text("\ufeff1,2\n3,4\n2,9\n", encoding="utf-8")
        assert load(f"{folder}/x.csv,{folder}/y.csv").X.shape == (3, 2)


def test_constant_columns_are_no_error(tmp_path: Path) -> None:
    """Digits have them: they are dropped by the rank when the inputs are whitened."""
    from numerics.data import centre, check, whiten

    white = whiten(centre(check(np.c_[X, np.full(20, 0.1)], X)))
    assert white.X.shape == (20, 3)  # the rank of four columns, one of them constant


@pytest.mark.parametrize(
    ("text", "code", "remedy"),
    [
        ("def f(:\n", 3, "SyntaxError"),
        ("1 / 0\n", 3, "ZeroDivisionError: division by zero (line 1); mend the file"),
        (
            "from derive import dims, matrix\nW = matrix('W', *dims('K N'))\nW + 1\n",
            3,
            "TypeError: Mix of Matrix and Scalar symbols (line 3)",
        ),
        ("import sys; sys.exit(0)\n", 3, "SystemExit"),
        ("import nowhere_to_be_found\n", 3, "No module named 'nowhere_to_be_found'"),
        ("x = 1\0", 3, "null bytes"),
        ("", 2, "defines no object 'model'"),
        ("model = 3\n", 3, "an Entry, a Model, or a function that returns one is needed"),
        ("model = len\n", 3, "give every argument one"),
        ("def model():\n    raise ValueError('boom')\n", 3, "ValueError: boom (line 2); mend the file"),
        ("def model():\n    return 3\n", 3, "an Entry or a Model is needed"),
        ("def model(a):\n    return a\n", 3, "argument a has no default"),
        ("def __getattr__(name):\n    raise ValueError(name)\n", 2, "defines no object 'model'"),
    ],
)
def test_files_of_users(text: str, code: int, remedy: str, tmp_path: Path) -> None:
    refused(tmp_path, code, remedy, "derive", f"{user_file(tmp_path, text)}:model")


@pytest.mark.parametrize(
    ("arguments", "code", "remedy"),
    [
        (["--set", "N=0"], 3, "N counts entries"),
        (["--set", "N=-1"], 3, "N counts entries"),
        (["--set", "N=2.5"], 2, "an integer is needed"),
        (["--set", "NN=2"], 2, "did you mean 'N'"),
        (["--set", "time=nan"], 3, "give a finite number"),
        (["--set", "seeds=two"], 2, "is not a number"),
        (["--set", "scale=0"], 3, "give a positive number"),
    ],
)
def test_settings_of_users_models(arguments: list[str], code: int, remedy: str, tmp_path: Path) -> None:
    refused(tmp_path, code, remedy, "run", f"{user_file(tmp_path)}:model", *arguments, "--out", tmp_path / "out")


def test_values_of_users_entries(tmp_path: Path) -> None:
    text = MODEL + "\nfrom derive import Entry\nentry = Entry(name='a', model=model, values={'N': 'three'})\n"
    refused(tmp_path, 3, "N='three' is no number", "run", f"{user_file(tmp_path, text)}:entry", "--out", tmp_path / "out")


def test_out_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    refused(tmp_path, 2, "is a file; give a folder", "run", DEEP, "--out", tmp_path / "file" / "out")
    refused(tmp_path, 2, "is a file; give a folder", "run", DEEP, "--out", tmp_path / "file")


def test_out_that_holds_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "out" / "report.json").mkdir(parents=True)
    refused(tmp_path, 2, "holds a folder named report.json", "run", DEEP, "--out", tmp_path / "out")


def test_out_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "os.access", lambda path, mode: False
    )  # root may write everywhere, so the mode of a folder says nothing
    refused(tmp_path, 2, "give a folder of your own", "run", DEEP, "--out", tmp_path / "out")


def test_a_folder_with_other_files_keeps_them(tmp_path: Path) -> None:
    from numerics.run import staging

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("precious")
    with staging(tmp_path / "out") as stage:
        (stage / "report.json").write_text("{}")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["notes.txt", "report.json"]


@pytest.mark.parametrize(("output", "remedy"), [(".", "this is a folder"), ("nowhere/k.py", "there is no folder")])
def test_output_of_emit(output: str, remedy: str, tmp_path: Path) -> None:
    refused(tmp_path, 2, remedy, "emit", DEEP, "-o", tmp_path / output)


def test_errors_of_the_system_are_told_without_traceback() -> None:
    """A full disk, and memory that does not suffice, cannot be made here; their exceptions can."""
    from numerics.cli_errors import exit_code, message

    full = OSError(28, "No space left on device", "out")
    assert (exit_code(full), exit_code(MemoryError("9 TB"))) == (2, 3)
    assert message(full) == "out: No space left on device; nothing was written there, give another place"
    assert "lower the sizes" in message(MemoryError("9 TB"))
