"""One training step as a textbook would write it, with the engine's numbers."""
