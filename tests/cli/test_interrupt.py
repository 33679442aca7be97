"""Ctrl-C at several moments of `verify`, `run` and `emit`: exit code 130, no temporary file, files of an earlier run untouched.

The signal is sent by a file of the user, so that it comes at a known moment: while its own function is called, and a second
later, when an integration, a simulation or a compilation is at work.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AFTER = """
import os, signal, threading
from derive.catalog import load

def entry(K=2, N=2000, time=2000.0):
    threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGINT)).start()
    return load("goldt_2019_teacher_student", K=K, N=N, time=time)
"""
INSIDE = """
import os, signal
import importlib
from derive.catalog import load

module = importlib.import_module("numerics.{module}")
inner = module.{function}

def pressed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
    return inner(*args, **kwargs)

module.{function} = pressed

def entry(K=2, N=40, time=1.0):
    return load("goldt_2019_teacher_student", K=K, N=N, time=time, seeds=3)
"""


def interrupted(tmp_path: Path, text: str, *arguments: str) -> None:
    """The command on a user's file ends with 130 and leaves the folder as it was, but for its cache of kernels."""
    path = tmp_path / "mine.py"
    path.write_text(text)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("complete")
    command = [sys.executable, "-m", "numerics.cli", arguments[0], f"{path}:entry", *arguments[1:]]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    half = [name for name in left if Path(name).name.startswith((".", "tmp")) or name.endswith((".tmp", ".part"))]
    assert not half
    assert [name for name in left if not name.startswith("cache")] == ["mine.py", "out/report.json"]
    assert (tmp_path / "out" / "report.json").read_text() == "complete"


@pytest.mark.parametrize("function", ["unpack_rows", "_right_shape"])
def test_an_integration_of_verify_stops_the_command(function: str, tmp_path: Path) -> None:
    """Not a failed row and on to the next claim."""
    interrupted(tmp_path, INSIDE.format(module="integrate", function=function), "verify")


def test_a_right_hand_side_of_verify_stops_the_command(tmp_path: Path) -> None:
    """Inside the time loop Ctrl-C becomes a status of the trajectory, which must not become a failed claim."""
    interrupted(tmp_path, INSIDE.format(module="steppers", function="_check_state"), "verify")


def test_a_simulation_of_run_stops_the_command(tmp_path: Path) -> None:
    interrupted(tmp_path, INSIDE.format(module="run_online", function="run_overlaps"), "run", "--out", str(tmp_path / "out"))


def test_the_figure_of_run_is_all_or_nothing(tmp_path: Path) -> None:
    interrupted(tmp_path, INSIDE.format(module="plot", function="figure"), "run", "--out", str(tmp_path / "out"))


@pytest.mark.parametrize("delay", [0.5, 2.5])
def test_a_compilation_is_interrupted(delay: float, tmp_path: Path) -> None:
    """At 0.5 s the derivation is at work, at 2.5 s the compiler or the first long simulation."""
    interrupted(tmp_path, AFTER.format(delay=delay), "run", "--out", str(tmp_path / "out"))
