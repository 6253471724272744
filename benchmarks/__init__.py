"""Measured side by side: ``python -m benchmarks`` writes docs/benchmarks.md and .png."""
