"""Executors: train rungs in this process or in others."""
