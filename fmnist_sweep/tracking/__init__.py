"""Tracking: logs runs to MLflow."""
