"""Checkers of claims: one file per kind of claim, each a function from a claim and a `Subject` to rows of a report."""
