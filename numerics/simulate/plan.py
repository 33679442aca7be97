"""Plans: the plain data that a simulation reads, checked once and frozen.

A plan is JSON: declared symbols with their shapes, laws of the draws, definitions, the learning rule, observables. Nothing else
of the model reaches the simulation, so that an error of the derivation cannot hide in it. `read_plan` refuses unknown keys,
operations and symbols. Imported by `numerics.simulate` only; imports the standard library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import PlanError
from .trees import ARITY, Tree, read_tree, walk

VERSION = 1
#: Elementwise functions that every plan may use without defining them; the tape gives them their values and derivatives.
BUILTIN = ("erf2", "tanh", "relu", "step", "sgn", "exp", "log", "abs", "sq", "inv", "sqrt", "sin", "cos")
LAWS = ("Normal", "Choice", "Marginal", "Moments")
_KEYS = (
    "version", "name", "dims", "state", "given", "moments", "draws", "let", "functions", "rule", "start", "facts", "observe",
    "protocol",
)  # fmt: skip
_LAW_KEYS = ("law", "symbols", "shapes", "cov", "mean", "values", "probs", "moments", "odd", "even", "once", "transform")

Shape = tuple[Tree, ...]
Pair = tuple[str, Tree]


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """One draw: the law, its symbols and shapes, and the trees that parametrise it."""

    law: str
    symbols: tuple[str, ...]
    shapes: tuple[Shape, ...]
    cov: Tree | None = None
    mean: Tree | None = None
    values: tuple[tuple[Tree, ...], ...] | None = None
    probs: tuple[Tree, ...] | Tree | None = None
    listed: bool = False
    moments: tuple[tuple[Tree, str], ...] = ()
    once: bool = False
    transform: str | None = None

    @property
    def label(self) -> str:
        """How messages name the law."""
        return f"{self.law}({', '.join(self.symbols)})"

    @property
    def trees(self) -> tuple[Tree, ...]:
        """Every tree that parametrises the law."""
        found = [tree for tree in (self.cov, self.mean) if tree is not None]
        found += [tree for value in self.values or () for tree in value]
        if self.probs is not None:
            found += list(self.probs) if self.listed else [self.probs]
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A user's elementwise function: the body is a tree of the variable and of scalars of the plan."""

    variable: str
    body: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A learning rule. ``kind`` is "update" (blocks of new values) or "rate" (one block of time derivatives)."""

    kind: str
    blocks: tuple[tuple[Pair, ...], ...]
    dt: Tree | None = None
    batch: Tree | None = None
    noise: tuple[Pair, ...] = ()

    @property
    def trees(self) -> tuple[Tree, ...]:
        """Right-hand sides of all blocks."""
        return tuple(tree for block in self.blocks for _, tree in block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of learning: symbols bound to values (trees, which may hold t) or laws, and ``until`` >= 0 ends it early."""

    length: Tree
    values: tuple[Pair, ...] = ()
    laws: tuple[Law, ...] = ()
    until: Tree | None = None

    @property
    def bound(self) -> tuple[str, ...]:
        """Symbols that are given outside of this phase."""
        return (*(name for name, _ in self.values), *(symbol for law in self.laws for symbol in law.symbols))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """New values of states, assigned at once from the old ones."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """``count`` entries of a dimension are deleted."""

    dimension: str
    count: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked plan; mappings keep the order of the plan."""

    name: str
    dims: tuple[str, ...]
    state: Mapping[str, Shape]
    given: Mapping[str, Shape]
    moments: Mapping[str, Shape]
    draws: tuple[Law, ...]
    let: Mapping[str, Tree]
    functions: Mapping[str, Function]
    rule: Rule | None
    facts: tuple[tuple[Tree, Tree], ...]
    observe: Mapping[str, Tree]
    phases: int
    protocol: tuple[Phase | Event | Drop, ...] = ()

    def law_of(self, name: str) -> Law | None:
        """The law that draws a symbol, or None."""
        return next((law for law in self.draws if name in law.symbols), None)

    def reach(self, trees: Iterable[Tree], *, into_means: bool = True) -> frozenset[str]:
        """Names on which trees depend, through definitions, bodies of functions and parameters of laws."""
        found: dict[str, None] = {}
        todo = list(trees)
        while todo:
            for node in walk(todo.pop(), into_means=into_means):
                if isinstance(node, tuple) and node[0] == "map" and node[1] in self.functions:
                    todo.append(self.functions[node[1]].body)
                if not isinstance(node, str) or node in found:
                    continue
                found[node] = None
                if node in self.let:
                    todo.append(self.let[node])
                law = self.law_of(node)
                if law is not None:
                    todo += law.trees
        return frozenset(found)

    def laws(self, trees: Iterable[Tree], *, into_means: bool = False) -> tuple[Law, ...]:
        """Laws of the fresh (not ``once``) draws on which trees depend, in the order of the plan."""
        names = self.reach(trees, into_means=into_means)
        return tuple(law for law in self.draws if not law.once and any(symbol in names for symbol in law.symbols))


