"""A finished run as a model that others can use."""
