"""A sweep, from its plan to its results."""
