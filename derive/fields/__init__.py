"""The field rule: an update of N-vectors written in their local fields, and averages over labels and episodes."""
