r"""The models of a protocol, one for each phase.

A `Phase` binds given symbols: to a value (a switch, a difficulty, a frozen rate), which becomes a definition, or to a law
(interleaved tasks), which becomes a draw of every step. The state is handed from one phase to the next, so the systems derived
from these models follow each other in time; events and deletions between phases act on the state and belong to the run.
Imported by users and by the catalogue.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.spec.model import Model, with_values
from derive.spec.rules import Phase, is_law
from derive.spec.tree import names
from derive.spec.validate import expressions


def phases(model: Model) -> tuple[Model, ...]:
    """One model per phase, with the symbols of its ``bind`` replaced by their value or law.

    Parameters
    ----------
    model : Model
        With a ``protocol``.

    Returns
    -------
    tuple of Model
        In the order of the protocol, without protocol; parameters that a phase does not bind stay given.

    Raises
    ------
    InvalidSpec
        If there is no phase.
    UnsupportedNode
        If a binding depends on time.

    Examples
    --------
    >>> from derive import Choice, Model, Phase, Rate, scalars
    >>> u, task, p = scalars("u task p")
    >>> switch = (Phase(5, bind={task: 2}), Phase(5, bind={task: Choice(task, (1, 2), (p, 1 - p))}))
    >>> m = Model(name="m", state=u, given=(task, p), learn=Rate({u: -task * u}), protocol=switch)
    >>> [(one.name, one.lowered.given, one.lowered.let) for one in phases(m)]
    [('m_phase_1', (), (('task', 2),)), ('m_phase_2', ('p',), ())]
    """
    made = [item for item in model.protocol if isinstance(item, Phase)]
    if not made:
        raise InvalidSpec(f"{model.name} has no phases; write protocol=(Phase(10, bind={{...}}), ...)")
    return tuple(phase_model(model, item, number) for number, item in enumerate(made, start=1))


def phase_model(model: Model, phase: Phase, number: int, *, keep: tuple[str, ...] = ()) -> Model:
    """The model of one phase; symbols in ``keep`` stay given although the phase binds them, for a run that sets them.

    Raises
    ------
    UnsupportedNode
        If a binding that is not kept depends on time.
    """
    values: dict[Any, Any] = {}
    laws = []
    for s, value in (phase.bind or {}).items():
        if s.name in keep:
            continue
        if is_law(value):
            laws.append(value)
        else:
            if any(getattr(n, "name", "") == "t" for n in _symbols(value)):
                raise UnsupportedNode(
                    f"{model.name}, phase {number}: {s} = {value} depends on time; make a clock a state that grows by dt at "
                    "each step, and write the schedule in it"
                )
            values[s] = value
    gone = [*values, *(s for law in laws for s in law.symbols)]
    given = _used(model, tuple(s for s in model.given if s not in gone), (*values.values(), *laws))
    changes = {"given": given, "data": (*laws, *model.data), "let": {**values, **model.let}, "protocol": ()}
    out = model.replace(name=f"{model.name}_phase_{number}", **changes)
    bound = [s.name for s in gone]
    return with_values(out, {k: v for k, v in model.values.items() if k in out.symbols and k not in bound})


def _used(model: Model, given: tuple[Any, ...], bound: tuple[Any, ...]) -> tuple[Any, ...]:
    """The given symbols that this phase uses: one may stand in the bindings of other phases only."""
    found = {n for where, tree in expressions(model.lowered) if where != "protocol" for n in names(tree)}
    found |= {moment for draw in model.lowered.draws if draw.opens for _, moment in draw.moments}  # averages of bound data
    for value in bound:
        found |= {str(getattr(s, "name", s)) for s in _symbols(value)}
    return tuple(s for s in given if s.name in found)


def _symbols(value: Any) -> tuple[Any, ...]:
    """Symbols in a value, or in the parts of a law."""
    if isinstance(value, (tuple, list)):
        return tuple(s for v in value for s in _symbols(v))
    if is_law(value):
        parts = (getattr(value, word, None) for word in ("values", "probs", "cov", "mean"))
        return tuple(s for part in parts for s in _symbols(part))
    return tuple(value.free_symbols) if isinstance(value, sp.Basic) else ()


__all__ = ["phase_model", "phases"]
