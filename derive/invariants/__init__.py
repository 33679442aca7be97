"""Quantities that a flow conserves or relaxes, by exact linear algebra."""
