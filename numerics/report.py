"""`Check` and `Report`: what was claimed, what was measured, how large it may be and why.

Every check has one form, ``statistic <= bound``, so that a table of checks can be read without knowing the claims. A statistic
that is not a number fails. Imported by validation and by commands; imports the error base only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from derive.errors import CheckFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim and its verdict.

    Attributes
    ----------
    claim : str
        One sentence in the symbols of the system.
    statistic, bound : float
        The check passes if statistic <= bound.
    reason : str
        What the statistic is and why the bound has its value.
    seconds : float
    seed : int or None
        Root of the random streams; None if nothing was drawn.
    command : str
        Repeats the check.
    detail : str
        What else was seen, or why the statistic could not be computed.

    Examples
    --------
    >>> Check(claim="u solves the mode equation", statistic=3e-10, bound=1e-8, reason="relative; rtol is 1e-10").passed
    True
    >>> Check(claim="c", statistic=float("nan"), bound=1.0, reason="").passed
    False
    """

    claim: str
    statistic: float
    bound: float
    reason: str
    seconds: float = 0.0
    seed: int | None = None
    command: str = ""
    detail: str = ""

    @property
    def passed(self) -> bool:
        """statistic <= bound; False for NaN."""
        return self.statistic <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks of one system."""

    system: str
    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        """True if there is at least one check and all of them pass."""
        return bool(self.checks) and all(c.passed for c in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(c for c in self.checks if not c.passed)

    def __add__(self, other: Report) -> Report:
        return Report(system=self.system, checks=self.checks + other.checks)

    def raise_if_failed(self) -> Report:
        """The report itself if every check passed.

        Raises
        ------
        CheckFailed
            Otherwise; the message lists each failed claim with statistic, bound and reason.
        """
        if self.passed:
            return self
        if not self.checks:
            raise CheckFailed(f"{self.system}: nothing was checked; add a claim, or pass a second road to validate")
        lines = [
            f"  {c.claim}: {c.statistic:.3g} > {c.bound:.3g} ({c.reason}){': ' + c.detail if c.detail else ''}"
            for c in self.failures
        ]
        raise CheckFailed(f"{self.system}: {len(lines)} of {len(self.checks)} checks failed\n" + "\n".join(lines))

    def to_json(self) -> str:
        """JSON text ``{"system", "passed", "checks": [{"claim", "statistic", "bound", "passed", "seconds", "seed"}]}``.

        A statistic or bound that is not finite is null, because JSON has no NaN.
        """
        keys = ("claim", "statistic", "bound", "passed", "seconds", "seed")
        data = self.to_dict()
        data["checks"] = [{k: c[k] for k in keys} for c in data["checks"]]
        return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with every field of every check, ready for JSON."""
        rows = [{**asdict(c), "passed": c.passed} for c in self.checks]
        for row in rows:
            for key in ("statistic", "bound"):
                row[key] = float(row[key]) if math.isfinite(row[key]) else None
        return {"system": self.system, "passed": self.passed, "checks": rows}

    def __str__(self) -> str:
        head = f"{self.system}: {'passed' if self.passed else 'FAILED'} ({len(self.checks)} checks)"
        width = max((len(c.claim) for c in self.checks), default=0)
        rows = [
            f"  {'ok  ' if c.passed else 'FAIL'} {c.claim:<{width}}  {c.statistic:9.3g} <= {c.bound:<9.3g} {c.detail}".rstrip()
            for c in self.checks
        ]
        return "\n".join([head, *rows])


def worst(statistics: Iterable[float]) -> float:
    """The largest statistic; NaN if one of them is NaN, or if there is none (nothing compared is not a success).

    >>> worst([1.0, 3.0]), worst([1.0, float("nan"), 3.0]), worst([])
    (3.0, nan, nan)
    """
    values = [float(s) for s in statistics]
    return math.nan if not values or any(math.isnan(v) for v in values) else max(values)