def read_plan(data: Mapping[str, Any] | Plan) -> Plan:
    """Read and check a plan.

    Parameters
    ----------
    data : mapping
        Decoded JSON in the format of `derive.plan`, version 1. A `Plan` is returned as it is.

    Raises
    ------
    PlanError
        An unknown version, key, operation, function or symbol.

    Examples
    --------
    >>> rule = {"kind": "update", "blocks": [[["w", ["mul", "a", "w"]]]], "dt": 1, "batch": 1}
    >>> read_plan({"version": 1, "name": "decay", "state": {"w": []}, "given": {"a": []}, "rule": rule}).rule.blocks
    ((('w', ('mul', 'a', 'w')),),)
    """
    if isinstance(data, Plan):
        return data
    if not isinstance(data, Mapping):
        raise PlanError(f"a plan is a mapping of plain data, not {type(data).__name__}. Write it with derive.plan(model).")
    if data.get("version") != VERSION:
        raise PlanError(f"plan version {data.get('version')!r}: this simulation reads version {VERSION}. Write the plan anew.")
    _refuse_unknown(data, _KEYS, "plan")
    let = {name: read_tree(tree, f"let {name}") for name, tree in data.get("let") or ()}
    functions = {
        name: Function(variable=entry["variable"], body=read_tree(entry["body"], f"function {name}"))
        for name, entry in (data.get("functions") or {}).items()
    }
    plan = Plan(
        name=str(data.get("name", "plan")),
        dims=tuple(data.get("dims") or ()),
        state=_shapes(data, "state"),
        given=_shapes(data, "given"),
        moments=_shapes(data, "moments"),
        draws=tuple(_law(entry) for entry in data.get("draws") or ()),
        let=let,
        functions=functions,
        rule=_rule(data.get("rule")),
        facts=tuple((read_tree(left, "fact"), read_tree(right, "fact")) for left, right in data.get("facts") or ()),
        observe={name: read_tree(tree, f"observable {name}") for name, tree in (data.get("observe") or {}).items()},
        phases=len(data.get("protocol") or ()),
        protocol=tuple(_protocol(item) for item in data.get("protocol") or ()),
    )
    _check_names(plan)
    return plan


