"""The mathematics of backpropagation, on NumPy arrays alone."""
