"""Entry: a Model with default values and claims; claims are data, judged by the verifier, never read by a derivation.

A verb takes a Model, which has no field for claims, so a published equation cannot reach a pass by type. Imported by the
catalogue, by users and by the verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

from derive.claims.exit_claim import MeanExit
from derive.claims.rest_claim import RestsNear
from derive.errors import InvalidSpec
from derive.spec.model import Model


@dataclass(frozen=True, slots=True)
class Published:
    """A printed equation of motion, in the paper's letters as expressions of our symbols.

    ``where`` maps each letter to an expression of the state, ``rate`` states its time derivative in the same letters. The check
    evaluates both at random states of the manifold ``on`` (all states if None). ``on`` is an ansatz, a function Flow -> Flow or
    Reduction (for instance ``lambda flow: complete(flow, (a,))``), or a tuple of both, applied one after the other.

    Of a recursion, ``rate`` states the value of each letter after one step.

    A claim that holds to leading order only names its ``small`` symbol. ``vary`` gives states and parameters as functions of it
    (and of their drawn values); without it the small symbol is itself a parameter or a state. The check sends it to zero: the
    relative error must vanish with it.

    Order-parameter equations are compared at 100 random states, others at 2, or at ``states``. A rate may be a function of the
    values; one with an attribute ``side_by_side`` that is true also takes arrays with one more axis, the last, over states.
    Where the derived averages are quadratures of a stated relative ``error``, rates agree up to it.

    >>> Published("eq. (5)", where={"u": 1}, rate={"u": 2}).label
    'eq. (5)'
    """

    label: str
    _: KW_ONLY
    where: Mapping[Any, Any] = field(default_factory=dict)
    rate: Mapping[Any, Any] = field(default_factory=dict)
    on: Any = None
    small: Any = None
    vary: Mapping[Any, Any] = field(default_factory=dict)
    states: int | None = None
    error: float = 0.0

    def __post_init__(self) -> None:
        if self.states is not None and self.states < 1:
            raise InvalidSpec(f"Published({self.label!r}): states={self.states}; compare the rates at one state or more")
        if not self.rate:
            raise InvalidSpec(f"Published({self.label!r}): nothing is claimed; give rate={{letter: expression}}")
        if self.vary and self.small is None:
            raise InvalidSpec(f"Published({self.label!r}): vary= needs the small parameter; add small=symbol")


@dataclass(frozen=True, slots=True)
class Conserved:
    """A quantity whose time derivative vanishes, on the manifold ``on`` or everywhere.

    >>> Conserved("balance", 3).on is None
    True
    """

    label: str
    quantity: Any
    _: KW_ONLY
    on: Any = None


@dataclass(frozen=True, slots=True)
class Solves:
    """Expressions of time that solve the reduced system: {variable: expression in t}, with their initial values.

    >>> Solves("eq. (7)", {"u": 1}).initial
    {}
    """

    label: str
    solution: Mapping[Any, Any]
    _: KW_ONLY
    initial: Mapping[Any, Any] = field(default_factory=dict)
    ansatz: Any = None


@dataclass(frozen=True, slots=True)
class Commutes:
    """The reduction commutes with the flow: lifting the reduced solution gives the full one.

    >>> Commutes("modes", "ansatz").times
    ()
    """

    label: str
    ansatz: Any
    _: KW_ONLY
    times: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class MatchesSimulation:
    """Observables of the derived system agree with direct simulation, at these sizes and with this many seeds.

    ``sizes`` are values of N for one-pass rules, inverse steps for SGD on a matrix flow, and steps for each eighth of the time
    if nothing is drawn, so that gradient descent is all there is to simulate. Of a recursion, ``time`` is a number of steps,
    ``seeds`` a number of runs, and there are no sizes: every step is compared, in averages over windows.

    >>> MatchesSimulation("sgd", observables=("eg",), sizes=(200, 800)).seeds
    20
    """

    label: str
    _: KW_ONLY
    observables: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    seeds: int = 20
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A printed spectrum of a structured matrix, or of the modes of a data set.

    ``of`` is one structure of `derive.spectra.structures` with rows (eigenvalue, multiplicity), or a pair (X'X, Y'Y) of them
    with rows (singular value, input variance, multiplicity), averages being over ``items`` (their number if None). ``values``
    are the numbers at which ``array`` (the matrix, or the pair of data X, Y with items in rows) is compared with the rows.

    >>> Spectrum("tree", of="structure", rows=((1, 2),)).items is None
    True
    """

    label: str
    _: KW_ONLY
    of: Any
    rows: tuple[tuple[Any, ...], ...]
    items: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)
    array: Any = None


