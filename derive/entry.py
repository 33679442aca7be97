"""Entry: a Model with default values and claims; claims are data, judged by the verifier, never read by a derivation.

A verb takes a Model, which has no field for claims, so a published equation cannot reach a pass by type. Imported by the
catalogue, by users and by the verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

from derive.errors import InvalidSpec
from derive.model import Model


@dataclass(frozen=True, slots=True)
class Published:
    """A printed equation of motion, in the paper's letters as expressions of our symbols.

    ``where`` maps each letter to an expression of the state, ``rate`` states its time derivative in the same letters. The check
    evaluates both at random states of the manifold ``on`` (all states if None).

    >>> Published("eq. (5)", where={"u": 1}, rate={"u": 2}).label
    'eq. (5)'
    """

    label: str
    _: KW_ONLY
    where: Mapping[Any, Any] = field(default_factory=dict)
    rate: Mapping[Any, Any] = field(default_factory=dict)
    on: Any = None
    small: Any = None  # a leading-order claim names its small parameter; it is checked by convergence

    def __post_init__(self) -> None:
        if not self.rate:
            raise InvalidSpec(f"Published({self.label!r}): nothing is claimed; give rate={{letter: expression}}")


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

    ``of`` is one structure of `derive.structures` with rows (eigenvalue, multiplicity), or a pair (X'X, Y'Y) of them with rows
    (singular value, input variance, multiplicity), averages being over ``items`` (their number if None). ``values`` are the
    numbers at which ``array`` (the matrix, or the pair of data X, Y with items in rows) is compared with the rows.

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


Claim: TypeAlias = Published | Conserved | Solves | Commutes | MatchesSimulation | Spectrum
CLAIMS = (Published, Conserved, Solves, Commutes, MatchesSimulation, Spectrum)


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
        "matrix" (treated by `gradient_flow`) or "online" (by `online_limit`).
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
        if self.kind not in ("matrix", "online"):
            raise InvalidSpec(f"Entry {self.name!r}: kind={self.kind!r}; write 'matrix' or 'online'")
        for claim in self.claims:
            if not isinstance(claim, CLAIMS):
                raise InvalidSpec(
                    f"Entry {self.name!r}: {str(claim)[:60]} is not a claim; use Published, Conserved, Solves, ..."
                )
        for key in self.values:
            if not isinstance(key, str):
                raise InvalidSpec(f"Entry {self.name!r}: the value of {key} stands under a symbol; use its name {str(key)!r}")
