"""Training of a single config, and config files."""
