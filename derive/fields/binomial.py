r"""Numbers of the binomial law, for averages over the number of successes in n independent trials of probability p.

    binomial(k, n, p) = C(n, k) p^k (1 - p)^(n - k),  0 unless k is one of 0 .. n;
    binomial_tail(k, n, p) = P(at least k successes);
    power(p, n) = p^n with 0^0 = 1.

Factors of the binomial coefficient are multiplied with powers of p (1 - p), so that nothing overflows. Works for floats and
for mpmath numbers; emission prints these functions into kernels. Imported by averages over episodes, and by codegen as text.
"""

from __future__ import annotations

from typing import Any


def power(p: Any, n: Any) -> Any:
    """``p^n``.

    >>> power(0.5, 3), power(0.0, 0)
    (0.125, 1.0)
    """
    return p**n


def binomial(k: Any, n: Any, p: Any) -> Any:
    """Probability of exactly k successes.

    >>> binomial(1, 2, 0.25), binomial(3, 2, 0.25), binomial(0.5, 2, 0.25)
    (0.375, 0.0, 0.0)
    """
    zero = 0.0 * p
    if k < 0 or k > n or k != int(k):
        return zero
    m = k if 2 * k <= n else n - k
    out, both = zero + 1.0, p * (1.0 - p)
    for j in range(int(m)):
        out = out * (both * (n - j) / (m - j))
    return out * (p ** (k - m)) * ((1.0 - p) ** (n - k - m))


def binomial_tail(k: Any, n: Any, p: Any) -> Any:
    """Probability of k or more successes; the shorter sum of the two, or its complement.

    >>> binomial_tail(1, 2, 0.5), binomial_tail(0, 2, 0.5), binomial_tail(2.5, 2, 0.5)
    (0.75, 1.0, 0.0)
    """
    total = 0.0 * p
    first = int(k)
    if first < k:
        first += 1
    if first <= 0:
        return total + 1.0
    if first > n:
        return total
    if first <= n * p:
        for j in range(first):
            total = total + binomial(j + 0.0, n, p)
        return 1.0 - total
    for j in range(first, int(n) + 1):
        total = total + binomial(j + 0.0, n, p)
    return total


__all__ = ["binomial", "binomial_tail", "power"]
