"""The MLflow tracker; only this package imports MLflow."""
