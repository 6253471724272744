"""One training step written out as in a textbook, with the numbers of the training engine."""
