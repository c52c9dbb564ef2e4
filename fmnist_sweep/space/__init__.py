"""The search space: read from YAML, checked against the config, applied to the config."""
