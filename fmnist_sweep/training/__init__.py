"""One training: its steps, its epochs, its checkpoints."""
