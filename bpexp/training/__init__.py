"""Training of many networks side by side."""
