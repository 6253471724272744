"""Benchmarks of bpexp and other tools: ``python -m benchmarks`` writes docs/benchmarks.md."""
