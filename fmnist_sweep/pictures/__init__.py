"""Pictures: pure functions that turn plain data into Matplotlib figures."""
