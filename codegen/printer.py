"""Printing a `Program` as Python source; what differs between backends is data (`Backend`).

Products are printed as one fraction, powers 1/2 as square roots; parentheses only where precedence asks for them.
Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from codegen.functions_linear import METHODS as LINEAR
from codegen.program import (
    Allocate,
    Assign,
    Comment,
    Expr,
    Helper,
    Increase,
    Procedure,
    Return,
    SizeOf,
    Statement,
    Store,
    num,
    power,
)

SUM, PRODUCT, UNARY, POWER, ATOM = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """How one target writes things.

    Attributes
    ----------
    name : str
    imports : tuple of str
        Import lines.
    prelude : tuple of str
        Lines after the imports, always printed.
    decorator : str
        Line above every function, or empty.
    pi : str
    number : callable
        Text of a rational number that stands alone.
    size : str
        Format of a size used as a number.
    functions : mapping
        Text of each primitive scalar function.
    support : mapping
        Definition of a support function by name, printed if the name occurs.
    each : callable
        (helper name, array text, extra texts) -> text of the elementwise application.
    loops : callable
        Definition of the elementwise version of a helper, or empty.
    empty : str
        Format of a new array of given sizes.
    methods : mapping
        Formats of array operations.
    run : str
        How to use the file, one line.
    wholesale : bool
        Primitive functions are applied to arrays without a helper.
    """

    name: str
    imports: tuple[str, ...]
    prelude: tuple[str, ...] = ()
    decorator: str = ""
    pi: str
    number: Callable[[Fraction], str]
    size: str = "{}"
    functions: Mapping[str, str]
    support: Mapping[str, str] = field(default_factory=dict)
    each: Callable[[str, str, tuple[str, ...]], str]
    loops: Callable[[Helper], str]
    empty: str
    methods: Mapping[str, str]
    run: str
    wholesale: bool = True


def decimal(q: Fraction) -> str:
    """Text of a rational as a float: exact decimals as such, others as a quotient.

    >>> decimal(Fraction(1, 2)), decimal(Fraction(3)), decimal(Fraction(1, 3)), decimal(Fraction(-2, 3))
    ('0.5', '3.0', '(1.0 / 3.0)', '(-2.0 / 3.0)')
    """
    value = q.numerator / q.denominator
    if Fraction(repr(value)) == q:
        return repr(value)
    return f"({float(q.numerator)!r} / {float(q.denominator)!r})"


class Printer:
    """Text of expressions and statements for one backend."""

    __slots__ = ("backend", "primitive")

    def __init__(self, backend: Backend, helpers: tuple[Helper, ...] = ()):
        self.backend = backend
        self.primitive = {h.name: backend.functions[h.primitive] for h in helpers if h.primitive and backend.wholesale}

    def text(self, e: Expr, context: int = SUM) -> str:
        """Text of an expression, in parentheses if the context binds more tightly."""
        out, level = self._text(e)
        return f"({out})" if level < context else out

    def _text(self, e: Expr) -> tuple[str, int]:
        b = self.backend
        if e.op == "num":
            out = b.number(e.args[0])
            return out, UNARY if out.startswith("-") else ATOM
        if e.op == "pi":
            return b.pi, ATOM
        if e.op == "var":
            return e.args[0], ATOM
        if e.op == "size":
            return b.size.format(e.args[0]), ATOM
        if e.op == "item":
            return f"{e.args[0]}[{', '.join(e.args[1:])}]", ATOM
        if e.op == "same":
            return f"(1 if {e.args[0]} == {e.args[1]} else 0)", ATOM
        if e.op == "twice":
            return f"(1 if {e.args[0]} == {e.args[1]} else 2)", ATOM
        if e.op == "add":
            return self._sum(e), SUM
        if e.op == "mul":
            return self._product(e)
        if e.op == "pow":
            return self._power(*e.args)
        if e.op == "call":
            name = b.functions.get(e.args[0], e.args[0])
            return f"{name}({', '.join(self.text(a) for a in e.args[1:])})", ATOM
        if e.op == "each":
            helper, array, *extra = e.args
            return b.each(self.primitive.get(helper, helper), self.text(array), tuple(self.text(x) for x in extra)), ATOM
        if e.op == "matmul":
            left = self.text(e.args[0], PRODUCT if e.args[0].op == "matmul" else UNARY)
            return f"{left} @ {self.text(e.args[1], UNARY)}", PRODUCT
        if e.op == "T":
            return f"{self.text(e.args[0], ATOM)}.T", ATOM
        if e.op == "entry":
            return f"{self.text(e.args[0], ATOM)}[0, 0]", ATOM
        return {**LINEAR, **b.methods}[e.op].format(*(self.text(a) if isinstance(a, Expr) else a for a in e.args)), ATOM

    def _sum(self, e: Expr) -> str:
        terms = sorted(e.args, key=_negative)  # positive terms first, otherwise in the given order
        out = self.text(terms[0], SUM)
        for term in terms[1:]:
            shown = self.text(term, SUM)
            out += f" - {shown[1:]}" if shown.startswith("-") else f" + {shown}"
        return out

    def _product(self, e: Expr) -> tuple[str, int]:
        lead, above, below = Fraction(1), [], []
        for f in e.args:
            if f.op == "num":
                lead *= f.args[0]
            elif f.op == "pow" and f.args[1] < 0:
                below.append(power(f.args[0], -f.args[1]))
            else:
                above.append(f)
        sign = "-" if lead < 0 else ""
        lead = abs(lead)
        if lead.denominator != 1 and not (below or above):
            return self._text(num(lead))
        top = [] if lead.numerator == 1 and above else [self._integer(lead.numerator, alone=not above)]
        bare = not top and not below and lead.denominator == 1 and len(above) == 1
        top += [self.text(f, PRODUCT if bare else UNARY) for f in above]
        bottom = [] if lead.denominator == 1 else [self._integer(lead.denominator)]
        bottom += [self.text(f, UNARY) for f in below]
        out = sign + " * ".join(top)
        if bottom:
            out += " / " + (f"({' * '.join(bottom)})" if len(bottom) > 1 else bottom[0])
        return out, UNARY if sign and len(top) == 1 and not bottom else PRODUCT

    def _integer(self, n: int, alone: bool = False) -> str:
        return self.backend.number(Fraction(n)) if alone or n >= 2**31 else str(n)

    def _power(self, base: Expr, e: Fraction) -> tuple[str, int]:
        if e < 0:
            return f"{self.backend.number(Fraction(1))} / {self.text(power(base, -e), UNARY)}", PRODUCT
        if e == Fraction(1, 2):
            return f"{self.backend.functions['sqrt']}({self.text(base)})", ATOM
        exponent = str(e.numerator) if e.denominator == 1 else self.backend.number(e)
        return f"{self.text(base, ATOM)} ** {exponent}", POWER

    def lines(self, body: tuple[Statement, ...]) -> list[str]:
        """Lines of a body, indented by one level."""
        out: list[str] = []
        for s in body:
            out += [f"    {line}" for line in self._lines(s)]
        return out

    def _lines(self, s: Statement) -> list[str]:
        if isinstance(s, Assign):
            return [f"{s.target} = {self.text(s.value)}"]
        if isinstance(s, SizeOf):
            return [f"{s.name} = {s.array}.shape[{s.axis}]"]
        if isinstance(s, Allocate):
            return [f"{s.name} = " + self.backend.empty.format(s.sizes[0] if len(s.sizes) == 1 else f"({', '.join(s.sizes)})")]
        if isinstance(s, Store):
            return [f"{s.array}[{', '.join(s.indices)}] = {self.text(s.value)}"]
        if isinstance(s, Increase):
            return [f"{s.target} += {self.text(s.value)}"]
        if isinstance(s, Comment):
            return [f"# {s.text}"]
        if isinstance(s, Return) and s.alone:
            return [f"return {self.text(s.values[0])}"]
        if isinstance(s, Return):
            values = ", ".join(self.text(v) for v in s.values)
            return [f"return ({values},)" if len(s.values) == 1 else f"return ({values})"]
        stop = f"{s.through} + 1" if s.through else s.stop
        return [f"for {s.index} in range({stop}):", *self.lines(s.body)]

    def procedure(self, p: Procedure) -> list[str]:
        """Lines of a function."""
        head = f"def {p.name}({', '.join(a.name for a in p.arguments)}):"
        doc = f'    """{p.doc}"""'
        return [*self._decorated(), head, doc, *self.lines(p.body)]

    def helper(self, h: Helper) -> list[str]:
        """Lines of a scalar function and, if needed, of its elementwise version."""
        head = f"def {h.name}({', '.join((h.variable, *h.extra))}):"
        out = [*self._decorated(), head, f'    """{h.doc}"""', f"    return {self.text(h.body)}"]
        loops = self.backend.loops(h) if h.each else ""
        return [*out, "", "", *self._decorated(), *loops.splitlines()] if loops else out

    def _decorated(self) -> list[str]:
        return [self.backend.decorator] if self.backend.decorator else []


def _negative(e: Expr) -> bool:
    lead = e.args[0] if e.op == "mul" else e
    return bool(lead.op == "num" and lead.args[0] < 0)
