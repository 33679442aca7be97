"""Expressions at matrix level: words of noncommuting letters, polynomials of words, their calculus and values."""
