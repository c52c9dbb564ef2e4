"""Configs: composed by Hydra, validated by pydantic, refused in one line."""
