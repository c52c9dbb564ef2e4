"""Plain data computed from a sweep's journal: history, importances, searched values."""
