"""Training: its steps, epochs and checkpoints."""
