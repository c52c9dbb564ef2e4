"""One training from a config, and its config file."""
