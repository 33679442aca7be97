"""The catalogue: published systems, one small file each, found by file name and imported when asked for.

A file ``author_year_topic.py`` in this folder defines ``entry(**settings) -> Entry``; its keyword arguments and their defaults
are the settings of the system. Adding a system is adding a file. Imported by users and by the command line; no pass imports it.
"""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from derive.errors import InvalidSpec


class UnknownName(InvalidSpec):
    """There is no such system or setting. The message says what there is, and what may have been meant."""


def names() -> tuple[str, ...]:
    """Names of all systems, sorted.

    >>> "saxe_2014_deep_linear" in names()
    True
    """
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(stem for stem in found if re.fullmatch(r"[a-z]\w*_\d{4}_\w+|unknown_\w+", stem)))


def settings(name: str) -> dict[str, Any]:
    """Settings of a system and their defaults.

    Raises
    ------
    UnknownName
        If there is no system of that name.

    >>> settings("saxe_2014_deep_linear")["depth"]
    2
    """
    return {key: parameter.default for key, parameter in inspect.signature(_module(name).entry).parameters.items()}


def load(name: str, **values: Any) -> Any:
    """The `Entry` of a system.

    Parameters
    ----------
    name : str
        A file name of the catalogue, without ``.py``.
    values
        Settings of that system, e.g. ``depth=3``.

    Raises
    ------
    UnknownName
        If the system or a setting does not exist; with the nearest name.
    InvalidSpec
        If a value is not allowed.

    >>> load("saxe_2014_deep_linear", depth=3).model.lowered.state
    ('W1', 'W2', 'W3')
    """
    known = settings(name)
    for key in values:
        if key not in known:
            raise UnknownName(f"{name} has no setting {key!r}; {suggestion(key, tuple(known))}")
    return _module(name).entry(**values)


def suggestion(word: str, known: tuple[str, ...]) -> str:
    """The remedy for an unknown word: the nearest known one, and all of them."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    listed = ", ".join(known) or "none"
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {listed}"


def _module(name: str) -> Any:
    if name not in names():
        raise UnknownName(f"there is no system {name!r} in the catalogue; {suggestion(name, names())}")
    return import_module(f"derive.catalog.{name}")
