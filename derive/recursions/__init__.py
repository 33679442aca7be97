"""Exact recursions of averages of the state under steps with fresh draws, and where they rest."""
