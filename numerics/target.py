"""What a NAME on the command line means: a catalogue system, or ``path.py:object`` with an `Entry`, a `Model`, or a function.

``--set key=value`` gives settings: arguments of a catalogue entry or of a function, or else sizes and values of the spec.
Imported by the command line only.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from derive.catalog import load, settings, suggestion
from derive.claims.entry import Entry
from derive.errors import DerivationError, InvalidSpec
from derive.online.population import is_population
from derive.spec.lowered import LoweredUpdate
from derive.spec.model import Model
from numerics.cli_errors import UsageError
from numerics.run_settings import KINDS


def resolve(name: str, given: Sequence[str] = ()) -> Entry:
    """The `Entry` that a NAME and its ``--set`` options mean.

    Raises
    ------
    UsageError
        If the file, the object or a setting does not exist, or a value has the wrong kind.
    InvalidSpec
        If the user's file raises, or the object is neither Entry nor Model nor a function that returns one.

    >>> resolve("saxe_2014_deep_linear", ["depth=3"]).model.lowered.state
    ('W1', 'W2', 'W3')
    """
    if ".py:" in name:
        path, _, attribute = name.rpartition(":")
        return _entry(_object(Path(path), attribute), name, given)
    entry: Entry = load(name, **converted(given, settings(name), name))
    return entry


def converted(given: Sequence[str], known: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """``key=value`` texts as values of the kinds of the defaults.

    >>> converted(["depth=3", "eta=0.5"], {"depth": 2, "eta": 1.0}, "demo")
    {'depth': 3, 'eta': 0.5}
    """
    out: dict[str, Any] = {}
    for text in given:
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key or not value:
            raise UsageError(f"--set {text}: write --set key=value")
        if key not in known:
            raise UsageError(f"--set {text}: {owner} has no setting {key!r}; {suggestion(key, tuple(known))}")
        if key in out:
            raise UsageError(f"--set {text}: {key} is set twice")
        out[key] = _value(text, value, known[key])
    return out


def _value(text: str, value: str, default: Any) -> Any:
    """One value; its kind is that of the default (a number, if the default is None)."""
    if isinstance(default, bool):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if value.lower() not in words:
            raise UsageError(f"--set {text}: write true or false")
        return words[value.lower()]
    if isinstance(default, str):
        return value
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"--set {text}: {value!r} is not a number") from None
    if isinstance(default, int):
        if not number.is_integer():
            raise UsageError(f"--set {text}: an integer is needed")
        return int(number)
    return int(value) if default is None and value.lstrip("+-").isdigit() else number


def _object(path: Path, attribute: str) -> Any:
    """Execute the user's file and take the object out of it."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}; write path/to/file.py:object")
    spec = importlib.util.spec_from_file_location(f"_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except DerivationError:
        raise
    except (Exception, SystemExit) as error:
        raise _raised(path, error) from error
    if attribute not in vars(module):
        kinds = (Entry, Model)
        found = tuple(n for n in vars(module) if isinstance(getattr(module, n), kinds))
        raise UsageError(f"{path} defines no object {attribute!r}; {suggestion(attribute, found)}")
    return vars(module)[attribute]


def _raised(path: Path, error: BaseException) -> InvalidSpec:
    """The user's code failed: with what, and in which line."""
    return InvalidSpec(f"{path} raised {type(error).__name__}: {error}{_line(error, path)}; mend the file")


def _line(error: BaseException, path: Path) -> str:
    """The line of the user's file at which an exception passed."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


def _entry(made: Any, name: str, given: Sequence[str]) -> Entry:
    """An Entry from what the user's object is."""
    if isinstance(made, Model):
        made = as_entry(made)
    if isinstance(made, Entry):
        return _with_values(made, given) if given else made
    if callable(made):
        return _called(made, name, given)
    raise InvalidSpec(f"{name} is a {type(made).__name__}: an Entry, a Model, or a function that returns one is needed")


def _called(made: Callable[..., Any], name: str, given: Sequence[str]) -> Entry:
    try:
        known = {key: p.default for key, p in inspect.signature(made).parameters.items()}
    except (TypeError, ValueError):
        raise InvalidSpec(f"{name} has no readable arguments; give a plain function, an Entry or a Model") from None
    needed = [key for key, default in known.items() if default is inspect.Parameter.empty]
    if needed:
        raise InvalidSpec(f"{name}: argument {needed[0]} has no default; give every argument one")
    chosen = converted(given, known, name)
    try:
        result = made(**chosen)
    except DerivationError:
        raise
    except (Exception, SystemExit) as error:
        raise _raised(Path(name.rpartition(":")[0]), error) from error
    if isinstance(result, Model):
        result = as_entry(result)
    if not isinstance(result, Entry):
        raise InvalidSpec(f"{name}() returned a {type(result).__name__}: an Entry or a Model is needed")
    return result


def as_entry(model: Model) -> Entry:
    """A Model on its own, as an Entry without claims."""
    stepwise = "recursion" if model.lowered.limit is None else "online"
    averaged = "population" if is_population(model) else "matrix"
    kind = stepwise if isinstance(model.lowered.rule, LoweredUpdate) else averaged
    return Entry(name=model.name, title=model.name, reference="", model=model, values=dict(model.values), claims=(), kind=kind)


def _with_values(entry: Entry, given: Sequence[str]) -> Entry:
    """Sizes and scalar values of an Entry, set from the command line."""
    m = entry.model.lowered
    numbers = {key: value for key, value in entry.values.items() if isinstance(value, int | float | str | bool)}
    known: dict[str, Any] = {n: None for n in m.given if not m.shapes.get(n)} | dict.fromkeys(m.dims, 1)
    run = {key: kind() for key, kind in KINDS.items() if key not in known}
    return replace(entry, values={**entry.values, **converted(given, {**run, **known, **numbers}, entry.name)})
