"""gradientflow, the numerical part: from a compiled system to a verified figure.

``integrate`` a kernel, ``simulate`` a plan (the independent road), ``validate`` one against the other, ``verify`` the
claims of an entry. This module is the only public face; it loads nothing until it is asked.

>>> import numerics
>>> numerics.Status.OK.good
True
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

#: Public name -> module that defines it.
_HOME = {
    "integrate": "integrate", "Trajectory": "trajectory", "Status": "status", "IntegrationFailed": "status",
    "iterate": "iterate",
    "follow": "protocol", "Schedule": "controls", "Switch": "trajectory",
    "solve_optimal": "optimal_control", "OptimalRun": "optimal_control",
    "simulate": "simulate", "simulate_protocol": "simulate", "SimulationResult": "simulate", "replicate": "simulate",
    "validate": "validate", "verify": "verify", "Report": "report", "Check": "report",
    "blame": "blame", "Blame": "blame", "Spot": "bursts",
    "find_rest": "analysis", "spectrum_at": "analysis", "symmetric_plateau": "analysis", "largest_stable": "analysis",
    "figure": "plot", "plot_modes": "plot", "plot_overlaps": "plot", "progress_bar": "progress",
}  # fmt: skip
#: Modules that are public themselves.
_MODULES = ("plot",)

__all__ = [*_HOME, *_MODULES]


class _Face(ModuleType):
    """The package as a module in which a function is not hidden by the submodule of the same name.

    The import system sets every imported submodule as an attribute of its package; for the names above the function is meant.
    Submodules stay importable: ``from numerics.simulate import stats``.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"numerics.{name}")
    if name not in _HOME:
        from difflib import get_close_matches

        close = get_close_matches(name, sorted(_HOME), n=1)
        raise AttributeError(
            f"module 'numerics' has no attribute {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
        )
    value = getattr(import_module(f"numerics.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
