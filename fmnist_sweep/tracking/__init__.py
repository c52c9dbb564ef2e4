"""Tracking: what a run did, kept in MLflow."""
