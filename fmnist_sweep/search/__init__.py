"""The search: ask a tuner, run rungs, write the journal, tell the tuner, rank what came back."""
