"""Runs in MLflow: what is written, where, and by what means."""
