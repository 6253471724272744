"""Stores runs in MLflow and reads them back."""
