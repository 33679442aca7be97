"""Cache of kernel files: one file per digest of (source, backend, versions), in a directory that only its owner may write.

A file whose text differs from the source is written again (temporary file, then ``os.replace``). Numba's own cache beside
it is believed only if every file has the hash that was recorded after the last compilation; otherwise it is deleted and
built again. If the directory cannot be used, a private temporary one is used instead, with a warning. Imported by codegen
only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

VARIABLE = "GRADIENTFLOW_CACHE"


def digest(source: str, backend: str) -> str:
    """SHA-256 of source, backend, and the versions that decide what a compiled kernel is.

    >>> digest("a", "numpy") == digest("a", "numpy"), digest("a", "numpy") == digest("a", "numba")
    (True, False)
    """
    parts = [source, backend, sys.version, _version("numpy")]
    if backend == "numba":
        parts += [_version("numba"), _version("llvmlite")]
    if backend == "mpmath":
        parts.append(_version("mpmath"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _version(package: str) -> str:
    from importlib.metadata import version

    return f"{package} {version(package)}"


def directory() -> Path:
    """The cache directory: $GRADIENTFLOW_CACHE, or ~/.cache/gradientflow; a private temporary one if that is not usable."""
    wanted = Path(os.environ.get(VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradientflow")
    reason = unusable(wanted)
    return private(f"{wanted}: {reason}") if reason else wanted


def unusable(path: Path) -> str:
    """Why a directory cannot hold the cache (empty if it can); it is made with mode 0700 if it does not exist."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        if not stat.S_ISDIR(info.st_mode):
            return "not a directory"
        if hasattr(os, "getuid") and info.st_uid != os.getuid():
            return "it belongs to another user"
        if stat.S_IMODE(info.st_mode) & 0o022:
            return "others may write to it"
        with tempfile.TemporaryFile(dir=path):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


@lru_cache(maxsize=1)
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="gradientflow-"))


def private(reason: str) -> Path:
    """A temporary directory of this process, with a warning that says why."""
    path = _temporary()
    warnings.warn(
        f"the kernel cache cannot be used ({reason}); kernels go to {path} for now. Set {VARIABLE} to a directory of your own",
        stacklevel=4,
    )
    return path


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def store(text: str, key: str, where: Path) -> Path:
    """The file of a source in the cache, written if it is missing or damaged."""
    path = where / f"kernel_{key[:24]}.py"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return path
    write(path, text)
    purge(path)
    return path


def _compiled(path: Path) -> list[Path]:
    """Compiled files beside a kernel file (bytecode and Numba's cache)."""
    return sorted((path.parent / "__pycache__").glob(f"{path.stem}.*"))


def _manifest(path: Path) -> Path:
    return path.with_suffix(".json")


def _hashes(path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in _compiled(path)}


def verify(path: Path) -> bool:
    """Are the compiled files those that were recorded? If not they are deleted."""
    try:
        recorded = json.loads(_manifest(path).read_text(encoding="utf-8"))
        if isinstance(recorded, dict) and recorded == _hashes(path):
            return True
    except (OSError, ValueError):
        pass
    purge(path)
    return False


def record(path: Path) -> None:
    """Record the hashes of the compiled files; without a record they are built again next time."""
    with contextlib.suppress(OSError):
        write(_manifest(path), json.dumps(_hashes(path), indent=1, sort_keys=True) + "\n")


def purge(path: Path) -> None:
    """Delete the compiled files of a kernel."""
    for p in (*_compiled(path), _manifest(path)):
        with contextlib.suppress(OSError):
            p.unlink()
