"""Pictures: pure functions from plain data to a Matplotlib figure."""
