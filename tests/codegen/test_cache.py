"""The cache: private, whole files only, rebuilt on any damage, with a warning and a private directory if it cannot be used."""

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codegen import cache, compile
from tests.codegen import flows

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import numpy as np, sys
from codegen import compile
from tests.codegen import flows
kernel = compile(flows.modes(), "numba")
(du,) = kernel.rhs(0.0, np.array([0.5]), np.array([2.0]), 1.0)
assert du[0] == 1.5, du
print(kernel.path)
"""


def run_child(directory):
    env = {**os.environ, "GRADIENTFLOW_CACHE": str(directory)}
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()), done.stderr


def test_the_directory_belongs_to_its_owner_only(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIENTFLOW_CACHE", str(tmp_path / "new" / "cache"))
    kernel = compile(flows.modes(), "numpy")
    assert kernel.path.parent == tmp_path / "new" / "cache"
    assert stat.S_IMODE(kernel.path.parent.stat().st_mode) == 0o700
    assert kernel.path.read_text() == kernel.source
    assert compile(flows.modes(), "numpy").rhs is kernel.rhs  # the same module: nothing is loaded twice


def test_a_damaged_source_file_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIENTFLOW_CACHE", str(tmp_path))
    kernel = compile(flows.modes(), "numpy")
    for damage in ("", kernel.source[:100], "raise SystemExit", "\udcff"):
        kernel.path.write_text(damage, errors="surrogateescape")
        again = cache.store(kernel.source, kernel.digest, tmp_path)
        assert again.read_text() == kernel.source
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]  # no temporary file is left


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path(os.environ["BOMB"]),))


def test_damaged_and_poisoned_compiled_files_are_not_loaded(tmp_path, monkeypatch):
    """Intact files are used as they are; truncated and poisoned ones are built again, and the pickle is never executed."""
    bomb = tmp_path / "bomb"
    monkeypatch.setenv("BOMB", str(bomb))
    path, _ = run_child(tmp_path / "cache")
    files = sorted((path.parent / "__pycache__").glob(f"{path.stem}.*.nb*"))
    assert {p.suffix for p in files} == {".nbi", ".nbc"}
    before = {p.name: p.stat().st_mtime_ns for p in files}
    assert cache.verify(path)
    run_child(tmp_path / "cache")
    assert {p.name: p.stat().st_mtime_ns for p in files} == before
    for p in files:
        p.write_bytes(p.read_bytes()[:50] if p.suffix == ".nbc" else pickle.dumps(Bomb()))
    _, errors = run_child(tmp_path / "cache")
    assert not bomb.exists()
    assert not errors
    pickle.loads(pickle.dumps(Bomb()))  # the bomb does work
    assert bomb.exists()


@pytest.mark.parametrize("kind", ["file", "missing parent"])
def test_an_unusable_directory_gives_a_warning_and_a_private_one(kind, tmp_path, monkeypatch):
    blocker = tmp_path / "blocker"
    blocker.write_text("")
    monkeypatch.setenv("GRADIENTFLOW_CACHE", str(blocker if kind == "file" else blocker / "cache"))
    with pytest.warns(UserWarning, match=r"the kernel cache cannot be used .*Set GRADIENTFLOW_CACHE"):
        where = cache.directory()
    assert stat.S_IMODE(where.stat().st_mode) == 0o700


def test_a_directory_that_others_may_write_to_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    assert cache.unusable(tmp_path) == "others may write to it"
    tmp_path.chmod(0o700)
    assert cache.unusable(tmp_path) == ""


def test_a_directory_without_write_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "TemporaryFile", _refuse)
    assert cache.unusable(tmp_path) == "Permission denied"


def _refuse(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


def test_a_full_disk_leads_to_a_private_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIENTFLOW_CACHE", str(tmp_path))
    write = cache.write

    def full(path, text):
        if path.parent == tmp_path:
            raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(cache, "write", full)
    with pytest.warns(UserWarning, match="No space left"):
        kernel = compile(flows.modes().replace(name="full disk"), "numpy")
    assert kernel.path.parent != tmp_path
    assert np.array_equal(kernel.rhs(0.0, np.array([0.5]), np.array([2.0]), 1.0)[0], [1.5])


def test_the_digest_depends_on_source_backend_and_versions(monkeypatch):
    base = cache.digest("a", "numba")
    assert base != cache.digest("b", "numba")
    assert base != cache.digest("a", "numpy")
    monkeypatch.setattr(cache, "_version", lambda package: "other")
    assert base != cache.digest("a", "numba")