@dataclass(frozen=True, slots=True)
class LeadingOrder:
    """A quantity to leading order in a small symbol, judged by convergence: quantity / formula -> 1 as small -> 0.

    Parameters
    ----------
    quantity : expression
        In the letters of ``times``, the small symbol and the parameters.
    formula : expression
        Its leading order, in the small symbol and the parameters; an integral may stand unevaluated (``sp.Integral``).
    small : symbol
    times : mapping letter -> (expression of the state, level)
        The first time at which the expression crosses the level.
    start : mapping state -> expression of the small symbol
    values : mapping parameter -> number or expression of the small symbol
        Instead of drawn values.
    rate : "log" or number > 0
        The relative error falls like 1/log(1/small), or like small^rate.
    sizes : tuple of numbers
        Four or more falling values of the small symbol, where the usual ones make times too long for their differences.
    derived : function Flow -> expression, optional
        What the engine derives for the same quantity; it must equal the formula.
    on : as in `Published`

    >>> LeadingOrder("escape", quantity="t1", formula=1, small="u0", times={"t1": ("u", 0.5)}, start={"u": "u0"}).rate
    'log'
    """

    label: str
    _: KW_ONLY
    quantity: Any
    formula: Any
    small: Any
    times: Mapping[Any, tuple[Any, Any]]
    start: Mapping[Any, Any]
    values: Mapping[Any, Any] = field(default_factory=dict)
    rate: Any = "log"
    sizes: tuple[float, ...] = ()
    derived: Any = None
    on: Any = None

    def __post_init__(self) -> None:
        if not self.times:
            raise InvalidSpec(f"LeadingOrder({self.label!r}): nothing is measured; add times={{letter: (expression, level)}}")
        if self.rate != "log" and not (isinstance(self.rate, int | float) and self.rate > 0):
            raise InvalidSpec(f"LeadingOrder({self.label!r}): rate={self.rate!r}; write 'log' or a positive number")


@dataclass(frozen=True, slots=True)
class Rests:
    """The system rests at a state, where its observables have printed values.

    ``at`` gives every state as an expression of the parameters or as a function of the values; ``observables`` maps names of
    observables to expressions of the parameters.

    >>> Rests("saddle", at={"u": 0}).observables
    {}
    """

    label: str
    _: KW_ONLY
    at: Mapping[Any, Any]
    observables: Mapping[str, Any] = field(default_factory=dict)
    on: Any = None


@dataclass(frozen=True, slots=True)
class Throughout:
    """A claim about the whole protocol of a model, phase after phase with the state handed over.

    Around `Conserved`: the quantity keeps its value within every phase, and at the switches too if ``across``. Around `Solves`:
    the solution holds in every phase, started from the state at its beginning. Around `Commutes`: the reduced course follows
    the full one, events and deletions included.

    >>> Throughout(Conserved("balance", 3)).label
    'balance, throughout the protocol'
    """

    claim: Conserved | Solves | Commutes
    _: KW_ONLY
    across: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.claim, Conserved | Solves | Commutes):
            raise InvalidSpec(f"Throughout: {type(self.claim).__name__} is not followed; wrap Conserved, Solves or Commutes")

    @property
    def label(self) -> str:
        """That of the claim."""
        return f"{self.claim.label}, throughout the protocol"


