"""Configs: composed by Hydra, validated by pydantic, with one-line error messages."""
