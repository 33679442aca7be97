"""The whole chain for one model: every pass that applies, in order, and the reasons of those that do not.

    Rate:    gradient_flow -> conserved -> reduce(Modes) -> reduce(Balanced) -> closed_form, else reduce(Gram) -> closed_form
             population_flow if a dimension tends to infinity
    Update:  online_limit, or recursion if no dimension tends to infinity

A pass that refuses is not an error here: its message is kept in ``refusals``, so the reader sees what was tried.
Imported by the command line; the passes know nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from derive.errors import DerivationError
from derive.system import ClosedForm, ConservedQuantity, Flow, Reduction


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """What the engine can say about a model.

    Attributes
    ----------
    name, title : str
    kind : str
        "gradient flow", "population flow", "order parameters" or "moment recursion".
    model : Model
    flow : Flow, or Recursion
    conserved : tuple of ConservedQuantity
    reductions : tuple of Reduction
        Each of ``flow``, every one further than the one before.
    closed_form : ClosedForm or None
        Solution of the last reduced system.
    refusals : tuple of str
        What was tried without success, and why.
    """

    name: str
    title: str
    kind: str
    model: Any
    flow: Flow
    conserved: tuple[ConservedQuantity, ...] = ()
    reductions: tuple[Reduction, ...] = ()
    closed_form: ClosedForm | None = None
    refusals: tuple[str, ...] = ()

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self)


def derive_all(model: Any, *, white: bool = False, title: str | None = None) -> Derivation:
    """Run every pass that applies to a model.

    Parameters
    ----------
    model : Model
    white : bool
        Reduce under the assumption of white inputs (Sx = I) instead of commuting correlations.
    title : str, optional
        Title of printed documents; the model's name if left out.

    Raises
    ------
    UnsupportedNode
        If the model has no rule that is a rate or a one-pass update.
    """
    title = title or model.name
    flow = full_flow(model)
    if isinstance(flow, Flow) and flow.level == "index":
        kind = "order parameters" if _is_update(model) else "population flow"
        return Derivation(name=model.name, title=title, kind=kind, model=model, flow=flow)
    if _is_update(model):
        kind = "order parameters" if isinstance(flow, Flow) else "moment recursion"
        return Derivation(name=model.name, title=title, kind=kind, model=model, flow=flow)
    refusals: list[str] = []
    found = _conserved(flow, refusals)
    reductions = _reductions(flow, white, refusals)
    form = _closed(reductions[-1].system if reductions else flow, refusals)
    if form is None and not reductions:
        reductions, form = _gram(flow, refusals)
    return Derivation(
        name=model.name,
        title=title,
        kind="gradient flow",
        model=model,
        flow=flow,
        conserved=found,
        reductions=reductions,
        closed_form=form,
        refusals=tuple(refusals),
    )


def full_flow(model: Any) -> Any:
    """The equations of a model by the verb of its rule, which is another one if it has a limit.

    Rate: `gradient_flow`, with a limit `population_flow`; Update: `recursion`, with a limit `online_limit`.
    """
    from derive.flows.flow import gradient_flow
    from derive.online.limit import online_limit
    from derive.online.population import is_population, population_flow
    from derive.recursions.averaged_step import recursion

    if is_population(model):
        return population_flow(model)
    if not _is_update(model):
        return gradient_flow(model)
    return recursion(model) if model.lowered.limit is None else online_limit(model)


def _is_update(model: Any) -> bool:
    from derive.spec.lowered import LoweredUpdate

    return isinstance(model.lowered.rule, LoweredUpdate)


def _conserved(flow: Flow, refusals: list[str]) -> tuple[ConservedQuantity, ...]:
    from derive.invariants.search import conserved

    try:
        return conserved(flow)
    except DerivationError as error:
        refusals.append(f"conserved quantities: {error}")
        return ()


def _reductions(flow: Flow, white: bool, refusals: list[str]) -> tuple[Reduction, ...]:
    from derive.reductions.ansatz import Balanced, Modes
    from derive.reductions.reduction import reduce

    done: list[Reduction] = []
    chain: tuple[Any, ...] = ()
    for word, ansatz in (("mode reduction", Modes(white=white)), ("balanced reduction", Balanced())):
        chain = (*chain, ansatz)
        try:
            done.append(reduce(flow, chain if len(chain) > 1 else ansatz))
        except DerivationError as error:
            refusals.append(f"{word}: {error}")
            break
    return tuple(done)


def _gram(flow: Flow, refusals: list[str]) -> tuple[tuple[Reduction, ...], ClosedForm | None]:
    """The Gram matrix of a flow of one matrix, if it can be solved; the refusal of the matrix itself is then withdrawn."""
    from derive.reductions.ansatz import Gram
    from derive.reductions.reduction import reduce
    from derive.solutions.solve import closed_form

    try:
        made = reduce(flow, Gram())
        form = closed_form(made)
    except DerivationError:
        return (), None  # nothing was promised: most flows are not of this kind
    refusals.pop()
    return (made,), form


def _closed(flow: Flow, refusals: list[str]) -> ClosedForm | None:
    from derive.solutions.solve import closed_form

    try:
        return closed_form(flow)
    except DerivationError as error:
        refusals.append(f"closed form: {error}")
        return None
