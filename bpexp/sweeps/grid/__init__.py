"""The jobs that the arguments of a sweep list: every combination of the values of its settings."""