@dataclass(frozen=True, slots=True)
class Concentrates:
    """Observables of a system of random arrays tend to functions of time as its size grows.

    Parameters
    ----------
    theory : mapping observable -> expression of ``t``, or callable(values) -> array
        The printed curves; ``values`` holds the values of the entry and the times ``t``.
    draw : callable(size, generator) -> mapping name -> array
        Given arrays and the start of one run.
    derived : callable(flow, values) -> mapping observable -> array, optional
        What the engine derives for the same curves.
    times : equidistant times, multiples of ``step``, the step of descent
    sizes, seeds : sizes of the system, runs at each

    >>> Concentrates("loss", theory={"loss": 1}, draw=lambda n, rng: {}, times=(1.0,), step=0.1).sizes
    (50, 100, 200)
    """

    label: str
    _: KW_ONLY
    theory: Mapping[Any, Any]
    draw: Any
    times: tuple[float, ...]
    step: float
    derived: Any = None
    sizes: tuple[int, ...] = (50, 100, 200)
    seeds: int = 20

    def __post_init__(self) -> None:
        if not self.theory or not self.times:
            raise InvalidSpec(f"Concentrates({self.label!r}): nothing is claimed; give theory={{observable: curve}} and times")
        if not callable(self.draw):
            raise InvalidSpec(f"Concentrates({self.label!r}): draw={self.draw!r}; give a function of (size, generator)")


@dataclass(frozen=True, slots=True)
class Approaches:
    """The course of the full system tends to that of a limit system as a small symbol vanishes.

    Parameters
    ----------
    on : function Flow -> Reduction, or a chain with one
        The limit system, and how to read its state off the full one; for instance ``lambda flow: linearise(flow, f)``.
    small : symbol
    start : mapping state -> function of the small number
    time : number, or function of the small number
    rate : number
        The deviation falls at least like small^rate.
    sizes : tuple of numbers
        Falling values of the small number.

    >>> Approaches("lazy", on=None, small="eps", start={"w": float}, time=1.0).rate
    1.0
    """

    label: str
    _: KW_ONLY
    on: Any
    small: Any
    start: Mapping[Any, Any]
    time: Any
    rate: float = 1.0
    sizes: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)

    def __post_init__(self) -> None:
        if not self.start or not all(callable(make) for make in self.start.values()):
            raise InvalidSpec(f"Approaches({self.label!r}): give start={{state: function of the small number}} for every state")


Claim: TypeAlias = (
    Published
    | Conserved
    | Solves
    | Commutes
    | MatchesSimulation
    | Spectrum
    | LeadingOrder
    | Rests
    | RestsNear
    | Throughout
    | MeanExit
    | Approaches
    | Concentrates
)
CLAIMS = (
    Published,
    Conserved,
    Solves,
    Commutes,
    MatchesSimulation,
    Spectrum,
    LeadingOrder,
    Rests,
    RestsNear,
    Throughout,
    MeanExit,
    Approaches,
    Concentrates,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A catalogue entry: Model, values, claims, reference.

    Parameters
    ----------
    name, title, reference : str
        Catalogue name, one line for people, citation with equation numbers.
    model : Model
        The spec; it does not know the claims.
    kind : str
        "matrix" (treated by `gradient_flow`), "online" (by `online_limit`), "recursion" (by `recursion`) or "population"
        (by `population_flow`).
    values : Mapping
        Sizes of dimensions, values of parameters, settings.
    claims : tuple
        What is to be verified.
    docs : str
        Assumptions, table of symbols, when it fails.

    Raises
    ------
    InvalidSpec
        If the kind or a claim is unknown, or a name of the values is not text.
    """

    name: str
    model: Model
    title: str = ""
    reference: str = ""
    kind: str = "matrix"
    values: Mapping[str, Any] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    docs: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.model, Model):
            raise InvalidSpec(f"Entry {self.name!r}: model is {type(self.model).__name__}, not a Model")
        if self.kind not in ("matrix", "online", "recursion", "population"):
            raise InvalidSpec(f"Entry {self.name!r}: kind={self.kind!r}; write 'matrix', 'online', 'recursion' or 'population'")
        if self.kind == "population" and self.model.lowered.limit is None:
            raise InvalidSpec(f"Entry {self.name!r}: add limit=Limit({{N: oo}}) to the model, N the length of its vectors")
        if self.kind == "population" and self.model.lowered.protocol:
            raise InvalidSpec(
                f"Entry {self.name!r}: a population flow with a protocol is not followed; take population_flow of each of "
                "phases(model) and integrate them one after the other"
            )
        for claim in self.claims:
            if not isinstance(claim, CLAIMS):
                raise InvalidSpec(
                    f"Entry {self.name!r}: {str(claim)[:60]} is not a claim; use Published, Conserved, Solves, ..."
                )
        for key in self.values:
            if not isinstance(key, str):
                raise InvalidSpec(f"Entry {self.name!r}: the value of {key} stands under a symbol; use its name {str(key)!r}")