def _refuse_unknown(data: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(key for key in data if key not in known)
    if unknown:
        raise PlanError(f"{where}: unknown key {unknown[0]!r}. Version {VERSION} knows {', '.join(known)}.")


def _shapes(data: Mapping[str, Any], key: str) -> dict[str, Shape]:
    return {name: _shape(shape, f"{key} {name}") for name, shape in (data.get(key) or {}).items()}


def _shape(shape: Any, where: str) -> Shape:
    if not isinstance(shape, (list, tuple)) or len(shape) not in (0, 2):
        raise PlanError(f"{where}: shape {shape!r}; a scalar has [], everything else [rows, cols] (a vector has one column).")
    return tuple(read_tree(part, where) for part in shape)


def _law(entry: Mapping[str, Any]) -> Law:
    _refuse_unknown(entry, _LAW_KEYS, "draw")
    symbols, kind = tuple(entry["symbols"]), entry["law"]
    where = f"draw {', '.join(symbols)}"
    if kind not in LAWS:
        raise PlanError(f"{where}: unknown law {kind!r}; the laws are {', '.join(LAWS)}.")
    shapes = entry["shapes"]
    if isinstance(shapes, Mapping):
        shapes = [shapes[symbol] for symbol in symbols]
    raw, values = entry.get("values"), None
    if raw is not None:
        joint = len(symbols) > 1
        values = tuple(tuple(read_tree(part, where) for part in (value if joint else [_bare(value)])) for value in raw)
        if any(len(value) != len(symbols) for value in values):
            raise PlanError(f"{where}: every value needs {len(symbols)} entries, one for each symbol.")
    moments = (entry.get("moments") or ()) if kind == "Moments" else ()
    probs = entry.get("probs")
    listed = isinstance(probs, (list, tuple)) and not (probs and isinstance(probs[0], str) and probs[0] in ARITY)
    if probs is not None:
        probs = tuple(read_tree(part, where) for part in probs) if listed else read_tree(probs, where)
    return Law(
        law=kind,
        symbols=symbols,
        shapes=tuple(_shape(shape, where) for shape in shapes),
        cov=_optional(entry.get("cov"), where),
        mean=_optional(entry.get("mean"), where),
        values=values,
        probs=probs,
        listed=listed,
        moments=tuple((read_tree(tree, where), name) for tree, name in moments),
        transform=entry.get("transform"),
        once=bool(entry.get("once")),
    )


def _bare(value: Any) -> Any:
    """The value of a single symbol, whether or not it stands in a list of its own."""
    single = isinstance(value, (list, tuple)) and len(value) == 1
    return value[0] if single and value[0] not in ("pi", "oo") else value


def _optional(data: Any, where: str) -> Tree | None:
    return None if data is None else read_tree(data, where)


def _pairs(entries: Any, where: str) -> tuple[Pair, ...]:
    return tuple((name, read_tree(tree, f"{where} of {name}")) for name, tree in entries or ())


def _rule(data: Mapping[str, Any] | None) -> Rule | None:
    if data is None:
        return None
    kind = data.get("kind")
    if kind == "update":
        _refuse_unknown(data, ("kind", "blocks", "dt", "batch"), "rule")
        return Rule(
            kind="update",
            blocks=tuple(_pairs(block, "update") for block in data["blocks"]),
            dt=_optional(data.get("dt"), "dt"),
            batch=_optional(data.get("batch"), "batch"),
        )
    if kind == "rate":
        _refuse_unknown(data, ("kind", "rates", "noise"), "rule")
        return Rule(kind="rate", blocks=(_pairs(data["rates"], "rate"),), noise=_pairs(data.get("noise"), "noise"))
    raise PlanError(f"rule of kind {kind!r}: a simulation moves weights by an 'update' or a 'rate'.")


def _protocol(item: Any) -> Phase | Event | Drop:
    kind, *rest = item
    if len(rest) != {"phase": 3, "event": 1, "drop": 2}.get(kind, -1):
        raise PlanError(f"protocol: {item!r} is no part of it. Version {VERSION} knows phase, event, drop; use derive.plan.")
    if kind == "phase":
        length, binds, until = rest
        return Phase(
            length=read_tree(length, "phase"),
            values=tuple((name, read_tree(value, f"phase {name}")) for name, how, value in binds if how != "law"),
            laws=tuple(_law(value) for _, how, value in binds if how == "law"),
            until=_optional(until, "phase until"),
        )
    if kind == "event":
        return Event(pairs=_pairs(rest[0], "event"))
    return Drop(dimension=str(rest[0]), count=read_tree(rest[1], "drop"))


def _check_names(plan: Plan) -> None:
    drawn = tuple(symbol for law in plan.draws for symbol in law.symbols)
    sections = (plan.state, plan.given, plan.moments, drawn, plan.let)
    known: dict[str, None] = dict.fromkeys(plan.dims)
    for section in sections:
        for name in section:
            if name in known and name not in plan.dims:
                raise PlanError(f"{name} has two roles. Every symbol stands in exactly one section of the plan.")
            known[name] = None
    for shape in (
        *plan.state.values(),
        *plan.given.values(),
        *plan.moments.values(),
        *(s for d in plan.draws for s in d.shapes),
    ):
        for tree in shape:
            known.update(dict.fromkeys(node for node in walk(tree) if isinstance(node, str)))
    if plan.rule is not None:
        moved = [name for block in plan.rule.blocks for name, _ in block]
        for name in moved:
            if name not in plan.state:
                raise PlanError(f"the rule moves {name}, which is no state. List it under 'state'.")
        still = [name for name in plan.state if name not in moved]
        if still:
            raise PlanError(f"state {still[0]} has no rule. A frozen array belongs under 'given'.")
    trees = [*plan.let.values(), *plan.observe.values(), *(tree for law in plan.draws for tree in law.trees)]
    trees += [side for fact in plan.facts for side in fact]
    if plan.rule is not None:
        trees += [*plan.rule.trees, *(tree for _, tree in plan.rule.noise)]
    timed: list[Tree] = []
    for part in plan.protocol:
        if isinstance(part, Phase):
            timed += [part.length, *(tree for _, tree in part.values), *(tree for law in part.laws for tree in law.trees)]
            timed += [] if part.until is None else [part.until]
        elif isinstance(part, Event):
            timed += [tree for _, tree in part.pairs]
        else:
            timed.append(part.count)
    for tree in timed:
        _check_tree(tree, {*known, "t"}, plan)
    bodies = {name: {*known, function.variable} for name, function in plan.functions.items()}
    for allowed, tree in [(set(known), tree) for tree in trees] + [(bodies[n], f.body) for n, f in plan.functions.items()]:
        _check_tree(tree, allowed, plan)


def _check_tree(tree: Tree, allowed: set[str], plan: Plan) -> None:
    for node in walk(tree):
        if isinstance(node, str) and node not in allowed:
            raise PlanError(f"symbol {node} is not declared. Add it to 'given', 'state', 'draws' or 'let'.")
        if isinstance(node, tuple) and node[0] == "map" and node[1] not in plan.functions and node[1] not in BUILTIN:
            raise PlanError(f"function {node[1]!r} is neither built in ({', '.join(BUILTIN)}) nor defined under 'functions'.")
